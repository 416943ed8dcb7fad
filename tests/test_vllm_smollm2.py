"""The real vLLM on a real model: greedy replies of SmolLM2-135M, alone and under LoRA, are those of transformers.

Near ties may be decided either way, since sums are taken in another order: where two replies part, the two best tokens
must be that near.
"""

import pytest

from tools_shared.engines import EngineConfig, SamplingParams, open_engine
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.models import load, resolve
from tools_shared.prompts import PROFILES, render_question
from tools_shared.sources import read_problems
from tools_shared.training.save import save
from tools_shared.training.trainable import LoraOptions, make_trainable

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

PROFILE = PROFILES["boxed"]
GREEDY = SamplingParams(max_new_tokens=32)
N = 8
NEAR = 1e-3
"""Nats between the two best tokens below which either may be taken."""


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, smollm2):
    """A LoRA adapter with random weights, large enough to change what the model says."""
    import torch

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    loaded = make_trainable(load(resolve(str(smollm2)), "fp32", "cpu"), LoraOptions())
    with torch.no_grad():
        for name, weights in loaded.model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.02)
    save(loaded, folder, folder, PROFILE, full_weights=False)
    return folder


def greedy(engine):
    questions = [p.question for p in read_problems(f"demo://problems?split=test&size={N}").items]
    prompts = [render_question(engine.tokenizer, PROFILE, question) for question in questions]
    return [list(drawn[0].token_ids) for drawn in engine.generate(prompts, GREEDY)], prompts


def margin(model, ids: list[int]) -> float:
    """How far apart the two best next tokens are, in nats."""
    import torch

    with torch.no_grad():
        best = model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1).topk(2).values
    return (best[0] - best[1]).item()


def check(name: str) -> list[list[int]]:
    engine = open_engine(resolve(name), EngineConfig(engine="vllm", device="cpu", dtype="fp32"))
    served, _ = greedy(engine)
    engine.close()
    loaded = load(resolve(name), "fp32", "cpu")
    local, prompts = greedy(TransformersEngine(loaded.model, loaded.tokenizer))
    for prompt, ours, theirs in zip(prompts, local, served, strict=True):
        if ours != theirs:
            at = next(i for i in range(min(len(ours), len(theirs))) if ours[i] != theirs[i])
            assert margin(loaded.model, [*prompt.token_ids, *ours[:at]]) < NEAR
    assert sum(ours == theirs for ours, theirs in zip(local, served, strict=True)) >= N - 1
    return local


def test_greedy_equals_transformers_alone_and_under_an_adapter(smollm2, adapter):
    assert check(str(smollm2)) != check(str(adapter))
