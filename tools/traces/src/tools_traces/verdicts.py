"""`tools-traces verdicts`: from replies that people have judged to a judge's training rows.

The prompts are those that a rubric's judge is asked with, letter for letter, so that what is trained here is used as
`judge:` without a change. Groups (by default: prompts) are split by their hash: no question is on both sides.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import write_jsonl
from tools_shared.judging.labels import FIRST_WINS, Labelled, read_labelled
from tools_shared.judging.questions import messages_of
from tools_shared.judging.rubric import Rubric, load_rubric
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.sources.allowance import settle
from tools_traces.config import VerdictsConfig

SFT, RLVR, TRAIN, HELD_OUT, PROFILE = "sft.jsonl", "rlvr.jsonl", "train.jsonl", "held_out.jsonl", "profile.yaml"


def make_verdicts(config: VerdictsConfig, invocation: Invocation) -> Manifest:
    """Write the rows and return the run's manifest.

    `sft.jsonl` has `messages`, `rlvr.jsonl` `messages`, `ground_truth` and `dataset` (for `--reward agrees`),
    `profile.yaml` the prompt profile of both; `train.jsonl` and `held_out.jsonl` are the labelled rows as they came.
    """
    rubric = load_rubric(Path(config.rubric))
    if rubric.row_criteria is not None:
        raise ToolError(f"{config.rubric}: row_criteria asks each row something else; give criteria, score or pairwise")
    output_dir = Path(config.output_dir or default_output_dir("verdicts"))
    if done := finished(output_dir, config):
        return done
    read = read_labelled(config.data or "", rubric, config)
    settle("the labelled replies", read.n_read, read.rejected, [], config.max_rejected)
    sides: dict[bool, list[Labelled]] = {False: [], True: []}
    for item in read.items:
        sides[_is_held_out(item.group, config.seed, config.held_out)].append(item)
    whole = [item for item in sides[False] if rubric.kind != "criteria" or len(item.labels) == len(rubric.criteria)]
    if not whole:
        raise ToolError(
            f"{config.data}: no row to train on has a verdict on every criterion; lower --held-out, or label"
        )
    rows = _balanced(whole, config.seed) if config.balance else whole
    random.Random(config.seed).shuffle(rows)
    with draft(output_dir, config, invocation, "verdicts") as run:
        run.add_input("rubric", config.rubric, rubric.sha256)
        run.add_input("data", config.data or "", read.sha256, n_read=read.n_read, n_used=len(read.items))
        run.reject(read.rejected)
        _write(run, rubric, rows, sides)
        figures = {"n_train": len(sides[False]), "n_held_out": len(sides[True]), "n_rows": len(rows)}
        say(
            f"{read.n_read} rows read, {len(read.rejected)} rejected; {figures['n_train']} to train on "
            f"({len(sides[False]) - len(whole)} of them without a verdict on every criterion, left out of the training "
            f"rows), {figures['n_held_out']} held out, {figures['n_rows']} training rows"
        )
        for name, counts in _counts(rows).items():
            say(f"{name}: " + ", ".join(f"{n} {value}" for value, n in counts))
        return run.finish(figures, seed=config.seed)


def _is_held_out(group: str, seed: int, share: float) -> bool:
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8]) / 2**64 < share


def verdict_of(labels: Mapping[str, bool | float], rubric: Rubric) -> dict[str, Any]:
    """A label as the judge should say it."""
    if rubric.kind == "pairwise":
        return {"better": "A" if labels[FIRST_WINS] else "B"}
    if rubric.kind == "score":
        score = labels["score"]
        return {"score": int(score) if float(score).is_integer() else score}
    return {one.name: labels[one.name] for one in rubric.criteria}


def _balanced(items: Sequence[Labelled], seed: int) -> list[Labelled]:
    """Rows with a rarer verdict repeated, until each verdict is as frequent as the most frequent."""
    by_verdict: dict[str, list[Labelled]] = {}
    for item in items:
        by_verdict.setdefault(json.dumps(dict(item.labels), sort_keys=True), []).append(item)
    most = max(map(len, by_verdict.values()))
    drawn = random.Random(seed)
    return [
        one
        for same in by_verdict.values()
        for one in [*same * (most // len(same)), *drawn.sample(same, most % len(same))]
    ]


def _write(run: Draft, rubric: Rubric, rows: Sequence[Labelled], sides: Mapping[bool, Sequence[Labelled]]) -> None:
    import yaml

    sft, rlvr, times = [], [], Counter[str]()
    for item in rows:
        times[item.id] += 1
        name = item.id if times[item.id] == 1 else f"{item.id}-{times[item.id]}"
        asked = [{"role": m.role, "content": m.content} for m in messages_of(rubric, item.question)]
        gold = json.dumps(verdict_of(item.labels, rubric), ensure_ascii=False)
        sft.append({"id": name, "messages": [*asked, {"role": "assistant", "content": gold}]})
        scale = {"scale": list(rubric.scale)} if rubric.kind == "score" else {}
        rlvr.append({"id": name, "messages": asked, "ground_truth": gold, "dataset": rubric.name, **scale})
    write_jsonl(run.path / SFT, sft)
    write_jsonl(run.path / RLVR, rlvr)
    for name, items in ((TRAIN, sides[False]), (HELD_OUT, sides[True])):
        # As they came, each row once: a pair is one row and two questions.
        write_jsonl(run.path / name, {item.origin: dict(item.row) for item in items}.values())
    # The system message of rows that GRPO reads is the profile's; a verdict is what stands between its braces.
    profile = {
        "name": f"judge-{rubric.name}",
        "system": rubric.system(rubric.criteria),
        "answer": ["{", "}"],
        "template_options": {},
    }
    (run.path / PROFILE).write_text(yaml.safe_dump(profile, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _counts(rows: Sequence[Labelled]) -> dict[str, list[tuple[Any, int]]]:
    found: dict[str, Counter[Any]] = {}
    for item in rows:
        for name, value in item.labels.items():
            found.setdefault(name, Counter())["yes" if value is True else "no" if value is False else value] += 1
    return {name: counts.most_common(6) for name, counts in found.items()}
