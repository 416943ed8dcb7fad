"""Why replies and choices in a log of lm-eval differ from those of a run of ours: the same model, prompts and items.

    tools-bench import lm-eval out --output-dir theirs
    python tests/benchmarks/lm_eval_differences.py theirs outputs/benchmarks/smollm2 --model smollm2

gives each item that both have one cause, and counts them; an item without one is listed, and the exit status is 1.

| cause | how it is told |
| --- | --- |
| same | the same reply once white space at its ends is trimmed |
| their stop sequence | ours goes on behind the end of theirs with one of lm-eval's `until` |
| their decoder's spaces | the same once spaces before punctuation are taken out (`clean_up_tokenization_spaces`) |
| a tie in bf16 | where they part, both tokens have logits in fp32 that bf16 does not tell apart |
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNEXPLAINED = "not explained"
TIE = "a tie in bf16"
STEPS = 4
"""Logits that are this many steps of bf16 apart, or less, count as tied: each has passed thirty layers of rounding."""


def rows(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in map(json.loads, (folder / name).read_text().splitlines())}


def by_question(run: Path) -> dict[str, dict[str, Any]]:
    """The first reply to each question."""
    responses = rows(run, "responses.jsonl")
    return {item["question"].strip(): responses[name] for name, item in rows(run, "items.jsonl").items()}


def cause(theirs: str, ours: str, until: Sequence[str]) -> str | None:
    """What needs no model to be told; None where the replies part in the middle."""
    a, b = theirs.strip(), ours.strip()
    if a == b:
        return "same"
    if any(b.split(stop, 1)[0].strip() == a for stop in until):
        return "their stop sequence"
    if without_spaces(a) == without_spaces(b):
        return "their decoder's spaces"
    return None


def without_spaces(text: str) -> str:
    """As a decoder cleans up: no space before punctuation and short forms."""
    return re.sub(r"\s+(?=[.,?!]|n't|'(?:m|s|ve|re)\b|')", "", text)


def is_tie(one: float, other: float) -> bool:
    """Whether two logits are at most STEPS steps of bf16 (8 significant bits) apart."""
    step = 2.0**-7 * max(abs(one), abs(other))
    return abs(one - other) <= STEPS * step


class Parting:
    """Where two replies part, asked of the model in fp32."""

    def __init__(self, model: str, profile: str) -> None:
        from tools_shared.models import resolve
        from tools_shared.models.load import load
        from tools_shared.prompts import load_profile

        loaded = load(resolve(model), "fp32", "cpu")
        self.model, self.tokenizer, self.profile = loaded.model, loaded.tokenizer, load_profile(profile)

    def logits(self, question: str, theirs: str, ours: str) -> tuple[float, float, float]:
        """Those of their next token, of ours, and the highest of all, after the tokens that both replies have."""
        import torch

        from tools_shared.prompts import render_question

        prompt = list(render_question(self.tokenizer, self.profile, question).token_ids)
        a, b = (self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (theirs, ours))
        end = self.tokenizer.eos_token_id
        n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        with torch.inference_mode():
            logits = self.model(torch.tensor([[*prompt, *a[:n]]])).logits[0, -1].float()
        mine, yours = (int(ids[n]) if n < len(ids) else end for ids in (a, b))
        return float(logits[mine]), float(logits[yours]), float(logits.max())


def explain(imported: Path, run: Path, model: str, until: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Each cause with its questions and what there is to say."""
    theirs, ours = by_question(imported), by_question(run)
    profile = json.loads((run / "benchmark_results.json").read_text())["profile"]["name"]
    parting: Parting | None = None
    found: dict[str, list[tuple[str, str]]] = {}
    for question in theirs.keys() & ours.keys():
        a, b = theirs[question]["text"], ours[question]["text"]
        why, note = cause(a, b, until), ""
        if why is None:
            parting = parting or Parting(model, profile)
            one, other, most = parting.logits(question, a, b)
            why = TIE if is_tie(one, other) and is_tie(max(one, other), most) else UNEXPLAINED
            note = f"logits in fp32: theirs {one:.3f}, ours {other:.3f}, the highest {most:.3f}"
        found.setdefault(why, []).append((question, note))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("imported", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--until", action="append", default=["Question:", "</s>", "<|im_end|>"])
    given = parser.parse_args()
    found = explain(given.imported, given.run, given.model, given.until)
    for why, cases in sorted(found.items()):
        print(f"{len(cases):5} {why}")
    for why in (TIE, UNEXPLAINED):
        for question, note in found.get(why, ()):
            print(f"{why}: {question[:60]} ...: {note}")
    differences = [json.loads(line) for line in (given.imported / "differences.jsonl").read_text().splitlines()]
    for (metric, why), n in sorted(Counter((row["metric"], row["why"]) for row in differences).items()):
        print(f"{n:5} verdicts of {metric} differ from ours on the same reply: {why}")
    return int(UNEXPLAINED in found)


if __name__ == "__main__":
    raise SystemExit(main())
