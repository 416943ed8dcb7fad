"""Families about measures: dollars spent and earned, kilometers, years of age, pages."""

from __future__ import annotations

from tools_shared.demo.family import BOYS, GIRLS, Family
from tools_shared.demo.story import (
    BILLS,
    Move,
    Story,
    Unfit,
    divided,
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


def _next_person(move: Move) -> Move:
    """A move that introduces the next person, who is then the one the story is about."""

    def tell(story: Story) -> None:
        told = " ".join(story.sentences)
        name = story.rng.choice([n for n in BOYS + GIRLS if n not in told])
        story.words = {**story.words, "last": story.words["now"], "now": name}
        story.previous = story.value
        move.tell(story)

    return Move(move.n_steps, tell)


def _both_ages(*texts: str) -> Move:
    def tell(story: Story) -> None:
        if story.previous is None:
            raise Unfit
        story.say(texts)
        story.value = story.step(story.previous, "+", story.value)

    return Move(1, tell)


SHOPPING = Family(
    name="shopping",
    unit="dollars",
    words={
        "things": ("pens", "books", "shirts", "toys", "plants", "hats"),
        "extras": ("cakes", "cups", "lamps", "balls", "brushes", "plates"),
        "one": ("bag", "chair", "coat", "clock", "kite", "game"),
    },
    starts=(
        given("{hero} buys a {one} for {k} dollars.", "{hero} goes to a shop and takes a {one} for {k} dollars."),
        given_product(
            "{hero} buys {a} {things} for {b} dollars each.", "{hero} gets {a} {things} at {b} dollars each."
        ),
        given_sum("{hero} buys a {one} for {a} dollars and a mirror for {b} dollars."),
    ),
    moves=(
        more_product(
            "{He} also buys {a} {extras} for {b} dollars each.", "{He} adds {a} {extras} at {b} dollars each."
        ),
        more("{He} also takes a box for {k} dollars.", "Delivery costs {k} dollars more."),
        fewer("A coupon takes {k} dollars off the total.", "{He} gets {k} dollars off the total.", high=25),
        part_taken("The shop takes {part} off the total."),
        halved("Then the shop takes half off the total."),
    ),
    ends=(
        short_of("{He} pays with {k} dollars. How many dollars does {he} get back?", targets=BILLS),
        divided("{He} and {others} friends share the cost equally. How many dollars does each of them pay?"),
        multiplied("{friend} spends {times} as much. How many dollars does {friend} spend?", high=4),
    ),
    ask=("How many dollars does {he} pay?", "How many dollars does {hero} spend?"),
)


EARNING = Family(
    name="earning",
    unit="dollars",
    words={
        "job": ("in a shop", "on a farm", "in a kitchen", "in a library"),
        "dream": ("bike", "phone", "guitar", "tent"),
    },
    starts=(
        given("{hero} has saved {k} dollars.", "{hero} gets {k} dollars for {his} birthday."),
        given_product(
            "{hero} works {job} for {a} hours at {b} dollars an hour.",
            "{hero} works {a} days and gets {b} dollars a day.",
        ),
        given_sum("{hero} earns {a} dollars on Monday and {b} dollars on Tuesday."),
    ),
    moves=(
        more("{He} gets a tip of {k} dollars.", "{friend} pays {him} {k} dollars for {his} help."),
        fewer("{He} spends {k} dollars on lunch.", "{He} pays {k} dollars for the bus.", high=30),
        more_product(
            "{He} also walks dogs for {a} hours at {b} dollars an hour.", "{He} washes {a} cars for {b} dollars each."
        ),
        fewer_product("{He} buys {a} tickets for {b} dollars each.", "{He} gives {b} dollars to each of {a} children."),
        halved("{He} gives half of the money to {friend}.", "{He} puts half of the money into the bank."),
        part_taken("{He} spends {part} of the money on books.", "{He} lends {part} of the money to {friend}."),
    ),
    ends=(
        short_of("{He} wants a {dream} that costs {k} dollars. How many dollars are missing?"),
        with_another(
            "{friend} has {k} dollars more than {he} has now. How many dollars do they have together?", sign="+"
        ),
        multiplied(
            "{friend} has {times} as much money as {hero} has now. How many dollars does {friend} have?", high=4
        ),
    ),
    ask=("How many dollars does {hero} have now?", "How many dollars does {he} have in the end?"),
)


DISTANCE = Family(
    name="distance",
    unit="km",
    words={"goes": ("drives", "cycles", "travels", "rides")},
    starts=(
        given("{hero} {goes} {k} km.", "On Monday {hero} {goes} {k} km."),
        given_product(
            "{hero} {goes} for {a} hours at {b} km an hour.", "{hero} {goes} {b} km a day for {a} days.", most=(9, 20)
        ),
        given_sum("{hero} {goes} {a} km in the morning and {b} km in the afternoon."),
    ),
    moves=(
        more("After a rest {he} {goes} {k} km more.", "Then {he} walks {k} km.", high=30),
        more_product(
            "Then {he} {goes} for {a} hours at {b} km an hour.",
            "Then {he} {goes} {b} km a day for {a} days.",
            most=(6, 20),
        ),
        multiplied("{He} {goes} the whole way back too, which makes it {times} as long.", high=2),
    ),
    ends=(
        short_of(
            "The whole trip is {k} km long. How many km are left?", "{He} wants to do {k} km. How many km are missing?"
        ),
        fewer("{friend} {goes} {k} km less than {hero} in all. How many km does {friend} do?"),
        multiplied("{friend} {goes} {times} as far as {hero} in all. How many km does {friend} do?", high=4),
        halved("{friend} {goes} half as far as {hero} in all. How many km does {friend} do?"),
    ),
    ask=("How many km does {hero} do in all?", "How many km is that in all?"),
)


AGES = Family(
    name="ages",
    unit="years",
    starts=(given("{hero} is {k} years old.", low=4, high=40),),
    moves=(
        _next_person(more("{now} is {k} years older than {last}.", high=20)),
        _next_person(more("{now} was born {k} years before {last}.", high=20)),
        _next_person(fewer("{now} is {k} years younger than {last}.", high=20)),
        _next_person(fewer("{now} was born {k} years after {last}.", high=20)),
        _next_person(multiplied("{now} is {times} as old as {last}.", high=3)),
        _next_person(halved("{now} is half as old as {last}.")),
    ),
    ends=(
        more("How old will {now} be in {k} years?", high=20),
        fewer("How old was {now} {k} years ago?", high=20),
        _both_ages("How old are {last} and {now} together?"),
    ),
    ask=("How old is {now}?",),
)


READING = Family(
    name="reading",
    unit="pages",
    words={"book": ("story", "novel", "report", "diary")},
    starts=(
        given("{hero} has to read a {book} of {k} pages.", low=40, high=200),
        given_product("{hero} has a {book} with {a} chapters of {b} pages.", most=(12, 15)),
        given_sum("{hero} has to read a {book} of {a} pages and a letter of {b} pages.", high=90),
    ),
    moves=(
        fewer("{He} reads {k} pages on the train.", "On Sunday {he} reads {k} pages."),
        fewer_product(
            "{He} reads {b} pages a day for {a} days.", "In {a} evenings {he} reads {b} pages each.", most=(7, 12)
        ),
        halved("Then {he} reads half of what is left."),
        part_taken("Then {he} reads {part} of what is left."),
        more("{friend} gives {him} {k} pages more to read."),
    ),
    ends=(
        divided("{He} spreads the pages that are left equally over {k} days. How many pages does {he} read a day?"),
        divided(
            "From then on {he} reads {k} pages a day. How many days does {he} need for the rest?",
            unit="days",
        ),
    ),
    ask=("How many pages are left to read?", "How many pages does {he} still have to read?"),
)
