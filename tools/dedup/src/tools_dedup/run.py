"""`tools-dedup run` and `decontaminate`: a training set without the questions of the test sets.

Read the sources, decide on every row (`analyse`), read the training set again and write each row where it belongs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tools_dedup.config import DedupConfig
from tools_dedup.decision.analyse import Analysis, analyse
from tools_dedup.decision.outcome import DedupOutcome, in_band, outcomes
from tools_dedup.input.contents import STEPS
from tools_dedup.input.rows import Source, as_line, no_cycles, open_source, open_sources, source_of_rows
from tools_dedup.output.manifest import check_sum, metric_warnings, say_warnings, write_manifest
from tools_dedup.output.paths import OutputPaths, check_inputs, opened_outputs, output_paths
from tools_dedup.output.report import Digest
from tools_dedup.output.shaping import shaped
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, write_jsonl
from tools_shared.records import Rejected
from tools_shared.sources import source_sha256


@dataclass(frozen=True)
class Result:
    """What `decontaminate` gives: the rows that stay and go, those that could not be used, and the evidence for each
    usable row (the lines of `matches.jsonl`). `metrics` counts them."""

    kept: list[Mapping[str, Any]]
    removed: list[Mapping[str, Any]]
    rejected: list[Rejected]
    matches: list[dict[str, Any]]
    metrics: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


Rows = str | Sequence[Mapping[str, Any]]


def decontaminate(train: Rows, tests: Rows | Mapping[str, Rows], config: DedupConfig | None = None) -> Result:
    """Clean `train` of what repeats `tests`; each is an address or a list of rows, the tests one or many by name.

    Raises ToolError for what `tools-dedup run` would refuse. Writes nothing but the cache of vectors.
    """
    config = config or DedupConfig()
    named = tests if isinstance(tests, Mapping) else {"test": tests}
    if not named and not config.within:
        raise ToolError("no test set was given; or set within=True to remove repetitions inside the training set")
    analysis = _analyse(_source("train", train), {name: _source(name, rows) for name, rows in named.items()}, config)
    counts, kept, removed, matches = Tally(), [], [], []
    for outcome in outcomes(analysis):
        counts.add(outcome)
        (removed if outcome.removed else kept).append(
            outcome.row.data if outcome.removed else shaped(outcome.row.data, config.output_format)
        )
        matches.append(outcome.match)
    metrics = counts.metrics(analysis)
    check_sum(metrics)
    return Result(kept, removed, list(analysis.train.rejected), matches, metrics, _warnings(analysis, metrics))


def _source(name: str, rows: Rows) -> Source:
    return open_source(rows) if isinstance(rows, str) else source_of_rows(name, rows)


def run(config: DedupConfig, invocation: Invocation) -> dict[str, Any]:
    """Clean the training file and write everything; returns the manifest (with --dry-run, its metrics alone)."""
    started = datetime.now(UTC)
    for name in ("data", "output_path"):
        if not getattr(config, name):
            raise ToolError(f"--{name.replace('_', '-')} is needed")
    if not config.test_data and not config.within:
        raise ToolError("--test-data is needed; or give --within to remove repetitions inside the training set")
    paths = output_paths(config.output_path, config.removed_path, config.matches_path)
    check_inputs(config, paths)
    if config.dry_run:
        return _counted(config)
    with opened_outputs(paths, config.overwrite, replaces=paths.kept if config.in_place else None) as drafts:
        analysis = read_and_decide(config)
        written, metrics, about = write_all(analysis, drafts, paths.kept.name)
        inputs = inputs_of(analysis)
        return write_manifest(paths, drafts, config, invocation, inputs, written, metrics, started, **about)


def write_all(analysis: Analysis, drafts: OutputPaths, title: str) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """Every file of the run but its manifest: their names, the metrics, and what the manifest says beside them."""
    counts, digest = Tally(), Digest(analysis.config.review_band)
    written = _write(analysis, drafts, counts, digest)
    metrics = counts.metrics(analysis)
    check_sum(metrics)
    warnings = say_warnings(_warnings(analysis, metrics))
    written += digest.write(drafts, title, rule_facts(analysis), metrics, warnings)
    return written, metrics, {"rules": rule_facts(analysis), "model": analysis.model_key, "warnings": warnings}


def _counted(config: DedupConfig) -> dict[str, Any]:
    """What --dry-run says."""
    analysis, counts = read_and_decide(config), Tally()
    for outcome in outcomes(analysis):
        counts.add(outcome)
    metrics = counts.metrics(analysis)
    say_warnings(_warnings(analysis, metrics))
    return {"metrics": metrics}


def read_and_decide(config: DedupConfig, threshold: float | None = None) -> Analysis:
    """The analysis of the files that a configuration names; `threshold` takes the place of the rules'."""
    tests = {name: open_source(spec) for name, spec in config.named_tests().items()}
    return _analyse(open_sources(config.data, config.train_steps_key or STEPS), tests, config, threshold)


def _analyse(
    train: Source, tests: Mapping[str, Source], config: DedupConfig, threshold: float | None = None
) -> Analysis:
    return analyse(train, tests, config, lambda row: shaped(row.data, config.output_format), threshold)


def _write(analysis: Analysis, paths: OutputPaths, counts: Tally, digest: Digest) -> list[str]:
    """One pass over the training set into all files at once; returns their names."""
    config = analysis.config
    with no_cycles(), ExitStack() as stack:
        kept, removed, matches = (
            stack.enter_context(atomic_write(path)) for path in (paths.kept, paths.removed, paths.matches)
        )
        review = stack.enter_context(atomic_write(paths.review)) if config.review else None
        for outcome in outcomes(analysis):
            counts.add(outcome)
            digest.add(outcome.match)
            data = outcome.row.data if outcome.removed else shaped(outcome.row.data, config.output_format)
            (removed if outcome.removed else kept).write(as_line(data))
            line = as_line(outcome.match)
            matches.write(line)
            if review and in_band(config.review_band, outcome.match["score"]):
                review.write(line)
    write_jsonl(paths.rejected, ({"set": name, **row.to_json()} for name, row in all_rejected(analysis)))
    written = ["kept", "removed", "matches", "rejected", *(["review"] if config.review else [])]
    if config.within:
        write_jsonl(paths.clusters, clusters(analysis))
        written.append("clusters")
    return written


def all_rejected(analysis: Analysis) -> Iterator[tuple[str | None, Rejected]]:
    """The rejected rows of the training set (None), then those of the tests with the set's name; a shard other than the
    first has only its own."""
    yield from ((None, row) for row in analysis.train.rejected)
    if analysis.config.shard_of[0] == 0:
        for name, found in analysis.test_scans.items():
            yield from ((name, row) for row in found.rejected)


def clusters(analysis: Analysis) -> Iterator[dict[str, Any]]:
    """For each row that stays and is repeated, its place and those of its repetitions."""
    members: dict[int, list[int]] = {}
    for row, repetition in sorted(analysis.repetitions.items()):
        members.setdefault(repetition.kept, []).append(row)
    for kept, rows in sorted(members.items()):
        place = analysis.train.origin(kept)
        yield {
            "kept": {"train_path": place.path, "train_line": place.line},
            "text": analysis.train.texts[analysis.train.text_ids[kept]],
            "removed": [
                {
                    "train_path": analysis.train.origin(row).path,
                    "train_line": analysis.train.origin(row).line,
                    "score": analysis.repetitions[row].score,
                }
                for row in rows
            ],
        }


class Tally:
    """Counts of what became of the rows."""

    def __init__(self) -> None:
        self._n = Counter()
        self._by_rule: Counter[str] = Counter()
        self._by_set: Counter[str] = Counter()

    def add(self, outcome: DedupOutcome) -> None:
        match = outcome.match
        self._n["removed" if outcome.removed else "kept"] += 1
        self._n["guard"] += match["kept_by_guard"]
        self._n["verdict"] += match["verdict"] is not None
        if outcome.removed:
            self._by_rule[match["removed_by"]] += 1
            if match["removed_by"] != "within" and match["test_set"]:
                self._by_set[match["test_set"]] += 1

    def counted(self) -> dict[str, Any]:
        """What became of the usable rows, and by what they went."""
        n_usable = self._n["removed"] + self._n["kept"]
        return {
            "n_kept": self._n["kept"],
            "n_removed": self._n["removed"],
            "removed_share": round(self._n["removed"] / n_usable, 6) if n_usable else 0.0,
            "removed_by": dict(sorted(self._by_rule.items())),
            "removed_by_test_set": dict(sorted(self._by_set.items())),
            "n_kept_by_guard": self._n["guard"],
            "n_verdicts": self._n["verdict"],
        }

    def metrics(self, analysis: Analysis) -> dict[str, Any]:
        """Rows in = kept + removed + rejected + not sampled; then by what they went, and what was costly."""
        train = analysis.train
        return {
            "n_rows": train.n_read,
            "n_rejected": len(train.rejected),
            "n_not_sampled": train.n_unsampled,
            **self.counted(),
            "n_test_rows": len(analysis.tests),
            "n_test_rejected": sum(len(found.rejected) for found in analysis.test_scans.values()),
            "n_encoded": analysis.n_encoded,
            "n_truncated": analysis.n_truncated,
            "n_test_truncated": analysis.n_test_truncated,
        }


def rule_facts(analysis: Analysis) -> list[dict[str, Any]]:
    """The rules as the manifest and the report state them."""
    return [
        {
            "method": rule.method,
            "score": rule.score_name,
            "threshold": rule.threshold,
            "calibration": rule.calibration and rule.calibration.to_json(),
            "guard_numbers": rule.guard_numbers,
            "top_k": rule.top_k,
        }
        for rule in analysis.plan.rules
    ]


def inputs_of(analysis: Analysis) -> list[dict[str, Any]]:
    specs = analysis.config.data
    train = {"name": "train", "path": str(specs), "sha256": analysis.train.sha256}
    if len(specs) > 1:
        train["sources"] = [{"path": spec, "sha256": source_sha256(spec)} for spec in specs]
    tests = [
        {
            "name": f"test:{name}",
            "path": found.spec,
            "sha256": found.sha256,
            "n_read": found.n_read,
            "n_used": len(found),
        }
        for name, found in analysis.test_scans.items()
    ]
    return [{**train, "n_read": analysis.train.n_read, "n_used": len(analysis.train)}, *tests]


def _warnings(analysis: Analysis, metrics: Mapping[str, Any]) -> list[str]:
    found = list(analysis.plan.warnings)
    unused = len(analysis.verdicts) - len({v for t in range(len(analysis.train.texts)) if (v := _judged(analysis, t))})
    if unused and analysis.config.shard is None:
        found.append(f"{unused} verdicts are about texts that are not in this training set")
    return [*found, *metric_warnings(metrics, analysis.model_key)]


def _judged(analysis: Analysis, text_id: int) -> str | None:
    from tools_dedup.lexical.words import text_digest

    return text_digest(analysis.train.texts[text_id]).hex() if analysis.verdict(text_id) else None
