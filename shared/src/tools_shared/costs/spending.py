"""Requests within a budget: what one can cost at most, what it did cost, and what all of them can."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tools_shared.costs.prices import BYTES_PER_TOKEN, PRICE_FILE, Prices, known_prices
from tools_shared.errors import Incomplete, ToolError


class Spending:
    """What requests have cost so far. Each reserves the most that it can cost until its reply tells what it did cost;
    `over` is set once the budget did not cover one, and nothing is asked from then on."""

    def __init__(self, prices: Prices, spent: float = 0.0) -> None:
        self.prices, self.spent = prices, spent
        self.reserved = 0.0
        self.over = False

    def most(self, body: Mapping[str, Any], max_new_tokens: int, is_known: bool = False) -> float:
        """The most that a request can cost; nothing where a cache has its reply, or where there is no budget."""
        if self.prices.budget is None or is_known:
            return 0.0
        return self.prices.of(tokens_of(body), max_new_tokens)

    def reserve(self, most: float) -> bool:
        """Whether the budget covers it, with all that is under way."""
        budget = self.prices.budget
        if self.over or (budget is not None and self.spent + self.reserved + most > budget):
            self.over = True
            return False
        self.reserved += most
        return True

    def settle(self, most: float, cost: float) -> None:
        self.reserved -= most
        self.spent += cost

    def check(self, where: str) -> None:
        """Raises Incomplete when the budget has stopped the run."""
        if self.over:
            raise Incomplete(
                f"{where}: the budget of {self.prices.budget:g} does not cover the next request "
                f"({self.spent:.4g} spent); raise --budget and run the same command to resume"
            )


def tokens_of(body: Mapping[str, Any]) -> int:
    """The tokens of a request, from above: a third of its bytes."""
    return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")) // BYTES_PER_TOKEN


def prices_for(
    server: str, model: str, price_in: float | None, price_out: float | None, budget: float | None = None
) -> Prices:
    """The prices of the options, else those of the price file. Raises ToolError for a budget without a price."""
    given = Prices(price_in, price_out, budget)
    prices = given if given.known else known_prices().of(server, model, budget)
    if budget is not None and not prices.known:
        raise ToolError(
            f"--budget {budget:g}: no price is known of {model or 'the model'} at {server}; give --price-in and "
            f"--price-out, or an entry in the file that {PRICE_FILE} names"
        )
    return prices


def worst_case(prices: Prices, bodies: Sequence[Mapping[str, Any]], n_each: int, max_new_tokens: int) -> str:
    """What all requests can cost at most, in words; each body is sent `n_each` times."""
    if not prices.known:
        return "at an unknown cost (no price is given)"
    size = sum(map(tokens_of, bodies))
    most = prices.of(size * n_each, len(bodies) * n_each * max_new_tokens)
    return f"at most {most:.4g}{f' {prices.currency}' if prices.currency else ''} in cost"
