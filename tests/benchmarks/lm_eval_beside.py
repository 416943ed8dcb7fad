"""lm-eval's `hf` backend and `tools-bench run` on the same model and prompts, whole processes, for
`test_lm_eval_speed.py`.

lm-eval is the program LM_EVAL names, else the one beside Python or on the PATH (pip install -c constraints.txt
'tools-bench[benchmark]', in an environment of its own if you like).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools_shared.sources import read_problems

BIN = Path(sys.executable).parent
SUBJECTS = ("arithmetic", "commerce", "household", "travel", "schools")

WORDS = r"""
task: words
dataset_path: json
dataset_kwargs: {{data_files: {{test: {prompts}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{gold}}}}"
target_delimiter: ""
generation_kwargs: {{until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, max_gen_toks: {new_tokens}}}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "\\$", "(?s).*#### ", "\\.$"]
filter_list:
  - name: strict-match
    filter: [{{function: regex, regex_pattern: "#### (\\-?[0-9\\.\\,]+)"}}, {{function: take_first}}]
  - name: flexible-extract
    filter:
      - {{function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{{2,}})|(-?[0-9]+)"}}
      - {{function: take_first}}
"""
"""The settings, filters and stop sequences of lm-eval's own gsm8k."""
CHOSEN = """
task: chosen
dataset_path: json
dataset_kwargs: {{data_files: {{test: {prompts}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{options}}}}"
doc_to_target: "{{{{right}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


def lm_eval_program() -> Path | None:
    """Where lm-eval is, None where it is not installed."""
    beside = BIN / "lm_eval"
    found = os.environ.get("LM_EVAL") or (beside if beside.is_file() else shutil.which("lm_eval"))
    return Path(found) if found else None


def choice_rows(n: int, seed: int = 0, n_examples: int = 0) -> Iterator[dict[str, Any]]:
    """Rows in MMLU's shape: 20 to 300 tokens of question, four options of which one is right, a subject.

    With `n_examples`, each question follows that many solved ones of its subject, as MMLU is usually asked.
    """
    rng = random.Random(seed)
    problems = read_problems(f"demo://problems?split=test&size={2 * n}&seed={seed}").items
    shown = read_problems(f"demo://problems?split=train&size={len(SUBJECTS) * n_examples}").items if n_examples else []
    for i in range(n):
        subject = SUBJECTS[i % len(SUBJECTS)]
        examples = [_solved(p) for p in shown[i % len(SUBJECTS) :: len(SUBJECTS)]]
        told = [p.question.rsplit(". ", 1)[0] + "." for p in rng.sample(problems, rng.choice((0, 0, 1, 2, 4)))]
        question = "\n\n".join([*examples, " ".join([*told, problems[i].question])])
        options, right = _options(rng, int(problems[i].answer))
        yield {"id": f"{subject}-{i}", "question": question, "subject": subject, "choices": options, "answer": right}


def _solved(problem: Any) -> str:
    options, right = _options(random.Random(problem.question), int(problem.answer))
    lines = [f"{letter}. {text}" for letter, text in zip("ABCD", options, strict=True)]
    return "\n".join([problem.question, *lines, f"Answer: {'ABCD'[right]}"])


def _options(rng: random.Random, right: int) -> tuple[list[str], int]:
    """Four different ones, of several words each, and the place of the right one."""
    others = {right + d for d in (-10, -3, -1, 1, 2, 5, 12)} | {2 * right + 1}
    numbers = [right, *rng.sample(sorted(others), 3)]
    rng.shuffle(numbers)
    form = rng.choice(("{}", "{} in all", "exactly {}", "there are {}, when everything is counted", "it comes to {}"))
    return [form.format(number) for number in numbers], numbers.index(right)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lm_eval(task: Path, model: Path, dtype: str, batch_size: int | str, output: Path) -> list[str]:
    """The command that runs the task in the folder of the file `task`."""
    words = ["run", "--model", "hf", "--model_args", f"pretrained={model},dtype={dtype}", "--tasks", task.stem]
    words += ["--include_path", task.parent, "--device", "cpu", "--batch_size", batch_size, "--log_samples"]
    return list(map(str, [lm_eval_program(), *words, "--output_path", output]))


def tools_bench(*words: Any) -> list[str]:
    return list(map(str, [BIN / "tools-bench", "run", "--device", "cpu", *words]))


def seconds(command: list[str]) -> tuple[float, float]:
    """Processor and wall seconds of a whole process, which has to succeed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        if status:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)}\n{said.read()[-4000:]}")
    return usage.ru_utime + usage.ru_stime, took


def word_problems(folder: Path, n: int, model: Path, new_tokens: int) -> tuple[Path, Path]:
    """Word problems in GSM8K's form, as rows for us and as a task for lm-eval with the prompts that we make of them."""
    from tools_shared.demo.problems import problems
    from tools_shared.models import resolve
    from tools_shared.models.load import load_tokenizer
    from tools_shared.prompts import DEFAULT_PROFILE, load_profile, render_question

    folder.mkdir(exist_ok=True)
    tokenizer, profile = load_tokenizer(resolve(str(model))), load_profile(DEFAULT_PROFILE)
    rows = [{"id": f"w{i}", **row} for i, row in enumerate(problems("test", n, seed=7))]
    docs = [
        {"question": row["question"], "gold": row["answer"]}
        | {"prompt": render_question(tokenizer, profile, row["question"]).text}
        for row in rows
    ]
    prompts = write_rows(folder / "prompts.jsonl", docs)
    (folder / "words.yaml").write_text(WORDS.format(prompts=prompts, new_tokens=new_tokens))
    return write_rows(folder / "rows.jsonl", rows), folder / "words.yaml"


def our_rows(run: Path, name: str = "responses") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]


def their_rows(output: Path) -> list[dict[str, Any]]:
    """lm-eval's samples in the order of the documents."""
    (path,) = output.rglob("samples_*.jsonl")
    return sorted(map(json.loads, path.read_text().splitlines()), key=lambda row: row["doc_id"])
