"""Families that count things: collections, treats to share, what a machine makes, a crowd, a garden."""

from __future__ import annotations

from tools_shared.demo.family import Family
from tools_shared.demo.story import (
    divided,
    divided_then_fewer,
    fewer,
    fewer_product,
    given,
    given_product,
    given_sum,
    halved,
    more,
    more_product,
    multiplied,
    part_taken,
    short_of,
    with_another,
)

COLLECTION = Family(
    name="collection",
    unit="{items}",
    words={"items": ("marbles", "stickers", "stamps", "shells", "coins", "cards", "beads", "buttons", "stones")},
    starts=(
        given("{hero} has {k} {items}.", "{hero} starts the week with {k} {items}."),
        given_product("{hero} has {a} boxes with {b} {items} in each.", "{hero} keeps {a} bags of {b} {items}."),
        given_sum(
            "{hero} has {a} red {items} and {b} blue {items}.", "{hero} has {a} old {items} and {b} new {items}."
        ),
    ),
    moves=(
        more("{friend} gives {him} {k} more {items}.", "{He} finds {k} more {items}.", "Then {he} gets {k} more."),
        fewer("{He} loses {k} of them.", "{He} gives {k} {items} to {friend}.", "Then {he} sells {k} {items}."),
        more_product("{He} buys {a} packs of {b} {items}.", "{friend} brings {him} {a} bags with {b} {items} each."),
        fewer_product(
            "{He} gives {b} {items} to each of {a} cousins.",
            "{He} fills {a} cups with {b} {items} each and sells them.",
        ),
        halved("{He} gives half of {his} {items} to {friend}.", "Then {he} sells half of {his} {items}."),
        part_taken("{He} gives {part} of {his} {items} to {friend}.", "Then {he} loses {part} of {his} {items}."),
    ),
    ends=(
        divided("{He} puts all the {items} into {k} equal piles. How many {items} are in each pile?"),
        with_another(
            "{friend} has {k} more {items} than {hero} has now. How many {items} do they have together?", sign="+"
        ),
        with_another(
            "{friend} has {k} fewer {items} than {hero} has now. How many {items} do they have together?", sign="-"
        ),
        multiplied(
            "{friend} has {times} as many {items} as {hero} has now. How many {items} does {friend} have?", high=4
        ),
        multiplied("Each of {his} {items} is worth {k} dollars. How many dollars are they worth?", unit="dollars"),
    ),
    ask=("How many {items} does {hero} have now?", "How many {items} does {he} have in the end?"),
)


SHARING = Family(
    name="sharing",
    unit="{items}",
    words={
        "items": ("cookies", "muffins", "apples", "plums", "candies", "nuts"),
        "cook": ("bakery", "school kitchen", "club"),
    },
    starts=(
        given("The {cook} has {k} {items}.", low=12, high=90),
        given_product("The {cook} gets {a} trays of {b} {items}.", "There are {a} plates with {b} {items} each."),
        given_sum("{hero} brings {a} {items} and {friend} brings {b} {items}."),
    ),
    moves=(
        more("{hero} adds {k} more {items}.", "A neighbor brings {k} {items}."),
        fewer("{k} of the {items} are bad and thrown away.", "The adults eat {k} {items}.", high=30),
        more_product("Then {a} baskets with {b} {items} each arrive."),
        fewer_product("Each of {a} teachers takes {b} {items}."),
        part_taken("{hero} sells {part} of the {items}."),
        halved("Half of the {items} are kept for the next day."),
    ),
    ends=(
        divided("The {items} are then shared equally among {k} children. How many {items} does each child get?"),
        divided_then_fewer(
            "The {items} are then shared equally among {k} children. Each child eats {m} of them at once. "
            "How many {items} does each child have left?"
        ),
        divided("{k} {items} fit into a bag. How many bags are filled?", unit="bags"),
    ),
    ask=("How many {items} are left?", "How many {items} are there in the end?"),
)


FACTORY = Family(
    name="rates",
    unit="{items}",
    words={"items": ("bottles", "screws", "boxes", "jars", "candles", "bricks")},
    starts=(
        given_product(
            "A machine makes {a} {items} a minute and runs for {b} minutes.",
            "A worker packs {b} {items} an hour for {a} hours.",
        ),
        given("A machine has made {k} {items}.", low=20, high=90),
    ),
    moves=(
        more_product(
            "A second machine makes {a} {items} a minute for {b} minutes.",
            "Then it makes {b} {items} an hour for {a} hours.",
        ),
        more("{k} {items} from the day before are added."),
        fewer("{k} of the {items} are broken.", "{hero} takes {k} of the {items} out for a test.", high=30),
        fewer_product("{a} shops get {b} {items} each."),
        halved("Half of the {items} are sold."),
        part_taken("{part} of the {items} are sent away."),
    ),
    ends=(
        divided("The {items} are packed in crates of {k}. How many crates are filled?", unit="crates"),
        multiplied("Each of the {items} that remain costs {k} dollars. How many dollars do they cost?", unit="dollars"),
        short_of("A customer has ordered {k} {items}. How many {items} are missing?"),
    ),
    ask=("How many {items} are there now?",),
)


CROWD = Family(
    name="fractions",
    unit="{items}",
    words={
        "items": ("children", "birds", "guests", "players", "dancers"),
        "place": ("park", "hall", "garden", "field"),
    },
    starts=(
        given("There are {k} {items} in the {place}.", low=10, high=120),
        given_product(
            "There are {a} groups of {b} {items} in the {place}.", "In the {place} there are {a} rows of {b} {items}."
        ),
        given_sum("There are {a} old and {b} young {items} in the {place}."),
    ),
    moves=(
        halved("Half of them leave.", "Then half of the {items} go away."),
        part_taken("{part} of them leave.", "Then {part} of the {items} go away."),
        more("{k} more {items} come.", "Then {k} {items} join them."),
        fewer("{k} of them leave.", "Then {k} {items} go away."),
        more_product("Then {a} groups of {b} {items} come.", "{a} buses with {b} {items} each arrive."),
    ),
    ends=(
        divided("They form {k} equal teams. How many {items} are in each team?"),
        multiplied("Tomorrow there will be {times} as many. How many {items} will there be?", high=4),
    ),
    ask=("How many {items} are in the {place} now?", "How many {items} stay in the {place}?"),
)


GARDEN = Family(
    name="garden",
    unit="{items}",
    words={"items": ("trees", "roses", "tulips", "bushes", "seedlings")},
    starts=(
        given("{hero} plants {k} {items}."),
        given_product("{hero} plants {a} rows of {b} {items}.", "A garden has {a} beds with {b} {items} each."),
        given_sum("{hero} plants {a} {items} and {friend} plants {b} {items}."),
    ),
    moves=(
        more("In spring {k} more {items} are planted."),
        fewer("{k} of the {items} die in the cold.", "{friend} digs out {k} of the {items}.", high=30),
        more_product("Then {a} more rows of {b} {items} are planted."),
        fewer_product("A storm destroys {a} rows of {b} {items}."),
        part_taken("{part} of the {items} are sold."),
        halved("Half of the {items} are moved to a park."),
    ),
    ends=(
        multiplied("Each of the {items} left needs {k} liters of water. How many liters do they need?", unit="liters"),
        divided(
            "{k} people water the {items} that are left, the same number each. How many {items} does each person water?"
        ),
        short_of("The plan is to have {k} {items}. How many {items} are missing?"),
    ),
    ask=("How many {items} are there in the end?", "How many {items} grow there now?"),
)
