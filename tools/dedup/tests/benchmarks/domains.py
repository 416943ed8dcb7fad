"""Recall and share flagged by domain, each on pairs that were not used for choosing the rule.

    python tools/dedup/tests/benchmarks/domains.py DATA FUNCTIONS.jsonl [MODEL...]

DATA holds rephrased/*.jsonl, math/math500.jsonl and gsm8k/train.jsonl; FUNCTIONS is made by `library_functions.py`.
Planted are the odd rows of the even files, which the shipped rules were not chosen on, and beside them
`unseen_code.jsonl` (39 Python problems with rewrites in Go, Rust, Java, C++, Ruby and Kotlin) and `unseen_choice.jsonl`
(60 questions of twelve subjects) and `unseen_languages.jsonl` (45 word problems in German, French and Spanish), written
for this measurement: no rule was chosen on any of them. Multiple-choice test
texts carry their options. `neighbours` are the rewordings of other problems of the same set, the hardest clean rows
there are: planted against a test set without their own problem.
"""

import json
import sys
from pathlib import Path

from tools_dedup.config import DedupConfig
from tools_dedup.run import decontaminate
from tools_shared.stats import wilson

HERE = Path(__file__).parent
LETTERS = "ABCDEFGH"


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def with_options(row: dict) -> str:
    return "\n".join([row["test"], *(f"{name}. {text}" for name, text in zip(LETTERS, row["options"], strict=False))])


def share(hits: list[bool]) -> str:
    rate = wilson(sum(hits), len(hits))
    return f"{100 * rate.estimate:5.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}] of {len(hits)}"


def removed(texts: list[str], tests: list[str], **options) -> list[bool]:
    config = DedupConfig(text_key="text", **options)
    found = decontaminate([{"text": t} for t in texts], [{"text": t} for t in tests], config)
    return [match["removed_by"] is not None for match in found.matches]


def measure(
    name: str, pairs: list[tuple[str, str]], background: list[str], all_unseen: bool = False, **options
) -> None:
    """Of pairs that are `all_unseen` all are planted, else the odd ones; neighbours face the tests at even places."""
    tests = [test for test, _ in pairs]
    reworded = [text for _, text in pairs]
    found = removed([*background, *(reworded if all_unseen else reworded[1::2])], tests, **options)
    near = removed([*background, *reworded[1::2]], tests[0::2], **options)
    cut = len(background)
    print(
        f"{name:44} recall {share(found[cut:])}  flagged {share(found[:cut])}  neighbours {share(near[cut:])}",
        flush=True,
    )


def main(data: str, functions: str, *models: str) -> None:
    folder = Path(data)
    code = [(row["test"], row["rephrased"]) for row in rows(folder / "rephrased/humaneval_js_even.jsonl")]
    choice = rows(folder / "rephrased/mmlu_algebra_even.jsonl")
    stems = [(row["test"], row["rephrased"]) for row in choice]
    options = [(with_options(row), row["rephrased"]) for row in choice]
    prose = [row.get("problem") or row["question"] for row in rows(folder / "math/math500.jsonl")]
    prose += [row["question"] for row in rows(folder / "gsm8k/train.jsonl")[1::2]]
    clean = [row["text"] for row in rows(Path(functions))][1::2]
    unseen_code = [(row["test"], row["rephrased"]) for row in rows(HERE / "unseen_code.jsonl")]
    unseen = rows(HERE / "unseen_choice.jsonl")
    unseen_stems = [(row["test"], row["rephrased"]) for row in unseen]
    unseen_options = [(with_options(row), row["rephrased"]) for row in unseen]
    told = rows(HERE / "unseen_languages.jsonl")
    for model in ("", *models):
        chosen = {"model": model} if model else {"method": ("exact", "lexical")}
        label = Path(model).name or "words and numbers"
        measure(f"{label}: HumanEval in JavaScript", code, clean, **chosen)
        measure(f"{label}: unseen code, six languages", unseen_code, clean, all_unseen=True, **chosen)
        measure(f"{label}: unseen choice, stem", unseen_stems, prose, all_unseen=True, **chosen)
        measure(f"{label}: unseen choice, options", unseen_options, prose, all_unseen=True, **chosen)
        for name in dict.fromkeys(row["language"] for row in told):
            pairs = [(row["test"], row["rephrased"]) for row in told if row["language"] == name]
            measure(f"{label}: unseen, {name}", pairs, prose, all_unseen=True, **chosen)
        measure(f"{label}: MMLU algebra, stem", stems, prose, **chosen)
        measure(f"{label}: MMLU algebra, stem and options", options, prose, **chosen)
        measure(f"{label}: the same, --domain text", options, prose, domain="text", **chosen)


if __name__ == "__main__":
    main(*sys.argv[1:])
