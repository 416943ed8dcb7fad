"""`tools-bench tag`: curriculum topics and a grade band for a problem, each with the words it rests on.

Words count as words and signs by what surrounds them: `7 - 3` is a subtraction, `two-digit` is none; an `x`
between letters or in `3 x 4` is no unknown. Every hit adds its weight to a topic; a topic is given when its evidence
is strong enough. What this gives on MATH-500 is in docs/benchmarks-bench.md, with precision and recall by class.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from tools_bench.config import TagConfig
from tools_bench.requests.items import grade_of, raw_of
from tools_shared.errors import ToolError
from tools_shared.files import write_jsonl, yaml_text
from tools_shared.files.outputs import output_files
from tools_shared.records import Rejected, Row
from tools_shared.sources import files_among, read_rows

TAXONOMY = Path(__file__).parent / "taxonomy.yaml"
LONGEST = 20_000
ENOUGH = 1.0
"""Evidence from which on a topic is given."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic found: `confidence` between 0 and 1 grows with the evidence, `evidence` are the words of the problem."""

    name: str
    confidence: float
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tags:
    """What is said of a problem. `band` is K-2, 3-5, 6-8 or 9-12; `because` says where it is from."""

    topics: tuple[Topic, ...]
    band: str
    because: str

    def to_json(self) -> dict[str, Any]:
        return {
            "topic_tags": [t.name for t in self.topics],
            "grade_band": self.band,
            "grade_band_because": self.because,
            "topic_evidence": {
                t.name: {"confidence": round(t.confidence, 2), "evidence": list(t.evidence)} for t in self.topics
            },
        }


def tag(question: str, grade: str | None = None) -> Tags:
    """Topics of a problem, strongest first, and its grade band: from the grade where it is given, else from the topics.

    A problem without evidence for any topic is `arithmetic` when it has a number, with confidence 0.
    """
    text = question[:LONGEST]
    found = []
    for name, rules, _ in _taxonomy():
        hits = [(weight, match[0].strip()) for weight, rx in rules if (match := rx.search(text))]
        strength = sum(weight for weight, _ in hits)
        if strength >= ENOUGH:
            words = tuple(dict.fromkeys(word for _, word in hits))
            found.append(Topic(name, strength / (strength + 1), words))
    found.sort(key=lambda topic: -topic.confidence)
    if not found and any(c.isdigit() for c in text):
        found = [Topic("arithmetic", 0.0, ())]
    band, because = _band(found, grade)
    return Tags(tuple(found), band, because)


def _band(topics: list[Topic], grade: str | None) -> tuple[str, str]:
    if grade is not None:
        return band_of(grade), "given"
    known = {name: band for name, _, band in _taxonomy()}
    order = ("K-2", "3-5", "6-8", "9-12")
    hardest = max(topics, key=lambda t: order.index(known[t.name]), default=None)
    return (known[hardest.name], f"topic {hardest.name}") if hardest else ("3-5", "no evidence")


def band_of(grade: str) -> str:
    """The band of a grade (K, 1 ... 12); raises ToolError for what is none."""
    word = grade.strip().upper().removeprefix("GRADE ").strip()
    number = 0 if word == "K" else int(word) if word.isdecimal() else -1
    if not 0 <= number <= 12:
        raise ToolError(f"--grade {grade}: grades are K and 1 to 12")
    return "K-2" if number <= 2 else "3-5" if number <= 5 else "6-8" if number <= 8 else "9-12"


@cache
def _taxonomy() -> list[tuple[str, list[tuple[float, Any]], str]]:
    """Topics with their weighted patterns and the band in which they are taught."""
    import re

    content = yaml_text.load(TAXONOMY)
    return [
        (
            name,
            [
                (float(weight), re.compile(pattern, re.IGNORECASE))
                for weight, patterns in entry["evidence"].items()
                for pattern in patterns
            ],
            entry["band"],
        )
        for name, entry in content.items()
    ]


def run_tag(config: TagConfig) -> str:
    """Tag one problem (the tags as JSON) or a file (how many rows went where); raises ToolError on wrong options."""
    if config.question is not None:
        return json.dumps(tag(config.question, config.grade).to_json(), ensure_ascii=False, indent=2)
    if config.data is None or config.output_file is None:
        raise ToolError("give --data and --output-file, or --question TEXT")
    if config.grade is not None:
        band_of(config.grade)
    output = Path(config.output_file)
    paths = {"rows": output, "rejected": output.with_name(f"{output.name}.rejected.jsonl")}
    rejected: list[Rejected] = []
    with output_files(
        "tools-bench tag", paths, flag="--output-file", inputs=files_among(config.data), overwrite=config.overwrite
    ) as files:
        tagged = _tagged(read_rows(config.data), config, rejected)
        if (first := next(tagged, None)) is None:
            why = f"; first: {rejected[0].origin}: {rejected[0].reason}" if rejected else ""
            raise ToolError(f"{config.data}: no row to tag; pass --question-key ({len(rejected)} rejected{why})")
        n = write_jsonl(files["rows"], chain([first], tagged))
        write_jsonl(files["rejected"], (row.to_json() for row in rejected))
    return f"{config.output_file}: {n} rows tagged, {len(rejected)} rejected ({paths['rejected'].name})"


def _tagged(rows: Iterable[Row | Rejected], config: TagConfig, rejected: list[Rejected]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if isinstance(row, Rejected):
            rejected.append(row)
            continue
        keys = [config.question_key] if config.question_key else ["question", "problem", "prompt"]
        text = next((row.data[k] for k in keys if isinstance(row.data.get(k), str)), None)
        if text is None:
            rejected.append(Rejected(row.origin, f"no text under {' or '.join(keys)}", raw_of(row)))
            continue
        own = row.data.get("grade")
        try:
            tags = tag(text, config.grade or grade_of(own))
        except ToolError:
            reason = f'"grade" is {str(own)[:40]!r}: grades are K and 1 to 12; fix the row or pass --grade'
            rejected.append(Rejected(row.origin, reason, raw_of(row)))
            continue
        grade = {} if config.grade is None else {"grade": config.grade.strip()}
        yield {**row.data, **grade, **tags.to_json()}
