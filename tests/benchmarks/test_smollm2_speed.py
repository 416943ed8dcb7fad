"""Speed on a real model, SmolLM2-135M: each of ours beside the usual way, taking turns in one process, one thread.

    SMOLLM2_ROUNDS=5 pytest tests/benchmarks/test_smollm2_speed.py --benchmark-only -s

prints processor seconds or rates of both and the median of the rounds' ratios; `--benchmark-json` has them as
`extra_info`; nothing is asserted on time. `make models/smollm2` makes the model; traces need one that knows the answer
format (TRACES_SPEED_MODEL=artifacts/prep_sft). What cannot be run is skipped with a sentence.
"""

import os
import statistics
import time
from pathlib import Path

import pytest

from tools_shared.engines import EngineConfig, SamplingParams, open_engine
from tools_shared.models import resolve
from tools_shared.prompts import PROFILES, render_question
from tools_shared.sources import read_problems

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
MODEL = Path(os.environ.get("SMOLLM2_MODEL", HERE.parents[1] / "models" / "smollm2"))
ROUNDS = int(os.environ.get("SMOLLM2_ROUNDS", "5"))
PROFILE = PROFILES["gsm8k-tags"]
BATCH = 32
NEW_TOKENS = 64


@pytest.fixture
def ways(monkeypatch):
    """The modules beside this file; one thread while they are used."""
    import torch

    if not MODEL.is_dir():
        pytest.skip(f"there is no {MODEL}; run make models/smollm2")
    monkeypatch.syspath_prepend(HERE)
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    import grpo_beside_trl
    import smollm2_ways

    yield {"grpo": grpo_beside_trl, "sft": smollm2_ways}
    torch.set_num_threads(n)


def turns(benchmark, usual, ours, figure, more=None):
    """Let the two take turns; `figure` makes of a result what is divided, usual by ours. Shows and keeps the ratios."""
    results = []

    def first():
        results.append([usual(len(results))])
        return (), {}

    def second():
        results[-1].append(ours(len(results) - 1))

    benchmark.pedantic(second, setup=first, rounds=ROUNDS)
    ratios = [round(figure(a) / figure(b), 2) for a, b in results]
    benchmark.extra_info.update(times_faster=ratios, median=statistics.median(ratios))
    for a, b in results:
        print(f"\nusual {figure(a):.4g}, ours {figure(b):.4g}", end="")
        if more is not None:
            print(f"; {more(a)} and {more(b)}", end="")
    print(f"\n{benchmark.group}: {ratios}, median {statistics.median(ratios):.2f}")
    return results


@pytest.mark.benchmark(group="sampling, seconds a token")
def test_sampling(ways, benchmark):
    """Both as they come: `generate` in the format that the library loads, in batches of 32, and --dtype auto."""
    import torch
    from transformers import AutoModelForCausalLM

    engine = open_engine(resolve(str(MODEL)), EngineConfig(device="cpu"))
    library = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    tokenizer, pad = engine.tokenizer, engine.tokenizer.pad_token_id
    questions = [p.question for p in read_problems(f"demo://problems?split=train&size={BATCH}").items]
    prompts = [render_question(tokenizer, PROFILE, question) for question in questions]

    def generate(seed):
        torch.manual_seed(seed)
        began = time.process_time()
        inputs = tokenizer.pad({"input_ids": [list(p.token_ids) for p in prompts]}, return_tensors="pt")
        with torch.inference_mode():
            out = library.generate(
                **inputs, max_new_tokens=NEW_TOKENS, do_sample=True, temperature=0.8, top_k=0, top_p=1.0,
                pad_token_id=pad,
            )  # fmt: skip
        new = out[:, inputs["input_ids"].shape[1] :]
        n = sum(min(len(row), int((row != pad).sum()) + 1) for row in new)  # the token that ended it is one
        return (time.process_time() - began) / n

    def ours(seed):
        began = time.process_time()
        drawn = engine.generate(prompts, SamplingParams(0.8, NEW_TOKENS, seed=seed))
        return (time.process_time() - began) / sum(len(one[0].token_ids) for one in drawn)

    print(f"\nours in {engine.sampled_in}, generate in {library.dtype}", end="")
    turns(benchmark, generate, ours, lambda seconds: seconds)


@pytest.mark.benchmark(group="GRPO step, processor seconds")
def test_grpo_step(ways, benchmark):
    """Base weights seldom end, so both ways sample to the limit, and every group has variance."""
    beside = ways["grpo"]
    more = {"prompts_per_step": 4, "batch_size": 16, "max_completion_length": 48}
    more["reward"] = (f"{HERE / 'grpo_beside_trl.py'}:distinct",)

    def run(way):
        return lambda seed: beside.run(way, beside.options(str(MODEL), 2, seed=seed, **more))

    def parts(log):
        return f"{log.sampling_processor[1]:.1f} s sampling"

    turns(benchmark, run("stock"), run("tools-grpo"), lambda log: log.processor[1], parts)


@pytest.mark.benchmark(group="SFT step, processor seconds")
def test_sft_step(ways, benchmark):
    """LoRA on the solutions of word problems, in batches of 8; the peak is that over the loaded model."""
    sft = ways["sft"].sft

    def run(way):
        return lambda _: sft(way, str(MODEL), "demo://problems?split=train&size=64", 3, 8)

    def peak(taken):
        return f"peak {taken.peak / 2**20:.0f} MiB"

    results = turns(benchmark, run("stock"), run("tools-sft"), lambda taken: statistics.fmean(taken.seconds[1:]), peak)
    share = [round(b.peak / a.peak, 2) for a, b in results]
    benchmark.extra_info["peak_share"] = share
    print(f"peak memory, ours of stock's: {share}")
    for stock, ours in results:
        assert ours.losses == pytest.approx(stock.losses, abs=2e-4)  # logged with four decimals


@pytest.mark.benchmark(group="traces, seconds a verified row")
def test_traces(ways, benchmark, tmp_path, monkeypatch):
    """tools-traces against static batches of 32 that sample five attempts of every prompt."""
    model = os.environ.get("TRACES_SPEED_MODEL")
    if model is None:
        pytest.skip("TRACES_SPEED_MODEL names no run of a model that knows the answer format; see make pipeline")
    import traces_ways

    n = int(os.environ.get("TRACES_SPEED_ROWS", "32"))
    data = f"demo://problems?split=train&size={n}&seed=3&longest=2"

    def rate(found):
        return found["seconds"] / max(1, found["rows"])

    def rows(found):
        return f"{found['rows']} rows, {found['tokens']} tokens"

    turns(
        benchmark,
        lambda seed: traces_ways.static(model, data, seed),
        lambda seed: traces_ways.tools_traces(model, data, seed, tmp_path / str(seed)),
        rate,
        rows,
    )
