"""What a model samples in: bf16 on a processor that multiplies it, where its weights are stored so; said in the run."""

from pathlib import Path

import pytest
import torch
from zoo import save_model

from tools_shared.cli import Invocation
from tools_shared.devices import multiplies_bf16
from tools_shared.engines import LocalEngineConfig, SamplingParams, open_engine
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.engines.local.formats import in_format
from tools_shared.evaluation import EvalConfig, evaluate_in_run
from tools_shared.models import choose_profile, load, resolve
from tools_shared.models.load import sampling_dtype
from tools_shared.prompts import render_question
from tools_shared.records import Problem
from tools_shared.runs import RunConfig, draft
from tools_shared.training.trainable import LoraOptions, load_trainable

CPU = Path("/proc/cpuinfo")
GREEDY = SamplingParams(max_new_tokens=12, logprobs=True)
QUESTIONS = [
    "How tall is the mast?",
    "A tank holds 90 litres and loses 7 an hour. What is left after 4 hours?",
    "1/3 + 1/6?",
]


def saved(family, folder, dtype):
    folder = save_model(family, folder)
    model = load(resolve(str(folder)), "fp32", "cpu").model.to(dtype)
    model.save_pretrained(folder)
    return resolve(str(folder))


def prompts(tokenizer, ref):
    return [render_question(tokenizer, choose_profile(ref, None), question) for question in QUESTIONS]


def expected_auto():
    return torch.bfloat16 if multiplies_bf16() else torch.float32


@pytest.mark.skipif(not CPU.exists(), reason="the system does not list the processor's instructions")
def test_the_processor_is_known_by_its_own_flags():
    flags = set(CPU.read_text().split())
    assert multiplies_bf16() == bool(flags & {"avx512_bf16", "amx_bf16"})


@pytest.mark.parametrize("family", ["llama3", "gpt2"])
def test_auto_rounds_no_weight_that_is_stored_in_more(family, tmp_path):
    whole = saved(family, tmp_path / "whole", torch.float32)
    half = saved(family, tmp_path / "half", torch.bfloat16)
    assert sampling_dtype(whole, "auto", "cpu") == torch.float32
    assert sampling_dtype(half, "auto", "cpu") == expected_auto()
    assert sampling_dtype(half, "fp32", "cpu") == torch.float32
    assert sampling_dtype(whole, "bf16", "cpu") == torch.bfloat16
    assert load(half, device="cpu").model.dtype == torch.float32  # what is trained or read keeps its own


@pytest.mark.parametrize("family", ["qwen3", "gemma2"])
def test_a_model_that_is_trained_samples_as_the_one_loaded_in_that_format(family, tmp_path):
    ref = saved(family, tmp_path / "base", torch.bfloat16)
    trained = load_trainable(ref, LoraOptions(dtype="fp32", device="cpu", full_finetune=True))
    before = {name: p.detach().clone() for name, p in trained.model.named_parameters()}
    rounded = load(ref, "bf16", "cpu")
    mine = TransformersEngine(trained.model, trained.tokenizer, torch.bfloat16).generate(
        prompts(trained.tokenizer, ref), GREEDY
    )
    theirs = TransformersEngine(rounded.model, rounded.tokenizer).generate(prompts(rounded.tokenizer, ref), GREEDY)
    assert mine == theirs
    for name, parameter in trained.model.named_parameters():
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name])


def test_weights_come_back_after_an_error_and_are_the_same_tensors(tmp_path):
    model = load(resolve(str(save_model("qwen2 base", tmp_path / "base"))), "fp32", "cpu").model
    places = [p.data_ptr() for p in model.parameters()]
    with pytest.raises(ZeroDivisionError), in_format(model, torch.bfloat16):
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        assert {b.dtype for b in model.buffers() if b.is_floating_point()} == {torch.float32}
        raise ZeroDivisionError
    assert [p.data_ptr() for p in model.parameters()] == places


def test_before_and_after_training_are_evaluated_in_the_same_numbers_and_the_run_says_which(tmp_path):
    ref = saved("mistral", tmp_path / "base", torch.bfloat16)
    tests = [Problem(str(i), question, "3", None) for i, question in enumerate(QUESTIONS)]
    config = EvalConfig(device="cpu", eval_max_new_tokens=8)
    trained = load_trainable(ref, LoraOptions(device="cpu"))
    found = []
    with draft(tmp_path / "run", RunConfig(), Invocation("tools-sft", "0"), "sft") as run:
        for model in (ref, trained, open_engine(ref, LocalEngineConfig(device="cpu"))):
            found.append(evaluate_in_run(run, model, tests, choose_profile(ref, None), config))
    name = "bf16" if multiplies_bf16() else "fp32"
    assert [one.metrics["sampled_in"] for one in found] == [name] * 3
    assert found[0].graded == found[1].graded == found[2].graded
