"""Verified rows a second: tools-traces against static batches of 32 that sample every attempt of every prompt.

    pytest tests/benchmarks/test_traces.py --benchmark-only --benchmark-timer=time.process_time

The demo model as it is committed, in its own words, five attempts; grading and writing are part of both.
"""

import json

import pytest

from tools_shared.answers import equal
from tools_shared.cli import Invocation
from tools_shared.engines.local import engine as engines
from tools_shared.prompts import load_profile, render_question
from tools_shared.sources import read_problems
from tools_traces.config import TracesConfig
from tools_traces.sample import sample

PROFILE = 'name: demo-plain\nsystem: Solve the problem.\nanswer: [" The answer is ", "."]\n'
DATA = "demo://problems?split=train&size=128"
ATTEMPTS = 5
NEW_TOKENS = 160


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text(PROFILE)
    return str(path)


def straightforward(folder, profile):
    """Every attempt for every prompt, in the order of the data; the first right one becomes the row."""
    import torch

    from tools_shared.models import load, resolve

    torch.manual_seed(0)
    model, parsed_by = load(resolve("demo"), device="cpu"), load_profile(profile)
    problems = read_problems(DATA).items
    prompts = [render_question(model.tokenizer, parsed_by, p.question) for p in problems for _ in range(ATTEMPTS)]
    texts, n_tokens = [], 0
    pad = model.tokenizer.pad_token_id
    for start in range(0, len(prompts), 32):
        ids = [list(p.token_ids) for p in prompts[start : start + 32]]
        inputs = model.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.inference_mode():
            out = model.model.generate(
                **inputs, max_new_tokens=NEW_TOKENS, do_sample=True, temperature=0.8, top_k=0, top_p=1.0
            )
        new = out[:, inputs["input_ids"].shape[1] :]
        n_tokens += int((new != pad).sum())
        texts += model.tokenizer.batch_decode(new, skip_special_tokens=True)
    rows = []
    for i, problem in enumerate(problems):
        for text in texts[i * ATTEMPTS : (i + 1) * ATTEMPTS]:
            parsed = parsed_by.parse(text)
            if parsed.well_formed and equal(problem.answer, parsed.answer or "").correct:
                rows.append({"question": problem.question, "answer": f"{parsed.thinking}\n\n#### {parsed.answer}"})
                break
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return len(rows), n_tokens


def tools_traces(folder, profile):
    config = TracesConfig(
        data=DATA, profile=profile, max_attempts=ATTEMPTS, max_new_tokens=NEW_TOKENS, fallback="skip",
        output_dir=str(folder / "run"), overwrite=True,
    )  # fmt: skip
    metrics = sample(config, Invocation("tools-traces", "benchmark")).metrics
    return metrics["rows"], metrics["tokens_last_session"]


WAYS = {"tools_traces": tools_traces, "straightforward": straightforward}


@pytest.mark.benchmark(group="traces")
@pytest.mark.parametrize("way", WAYS)
def test_traces(benchmark, tmp_path, profile, way):
    assert engines.MAX_SLOTS  # the engine, and torch with it, is loaded before the clock starts
    n_rows, n_tokens = benchmark.pedantic(WAYS[way], (tmp_path, profile), rounds=3, warmup_rounds=1)
    benchmark.extra_info["rows"] = n_rows
    benchmark.extra_info["rows_per_second"] = round(n_rows / benchmark.stats.stats.median, 2)
    benchmark.extra_info["tokens_per_row"] = round(n_tokens / n_rows, 1)
    assert n_rows > 10
