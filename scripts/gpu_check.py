"""Train, sample, read and embed on this machine's device, without a network, and say how fast: `make gpu-check`.

The model has random weights of the demo's family and vocabulary (speed does not depend on what it knows), made larger
by `--hidden` and `--layers`; the embedding model is the same one, read at its last token. Prints a table and writes
JSON: steps and tokens a second, peak memory (on a CPU that of the process so far; vLLM's is in processes of its own),
and the share of the device's dense bf16 peak where that is known. vLLM is timed where it is installed. `--parts` names
some of the parts. `--device cpu` runs the same code small; it has not run on a GPU yet.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools_shared.engines import Engine

# Dense bf16, FLOP/s, from NVIDIA's data sheets.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


def make_model(folder: Path, hidden: int, layers: int) -> int:
    """Save a model with random weights; returns its number of parameters without the embeddings."""
    import torch
    from transformers import AutoModelForCausalLM

    from tools_shared.models import resolve
    from tools_shared.models.load import load_config, load_tokenizer

    ref = resolve("demo")
    config = load_config(ref)
    if hidden:
        heads = hidden // 64
        config.hidden_size, config.intermediate_size = hidden, 3 * hidden
        config.num_attention_heads, config.num_key_value_heads, config.head_dim = heads, max(1, heads // 4), 64
    if layers:
        config.num_hidden_layers = layers
        config.layer_types = ["full_attention"] * layers
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    load_tokenizer(ref).save_pretrained(folder)
    return model.num_parameters() - model.get_input_embeddings().weight.numel()


def train_sft(model: Path, out: Path, device: str, steps: int) -> dict[str, float]:
    from tools_sft.config import SftConfig
    from tools_sft.train import train

    config = SftConfig(
        base_model=str(model), output_dir=str(out), device=device, max_steps=steps, logging_steps=1, eval=False
    )
    return _trained(train, config, "tools-sft")


def train_grpo(model: Path, out: Path, device: str, steps: int) -> dict[str, float]:
    from tools_grpo.config import GrpoConfig
    from tools_grpo.train import train

    reward = out.with_name("reward.py")
    reward.write_text(REWARD, encoding="utf-8")
    config = GrpoConfig(
        base_model=str(model), output_dir=str(out), device=device, max_steps=steps, eval=False,
        max_completion_length=64, guard_steps=0,
        reward=(f"{reward}:spread",),
    )  # fmt: skip
    return _trained(train, config, "tools-grpo")


def _trained(train: Callable, config: Any, tool: str) -> dict[str, float]:
    """Steps and tokens a second without the first step, which warms up."""
    from tools_shared.cli import Invocation
    from tools_shared.runs import read_metrics

    train(config, Invocation(tool, "gpu-check"))
    rows = list(read_metrics(config.output_dir))
    seconds = rows[-1]["seconds"] - rows[0]["seconds"]
    n_tokens = rows[-1]["num_tokens"] - rows[0]["num_tokens"]
    return {"steps_per_second": (len(rows) - 1) / seconds, "tokens_per_second": n_tokens / seconds}


def sample(model: Path, out: Path, device: str, steps: int) -> dict[str, float]:
    from tools_shared.engines import EngineConfig, open_engine
    from tools_shared.models import resolve

    return _sampled(open_engine(resolve(str(model)), EngineConfig(device=device)), model, steps)


def sample_with_vllm(model: Path, out: Path, device: str, steps: int) -> dict[str, float]:
    """Half of the GPU's memory, since other parts have run in this process before."""
    from tools_shared.engines import EngineConfig
    from tools_shared.engines.vllm.engine import open_vllm
    from tools_shared.models import resolve

    config = EngineConfig(device=device, engine="vllm", max_model_len=1024, gpu_memory_utilization=0.5)
    engine = open_vllm(resolve(str(model)), config)
    try:
        return _sampled(engine, model, steps)
    finally:
        engine.close()


def _sampled(engine: Engine, model: Path, steps: int) -> dict[str, float]:
    """Tokens a second over 8 prompts x 4 completions a step, all handed over at once, after one step to warm up."""
    from tools_shared.engines import SamplingParams
    from tools_shared.models import choose_profile, resolve
    from tools_shared.prompts import render_question

    profile = choose_profile(resolve(str(model)), None)
    prompts = [render_question(engine.tokenizer, profile, f"What is {i} + {i}?") for i in range(8 * steps)]
    params = SamplingParams(temperature=1.0, max_new_tokens=64, n=4)
    engine.generate(prompts[:8], params)
    began = time.monotonic()
    drawn = engine.generate(prompts, params)
    n_tokens = sum(len(one.token_ids) for group in drawn for one in group)
    return {"tokens_per_second": n_tokens / (time.monotonic() - began)}


def read(model: Path, out: Path, device: str, steps: int) -> dict[str, float]:
    """Hidden states of the last layer, copied to the host: what the scorer and an embedding model cost alike."""
    import torch

    from tools_shared.models import load, resolve

    loaded = load(resolve(str(model)), device=device)
    ids = torch.randint(10, 200, (8, 256), device=loaded.model.device)
    with torch.inference_mode():
        loaded.model.base_model(input_ids=ids).last_hidden_state.cpu()
        began = time.monotonic()
        for _ in range(steps):
            loaded.model.base_model(input_ids=ids).last_hidden_state.cpu()
    seconds = time.monotonic() - began
    return {"steps_per_second": steps / seconds, "tokens_per_second": steps * ids.numel() / seconds}


def embed(model: Path, out: Path, device: str, steps: int) -> dict[str, float]:
    """dedup's transformer encoder, on a model as Qwen3-Embedding is: the last token's state, made of unit length."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    reader = Transformer(str(model))
    pooling = Pooling(reader.get_embedding_dimension(), pooling_mode="lasttoken")
    SentenceTransformer(modules=[reader, pooling, Normalize()], device="cpu").save(str(out))
    return _embedded(out, device, 64 * steps)


def embed_static(model: Path, out: Path, device: str, steps: int) -> dict[str, float]:
    """dedup's static encoder, which needs no device: a table of one random vector of 256 figures a token."""
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    out.mkdir()
    tokenizer.save(str(out / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 256)).astype(np.float32)
    save_file({"embeddings": table}, out / "model.safetensors")
    (out / "config.json").write_text('{"model_type": "model2vec"}', encoding="utf-8")
    return _embedded(out, device, 2048 * steps)


def _embedded(folder: Path, device: str, n_texts: int) -> dict[str, float]:
    """Texts and tokens a second over the demo's questions, after some to warm up."""
    from tokenizers import Tokenizer

    from tools_dedup.config import DedupConfig
    from tools_dedup.semantic.encode import load_encoder, resolve_dtype
    from tools_dedup.semantic.models import find_model
    from tools_shared.sources import read_problems

    encoder = load_encoder(find_model(str(folder)), device, resolve_dtype("auto", device), DedupConfig().batch_size)
    texts = [problem.question for problem in read_problems(f"demo://problems?split=train&size={n_texts}").items]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    n_tokens = sum(len(one.ids) for one in tokenizer.encode_batch(texts))
    encoder.encode(texts[:64], encoder.token_counts(texts[:64]))
    began = time.monotonic()
    encoder.encode(texts, encoder.token_counts(texts))
    seconds = time.monotonic() - began
    return {"texts_per_second": len(texts) / seconds, "tokens_per_second": n_tokens / seconds}


# The untrained model earns nothing for answers; without spread in its groups no update would be timed.
REWARD = """
def spread(completions, answer, **columns):
    return [1.0 if f">{gold}<" in text else len(text) % 50 / 500 for text, gold in zip(completions, answer)]
"""
# FLOP a parameter and token (Kaplan et al. 2020, 2.1); LoRA's backward pass leaves out the frozen weights' gradients.
# A GRPO step samples (2), reads again and goes back (4). A table of vectors is not multiplied with anything.
PARTS: dict[str, tuple[Callable, int]] = {
    "sft": (train_sft, 4),
    "grpo": (train_grpo, 6),
    "sampling": (sample, 2),
    "sampling, vLLM": (sample_with_vllm, 2),
    "hidden states": (read, 2),
    "embedding": (embed, 2),
    "embedding, static": (embed_static, 0),
}
ELSEWHERE = {"sampling, vLLM"}
"""Parts whose memory is in processes of their own."""


def installed_parts() -> list[str]:
    return [part for part in PARTS if part != "sampling, vLLM" or importlib.util.find_spec("vllm") is not None]


def measure(device: str, hidden: int, layers: int, steps: int, parts: list[str]) -> dict[str, Any]:
    import torch

    from tools_shared.devices import pick_device

    device = pick_device(device)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    peak = next((flops for key, flops in PEAKS.items() if key in name), None)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        n_parameters = make_model(model, hidden, layers)
        for part in parts:
            function, flop = PARTS[part]
            if device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            found = function(model, Path(folder, part.replace(", ", "-").replace(" ", "-")), device, steps)
            found["memory_peak_bytes"] = None if part in ELSEWHERE else memory_peak(device)
            found["bf16_peak_share"] = (peak and found["tokens_per_second"] * flop * n_parameters / peak) or None
            results[part] = found
    return {"device": name, "parameters": n_parameters, "steps": steps, "results": results}


def memory_peak(device: str) -> int:
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def table(found: dict[str, Any]) -> str:
    lines = [f"{found['device']}, {found['parameters']:,} parameters", ""]
    lines += [
        "| part | steps/s | texts/s | tokens/s | memory peak, MiB | share of bf16 peak |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part, one in found["results"].items():
        paces = [f"{one[key]:.2f}" if key in one else "" for key in ("steps_per_second", "texts_per_second")]
        memory = f"{one['memory_peak_bytes'] / 2**20:.0f}" if one["memory_peak_bytes"] else "not known"
        share = f"{100 * one['bf16_peak_share']:.1f} %" if one["bf16_peak_share"] else "not known"
        lines.append(f"| {part} | {' | '.join(paces)} | {one['tokens_per_second']:.0f} | {memory} | {share} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--hidden", type=int, default=0, help="width of the model; 0: the demo's")
    parser.add_argument("--layers", type=int, default=0, help="layers of the model; 0: the demo's")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all that is installed")
    parser.add_argument("--output", type=Path, default=Path("gpu-check.json"))
    args = parser.parse_args()
    found = measure(args.device, args.hidden, args.layers, args.steps, args.parts or installed_parts())
    args.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
