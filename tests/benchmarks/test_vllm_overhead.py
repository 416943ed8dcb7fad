"""What our loop adds to vLLM's own: the same prompts through our engine and through a bare `LLM.generate`, in one vLLM.

    .venv-vllm/bin/python -m pytest tests/benchmarks/test_vllm_overhead.py --benchmark-only

128 questions of the demo, greedy, up to 64 tokens; the environment is that of `make vllm-env`.
"""

import pytest

from tools_shared.engines import EngineConfig, SamplingParams, open_engine
from tools_shared.models import resolve
from tools_shared.prompts import PROFILES, render_question
from tools_shared.sources import read_problems

pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

N_NEW = 64


@pytest.fixture(scope="module")
def engine():
    engine = open_engine(resolve("demo"), EngineConfig(engine="vllm", device="cpu"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def prompts(engine):
    problems = read_problems("demo://problems?split=train&size=128").items
    return [render_question(engine.tokenizer, PROFILES["gsm8k-tags"], problem.question) for problem in problems]


def ours(engine, prompts):
    return [[*c.token_ids] for [c] in engine.generate(prompts, SamplingParams(max_new_tokens=N_NEW))]


def bare(engine, prompts):
    from vllm import SamplingParams as VllmParams

    params = VllmParams(temperature=0, max_tokens=N_NEW, stop_token_ids=sorted(engine.stop_ids))
    inputs = [{"prompt_token_ids": list(prompt.token_ids)} for prompt in prompts]
    return [[*found.outputs[0].token_ids] for found in engine.llm.generate(inputs, params, use_tqdm=False)]


@pytest.mark.benchmark(group="vLLM")
@pytest.mark.parametrize("way", [ours, bare])
def test_vllm(benchmark, engine, prompts, way):
    tokens = benchmark.pedantic(way, (engine, prompts), rounds=5, warmup_rounds=1)
    assert tokens == ours(engine, prompts)
