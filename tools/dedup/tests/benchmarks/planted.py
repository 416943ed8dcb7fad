"""The table of recall in the README: rewordings of test questions planted into GSM8K train, by each shipped rule.

    python tools/dedup/tests/benchmarks/planted.py DATA [MODEL_FOLDER...]

DATA holds gsm8k/train.jsonl, gsm8k/test.jsonl and rephrased/gsm8k_even.jsonl (lm-sys/llm-decontaminator). The rules
were chosen on the even rewordings and rows, so the odd ones are planted; beside them, what any shared n-gram finds.
"""

import json
import re
import sys
from pathlib import Path

from tools_dedup.config import DedupConfig
from tools_dedup.run import decontaminate
from tools_shared.stats import wilson

PLANTED = "planted"


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def show(name: str, n_found: int, n_planted: int, n_flagged: int, n_train: int) -> None:
    recall = wilson(n_found, n_planted)
    found = f"{100 * recall.estimate:5.1f} % [{100 * recall.low:.1f}, {100 * recall.high:.1f}]"
    print(f"{name:45}{found:24}{100 * n_flagged / n_train:6.2f} %", flush=True)


def by_rule(name: str, train: list, planted: list, test: list, **options) -> None:
    result = decontaminate([*train, *planted], {"gsm8k": test}, DedupConfig(**options))
    found = sum(row["answer"] == PLANTED for row in result.removed)
    show(name, found, len(planted), len(result.removed) - found, len(train))


def by_grams(n: int, train: list, planted: list, test: list) -> None:
    known = set().union(*(grams(row["question"], n) for row in test))
    found, flagged = (sum(not known.isdisjoint(grams(row["question"], n)) for row in side) for side in (planted, train))
    show(f"any shared {n}-gram", found, len(planted), flagged, len(train))


def main(data: str, *models: str) -> None:
    train, test = (rows(Path(data) / "gsm8k" / name) for name in ("train.jsonl", "test.jsonl"))
    reworded = rows(Path(data) / "rephrased" / "gsm8k_even.jsonl")[1::2]
    planted = [{"question": row["rephrased"], "answer": PLANTED} for row in reworded]
    print(f"{len(planted)} planted, {len(train)} training rows\n{'':45}{'recall':24}flagged")
    for model in ("", *models):
        chosen = {"model": model} if model else {"method": ("exact", "lexical")}
        for guard in ((), ("numbers",)):
            name = (Path(model).name or "words and numbers") + "".join(f", guard {g}" for g in guard)
            by_rule(name, train, planted, test, guard=guard, **chosen)
    for n in (8, 13):
        by_grams(n, train, planted, test)


if __name__ == "__main__":
    main(*sys.argv[1:])
