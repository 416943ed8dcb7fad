"""Tokens a second: our engine, transformers' `generate` in static batches, and its continuous batching, side by side.

    pytest tests/benchmarks/test_sampling.py --benchmark-only --benchmark-timer=time.process_time

The same prompts of mixed length, the demo model, temperature 0.8; nothing is asserted on time.
"""

import pytest

from tools_shared.engines import SamplingParams
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.prompts import PROFILES, render_question
from tools_shared.sources import read_problems

N_PROMPTS = 128
NEW_TOKENS = 160
BATCH = 32
SEED = 0


@pytest.fixture(scope="module")
def model():
    from tools_shared.models import load, resolve

    return load(resolve("demo"), device="cpu")


@pytest.fixture(scope="module")
def prompts(model):
    """Every third prompt has three other questions before its own, so lengths spread from about 60 to 450 tokens."""
    questions = [p.question for p in read_problems(f"demo://problems?split=train&size={N_PROMPTS}").items]
    mixed = [" ".join(questions[i : i + 4]) if i % 3 == 0 else q for i, q in enumerate(questions)]
    return [render_question(model.tokenizer, PROFILES["gsm8k-tags"], q) for q in mixed]


def plain_generate(model, prompts, n_new=NEW_TOKENS, batch=BATCH):
    """What one writes first: batches in the order of the data, padded, each run until its last row has ended."""
    import torch

    torch.manual_seed(SEED)
    n_tokens = 0
    texts = []
    pad = model.tokenizer.pad_token_id
    for start in range(0, len(prompts), batch):
        ids = [list(p.token_ids) for p in prompts[start : start + batch]]
        inputs = model.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.inference_mode():
            out = model.model.generate(
                **inputs, max_new_tokens=n_new, do_sample=True, temperature=0.8, top_k=0, top_p=1.0, pad_token_id=pad
            )
        new = out[:, inputs["input_ids"].shape[1] :]
        n_tokens += int((new != pad).sum())
        texts += model.tokenizer.batch_decode(new, skip_special_tokens=True)
    return texts, n_tokens


def our_engine(model, prompts):
    engine = TransformersEngine(model.model, model.tokenizer)
    drawn = engine.generate(prompts, SamplingParams(0.8, NEW_TOKENS, seed=SEED))
    return None, sum(len(c[0].token_ids) for c in drawn)


def continuous_batching(model, prompts):
    from transformers import ContinuousBatchingConfig, GenerationConfig

    config = GenerationConfig(
        max_new_tokens=NEW_TOKENS, do_sample=True, temperature=0.8, top_k=0, eos_token_id=model.tokenizer.eos_token_id,
        pad_token_id=model.tokenizer.pad_token_id,
    )  # fmt: skip
    drawn = model.model.generate_batch(
        [list(p.token_ids) for p in prompts],
        generation_config=config,
        continuous_batching_config=ContinuousBatchingConfig(
            block_size=32, num_blocks=1024, max_batch_tokens=512, max_memory_percent=0.1
        ),
        progress_bar=False,
    )
    return None, sum(len(output.generated_tokens) for output in drawn.values())


WAYS = {"ours": our_engine, "generate": plain_generate, "continuous_batching": continuous_batching}


@pytest.mark.benchmark(group="sampling")
@pytest.mark.parametrize("way", WAYS)
def test_sampling(benchmark, model, prompts, way):
    _, n_tokens = benchmark.pedantic(WAYS[way], (model, prompts), rounds=3, warmup_rounds=1)
    benchmark.extra_info["tokens"] = n_tokens
    benchmark.extra_info["tokens_per_second"] = round(n_tokens / benchmark.stats.stats.median)
    assert n_tokens > N_PROMPTS
