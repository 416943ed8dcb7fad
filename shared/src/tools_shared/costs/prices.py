"""What tokens cost, and the price file that says it: YAML with a date and a source for each price.

    currency: USD
    tokens:                                  # money for a million tokens; the first entry that fits counts
      - source: "https://api.example.com/*"  # pattern of a server's address (default: any)
        model: "small-*"                     # pattern of a model's name (default: any)
        in: 0.40
        out: 1.60
        train: 2.00                          # a token that a service trains on
        date: 2026-11-01
        from: https://example.com/pricing
    devices:                                 # money for an hour of one
      - {kind: "NVIDIA H200*", hour: 3.20, date: 2026-11-01, from: "contract 17"}
    energy: {kwh: 0.31, date: 2026-11-01, from: "bill of October"}

The variable TOOLS_PRICES names it. What has no price there is unknown, never 0; what costs nothing is given as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tools_shared.config.environment import value_of
from tools_shared.errors import ToolError, brief
from tools_shared.files import yaml_text
from tools_shared.names import nearest

PRICE_FILE = "TOOLS_PRICES"
BYTES_PER_TOKEN = 3
"""Where a server counts no tokens, and before it has: a token has at least this many bytes."""
_PROOF = ("date", "from")
_ENTRIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tokens": (("source", "model"), ("in", "out", "train")),
    "devices": (("kind",), ("hour",)),
    "energy": ((), ("kwh",)),
}
"""What an entry of each kind has: patterns, and prices."""


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens in and out (None: not known), and how much may be spent (None: no limit)."""

    tokens_in: float | None = None
    tokens_out: float | None = None
    budget: float | None = None
    currency: str = ""

    @property
    def known(self) -> bool:
        return self.tokens_in is not None or self.tokens_out is not None

    def covers(self, tokens_in: int, tokens_out: int) -> bool:
        """Whether there is a price for each kind of token that was used."""
        return self.known and not ((tokens_in and self.tokens_in is None) or (tokens_out and self.tokens_out is None))

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """Money for these tokens as far as it is known, which `covers` tells."""
        return (tokens_in * (self.tokens_in or 0.0) + tokens_out * (self.tokens_out or 0.0)) / 1e6


@dataclass(frozen=True)
class PriceFile:
    """The prices of a file; an empty one where there is none."""

    currency: str = ""
    tokens: tuple[Mapping[str, Any], ...] = ()
    devices: tuple[Mapping[str, Any], ...] = ()
    kwh: float | None = None

    def entry(self, source: str, model: str) -> Mapping[str, Any] | None:
        """The first entry for a model of a server."""
        found = (e for e in self.tokens if _fits(source, e.get("source")) and _fits(model, e.get("model")))
        return next(found, None)

    def of(self, source: str, model: str, budget: float | None = None) -> Prices:
        """The prices of a server's model."""
        found = self.entry(source, model) or {}
        return Prices(found.get("in"), found.get("out"), budget, self.currency)

    def hour(self, kind: str) -> float | None:
        """Money for an hour of one device of this kind."""
        return next((entry["hour"] for entry in self.devices if _fits(kind, entry.get("kind"))), None)


def _fits(value: str, pattern: Any) -> bool:
    return pattern is None or fnmatchcase(value.lower(), str(pattern).lower())


def known_prices() -> PriceFile:
    """The prices of the file that TOOLS_PRICES names, none without it. Raises ToolError for one that cannot be used."""
    name = value_of(PRICE_FILE)
    return PriceFile() if name is None else read_prices(Path(name))


def read_prices(path: Path) -> PriceFile:
    """Read a price file; raises ToolError with file, entry and value of what is wrong."""
    content = yaml_text.load(path)
    if not isinstance(content, Mapping):
        raise ToolError(f"{path}: a price file is a mapping with currency, tokens, devices and energy")
    _check_keys(content, ("currency", *_ENTRIES), str(path))
    currency = content.get("currency")
    if not isinstance(currency, str) or not currency.strip():
        raise ToolError(f"{path}: currency must be text such as USD, got {brief(currency)}")
    rows = {kind: _entries(content, kind, str(path)) for kind in _ENTRIES}
    energy = rows["energy"]
    return PriceFile(currency.strip(), rows["tokens"], rows["devices"], energy[0]["kwh"] if energy else None)


def _entries(content: Mapping[str, Any], kind: str, where: str) -> tuple[Mapping[str, Any], ...]:
    value = content.get(kind)
    rows = [] if value is None else [value] if kind == "energy" else value
    if not isinstance(rows, list):
        raise ToolError(f"{where}: {kind} must be a list of prices, got {brief(value)}")
    return tuple(_entry(row, kind, f"{where}: {kind} {number}") for number, row in enumerate(rows, start=1))


def _entry(row: Any, kind: str, where: str) -> Mapping[str, Any]:
    patterns, prices = _ENTRIES[kind]
    if not isinstance(row, Mapping):
        raise ToolError(f"{where}: must be a mapping with {', '.join((*patterns, *prices, *_PROOF))}, got {brief(row)}")
    _check_keys(row, (*patterns, *prices, *_PROOF), where)
    for name in patterns:
        if not isinstance(row.get(name, ""), str):
            raise ToolError(f"{where}: {name} must be text, got {brief(row[name])}; write it in quotation marks")
    for name in (name for name in prices if name in row):
        value = row[name]
        if type(value) not in (int, float) or not 0 <= value < 1e12:
            raise ToolError(f"{where}: {name} must be a number from 0, got {brief(value)}")
    if not any(name in row for name in prices):
        raise ToolError(f"{where}: has no price; give {' or '.join(prices)}")
    day, source = row.get("date"), row.get("from")
    if type(day) is not date:
        raise ToolError(f"{where}: date must be the day the price was looked up (2026-11-01), got {brief(day)}")
    if not isinstance(source, str) or not source.strip():
        raise ToolError(f"{where}: from must say where the price is from (an address), got {brief(source)}")
    if ("in" in row) != ("out" in row):
        raise ToolError(
            f"{where}: has a price of tokens {'in' if 'in' in row else 'out'} alone; give both, 0 where free"
        )
    return row


def _check_keys(content: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    if unknown := next((key for key in content if key not in known), None):
        raise ToolError(f"{where}: unknown key {brief(unknown)}; {nearest(brief(unknown, quoted=False), known)}")
