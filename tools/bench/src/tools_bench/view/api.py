"""What the page asks: every address below `/api/`, its parameters checked, and what it answers as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools_bench.report.entries import cut
from tools_bench.report.history import Histories
from tools_bench.view.drafts import LineCounts, draft_facts, latest_samples
from tools_bench.view.facts import run_manifest
from tools_bench.view.index import Index
from tools_bench.view.places import Place
from tools_bench.view.questions import (
    FLIPS,
    SORTS,
    Page,
    UnknownRun,
    Wanted,
    flips,
    list_runs,
    one_reply,
    one_run,
    replies,
)
from tools_shared.costs.record import cost_words

MOST_ROWS = 200
MOST_WORDS = 400
"""Characters of one parameter."""
MOST_DRAFTS = 50
Given = Mapping[str, str]


class BadRequest(Exception):
    """A parameter that is not what it must be; the message says which."""


class ViewApi:
    """Answers by path: `/api/state`, `/api/runs`, `/api/runs/ID`, `.../replies`, `.../replies/N`, `.../flips/ID`,
    `.../samples`, `/api/drafts`, `/api/drafts/ID`."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.histories, self.counts = Histories(), LineCounts()

    def answer(self, path: str, given: Given) -> dict[str, Any]:
        """Raises UnknownRun, BadRequest, and ChangedRun where a run is to be read again first."""
        if any(len(value) > MOST_WORDS for value in given.values()):
            raise BadRequest(f"a parameter is longer than {MOST_WORDS} characters")
        parts = path.strip("/").split("/")[1:]
        match parts:
            case ["state"]:
                return self.state()
            case ["runs"]:
                return list_runs(self.index, wanted_of(given))
            case ["runs", run]:
                return self.run(run)
            case ["runs", run, "replies"]:
                return replies(self.index, run, page_of(given))
            case ["runs", run, "replies", number]:
                return one_reply(self.index, run, _whole("number", number, 0, 2**53))
            case ["runs", run, "flips", baseline]:
                return flips(self.index, baseline, run, page_of(given, tuple(FLIPS)))
            case ["runs", run, "samples"]:
                return latest_samples(self._place(run).folder, _step(given))
            case ["drafts"]:
                return {"drafts": [self._draft(place) for place in self._drafts()]}
            case ["drafts", run]:
                return self.draft(run, _step(given))
        raise UnknownRun(path[:MOST_WORDS])

    def state(self) -> dict[str, Any]:
        index = self.index
        return {
            "root": str(index.root), "is_ready": index.is_ready, "done": index.done, "to_do": index.to_do,
            "changes": index.changes,
        }  # fmt: skip

    def run(self, run: str) -> dict[str, Any]:
        """What the list says, with all metrics, the options that were chosen, inputs, cost, and curves."""
        listed, place = one_run(self.index, run), self._place(run)
        if listed["problem"] and not listed["kind"]:
            return listed
        data = run_manifest(place).data
        options = data.get("options", {})
        chosen = {n: _short(o.get("value")) for n, o in options.items() if o.get("from") != "default"}
        cost = data.get("cost")
        return listed | {
            "metrics": {str(name): value for name, value in data["metrics"].items()},
            "options": {name: value for name, value in chosen.items() if value not in ("None", "[]")},
            "inputs": [{k: _short(i.get(k)) for k in ("name", "path", "sha256")} for i in data.get("inputs", [])],
            "started": data.get("started"),
            "tool": f"{data.get('tool', '')} {data.get('tool_version', '')}",
            "cost": cost_words(cost) if cost else "not recorded",
            "curves": self.histories.of(place.folder / "metrics.jsonl").curves(),
        }

    def draft(self, run: str, step: int | None) -> dict[str, Any]:
        """A run that is being made: its line, its curves so far and its latest samples."""
        place = self._place(run)
        curves = self.histories.of(place.folder / "metrics.jsonl").curves()
        return self._draft(place) | {"curves": curves, "samples": latest_samples(place.folder, step)}

    def _draft(self, place: Place) -> dict[str, Any]:
        return draft_facts(place, self.histories.of(place.folder / "metrics.jsonl"), self.counts)

    def _drafts(self) -> list[Place]:
        """Those that are written first, then by name."""
        drafts = [place for place in self.index.places.values() if place.is_draft]
        return sorted(drafts, key=lambda place: (not place.is_written(), place.name))[:MOST_DRAFTS]

    def _place(self, run: str) -> Place:
        place = self.index.places.get(run)
        if place is None:
            raise UnknownRun(run[:MOST_WORDS])
        return place


def _short(value: Any) -> str:
    return cut(", ".join(map(str, value)) if isinstance(value, list) and value else str(value))


def wanted_of(given: Given) -> Wanted:
    """Which runs are asked for. Raises BadRequest."""
    return Wanted(
        search=given.get("search", ""),
        kind=given.get("kind", ""),
        sort=_one_of("sort", given.get("sort", "finished"), tuple(SORTS)),
        is_falling=_one_of("order", given.get("order", "falling"), ("falling", "rising")) == "falling",
        offset=_whole("offset", given.get("offset", "0"), 0, 2**53),
        limit=_whole("limit", given.get("limit", "100"), 1, MOST_ROWS),
    )


def page_of(given: Given, shows: tuple[str, ...] = ()) -> Page:
    """Which replies are asked for; `show` is one of `shows`, where there are any. Raises BadRequest."""
    show = given.get("show", "all")
    return Page(
        show=_one_of("show", show, shows) if shows else show,
        search=given.get("search", ""),
        after=_whole("after", given.get("after", "-1"), -1, 2**53),
        limit=_whole("limit", given.get("limit", "20"), 1, MOST_ROWS),
    )


def _step(given: Given) -> int | None:
    return _whole("step", given["step"], 0, 2**53) if "step" in given else None


def _whole(name: str, text: str, least: int, most: int) -> int:
    try:
        value = int(text[:20])
    except ValueError:
        raise BadRequest(f"{name} is a whole number, not {text[:40]!r}") from None
    if not least <= value <= most:
        raise BadRequest(f"{name} is between {least} and {most}, not {value}")
    return value


def _one_of(name: str, given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise BadRequest(f"{name} is one of {', '.join(known)}, not {given[:40]!r}")
    return given
