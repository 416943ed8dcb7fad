"""A manifest's `cost`: what was used, and what of it has a known price.

seconds, sessions      wall time of all sessions, those that were killed included
devices                kind, highest count, and device seconds (seconds times devices held; of a CPU, threads)
tokens                 part, source, in, out, requests, cached, and money where a price is known
energy_wh              where every session's devices told it
money, money_unknown   the sum by currency, and what was used without a price
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tools_shared.costs.meter import HERE, Meter, Session, Tokens
from tools_shared.costs.prices import PriceFile, Prices

TRAINING = "training"


def cost_record(meter: Meter, prices: PriceFile, others: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The record of a run; `others` are the tokens (see `shared_tokens`) that the run's other processes counted."""
    meter.beat()
    sessions = [session for session in meter.sessions if session.seconds]
    tokens = _all_tokens(meter, others)
    money: dict[str, float] = {}
    unknown: list[str] = []
    rows = [_row(part, source, one, meter.prices.get(source), prices) for (part, source), one in sorted(tokens.items())]
    for row in rows:
        _book(row, f"tokens of {row['source']}", money, unknown)
    devices = _devices(sessions, prices)
    for one in devices:
        _book(one, f"time of {one['kind']}", money, unknown)
    energy = _energy(sessions)
    if energy is not None and prices.kwh is not None:
        money[prices.currency] = money.get(prices.currency, 0.0) + energy / 1000 * prices.kwh
    found: dict[str, Any] = {
        "seconds": round(sum(session.seconds for session in sessions), 3),
        "sessions": len(meter.sessions),
        "devices": [{k: v for k, v in one.items() if k != "currency"} for one in devices],
        "tokens": [{k: v for k, v in row.items() if k != "currency"} for row in rows],
        "money": {currency: round(amount, 6) for currency, amount in money.items()},
        "money_unknown": list(dict.fromkeys(unknown)),
    }
    return found | ({} if energy is None else {"energy_wh": energy})


def shared_tokens(meter: Meter) -> list[dict[str, Any]]:
    """What a process counted, as JSON, for the one that writes the record."""
    return [{"part": part, "source": source, **vars(one)} for (part, source), one in meter.tokens.items()]


def _all_tokens(meter: Meter, others: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Tokens]:
    found = {key: Tokens(**vars(one)) for key, one in meter.tokens.items() if one}
    for row in others:
        counted = Tokens(*(int(row[name]) for name in vars(Tokens())))
        if counted:
            found.setdefault((row["part"], row["source"]), Tokens()).add(counted)
    return found


def _row(part: str, source: str, used: Tokens, given: Prices | None, prices: PriceFile) -> dict[str, Any]:
    row = {"part": part, "source": source, "in": used.tokens_in, "out": used.tokens_out}
    row |= {"requests": used.requests, "cached": used.cached}
    if source == HERE:
        return row  # its price is that of the device
    server, _, model = source.partition(" ")
    price = given or prices.of(server, model)
    if part == TRAINING:
        entry = prices.entry(server, model) or {}
        price = Prices(entry.get("train"), None, currency=prices.currency)
    if price.covers(used.tokens_in, used.tokens_out):
        return row | {"money": round(price.of(used.tokens_in, used.tokens_out), 6), "currency": price.currency}
    return row | {"money": "unknown" if used.tokens_in or used.tokens_out or used.requests else 0}


def _devices(sessions: Sequence[Session], prices: PriceFile) -> list[dict[str, Any]]:
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for session in sessions:
        for kind, used in (session.devices or {}).items():
            seconds[kind] = seconds.get(kind, 0.0) + used
            counts[kind] = max(counts.get(kind, 0), (session.counts or {}).get(kind, 1))
    found = []
    for kind, used in seconds.items():
        hour = prices.hour(kind)
        money = {"money": "unknown"} if hour is None else {"money": round(used / 3600 * hour, 6)}
        found.append({"kind": kind, "count": counts[kind], "device_seconds": round(used, 3), **money})
    return [one | {"currency": prices.currency} for one in found]


def _book(row: Mapping[str, Any], what: str, money: dict[str, float], unknown: list[str]) -> None:
    amount = row.get("money")
    if amount == "unknown":
        unknown.append(what)
    elif amount:
        money[row.get("currency", "")] = money.get(row.get("currency", ""), 0.0) + amount
    elif amount is not None and row.get("currency") is not None:
        money.setdefault(row["currency"], 0.0)


def _energy(sessions: Sequence[Session]) -> float | None:
    """Watt hours; None where a session has none, as a sum over part of them would be too low."""
    told = [session.watt_hours for session in sessions if session.watt_hours is not None]
    return round(sum(told), 6) if told and len(told) == len(sessions) else None


def add_costs(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of several records, as one. Energy is that of the records that have it, where all have."""
    records = list(records)
    devices: dict[str, dict[str, Any]] = {}
    tokens: dict[tuple[str, str], dict[str, Any]] = {}
    money: dict[str, float] = {}
    for record in records:
        for one in record["devices"]:
            kind = devices.setdefault(one["kind"], {"kind": one["kind"], "count": 0, "device_seconds": 0.0})
            kind["count"] = max(kind["count"], one["count"])
            kind["device_seconds"] = round(kind["device_seconds"] + one["device_seconds"], 3)
        for row in record["tokens"]:
            names = {"part": row["part"], "source": row["source"]}
            counts = {"in": 0, "out": 0, "requests": 0, "cached": 0}
            sums = tokens.setdefault((row["part"], row["source"]), names | counts)
            for name in ("in", "out", "requests", "cached"):
                sums[name] += row[name]
        for currency, amount in record["money"].items():
            money[currency] = money.get(currency, 0.0) + amount
    energy = [told for record in records if (told := record.get("energy_wh")) is not None]
    return {
        "seconds": round(sum(record["seconds"] for record in records), 3),
        "sessions": sum(record["sessions"] for record in records),
        "devices": list(devices.values()),
        "tokens": list(tokens.values()),
        "money": {currency: round(amount, 6) for currency, amount in money.items()},
        "money_unknown": list(dict.fromkeys(what for record in records for what in record["money_unknown"])),
    } | ({"energy_wh": round(sum(energy), 6)} if energy and len(energy) == len(records) else {})


def cost_words(cost: Mapping[str, Any]) -> str:
    """A record in one line: `2.1 h of cpu time, 1.2M tokens in, 310k out, money: 0.42 EUR + unknown (time of cpu)`."""
    words = [f"{_hours(one['device_seconds'])} of {one['kind']} time" for one in cost["devices"]]
    words = words or [f"{_hours(cost['seconds'])} without a model here"]
    n_in, n_out = (sum(row[name] for row in cost["tokens"]) for name in ("in", "out"))
    if n_in or n_out:
        words.append(f"{_many(n_in)} tokens in, {_many(n_out)} out")
    if "energy_wh" in cost:
        words.append(f"{cost['energy_wh']:.3g} Wh")
    known = " + ".join(f"{amount:.4g} {currency}".strip() for currency, amount in cost["money"].items())
    unknown = f"unknown ({', '.join(cost['money_unknown'])})" if cost["money_unknown"] else ""
    words.append(f"money: {' + '.join(filter(None, (known, unknown))) or '0'}")
    return ", ".join(words)


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"


def _many(n: int) -> str:
    return f"{n / 1e6:.3g}M" if n >= 999_500 else f"{n / 1e3:.3g}k" if n >= 1000 else str(n)
