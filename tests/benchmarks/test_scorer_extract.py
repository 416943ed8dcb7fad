"""Hidden states: reading traces side by side with the known way, and opening what was stored.

    pytest tests/benchmarks/test_scorer_extract.py --benchmark-only --benchmark-timer=time.process_time

The known way is one float32 sequence a forward through the base model; all its positions come out, and the asked ones
are taken. 16 sequences of 180 to 700 tokens, the prompt about 150 of them. Nothing is asserted on time.
"""

import random

import pytest

from tools_scorer.readers import ReaderOptions
from tools_scorer.readers.transformers import TransformersReader
from tools_scorer.traces.files import Trace
from tools_shared.states.shards import Rows, StatesManifest, TraceInfo, write_manifest, write_shard

N_TRACES = 16
PROMPT = 150
STORED_MB = 100
ROUNDS = {"rounds": 3, "iterations": 1, "warmup_rounds": 1}


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    rng, made = random.Random(0), []
    for i in range(N_TRACES):
        length = PROMPT + int(30 + 520 * rng.random() ** 2)
        positions = (PROMPT - 1, *range(PROMPT + 20, length - 1, 40), length - 1)
        info = TraceInfo(str(i), str(i), True, "train", str(i), PROMPT, length - PROMPT)
        made.append(Trace(info, [rng.randrange(3, 1000) for _ in range(length)], positions, {}))
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """The demo model, and a random Qwen3 of 8 blocks, 256 wide."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from tools_shared.models import load, resolve

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=1024, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, head_dim=32, max_position_embeddings=4096, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3ForCausalLM(shape).save_pretrained(folder)
    load(resolve("demo"), device="cpu").tokenizer.save_pretrained(folder)
    return {"demo": "demo", "256x8": str(folder)}


@pytest.mark.parametrize("name", ["demo", "256x8"])
def test_one_sequence_a_forward(benchmark, models, traces, name):
    import torch

    from tools_shared.models import load, resolve

    model = load(resolve(models[name]), "fp32", "cpu").model

    def read():
        for trace in traces:
            ids = torch.tensor([trace.token_ids])
            with torch.inference_mode():
                out = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
            out.last_hidden_state.squeeze(0)[list(trace.positions)].to(torch.float16).contiguous()

    benchmark.group = f"read {name}"
    benchmark.pedantic(read, **ROUNDS)


@pytest.mark.parametrize("name", ["demo", "256x8"])
@pytest.mark.parametrize(
    ("depth", "compute", "budget"),
    [
        ("whole", "fp32", 1),
        ("whole", "bf16", 1),
        ("whole", "fp32", 1024),
        ("whole", "bf16", 1024),
        ("half", "fp32", 1024),
        ("half", "bf16", 1024),
    ],
)
def test_reader(benchmark, models, traces, name, depth, compute, budget):
    last = {"demo": {"whole": 5, "half": 2}, "256x8": {"whole": 8, "half": 4}}[name][depth]
    reader = TransformersReader(ReaderOptions(models[name], (last,), depth == "whole", "fp16", compute, "cpu", budget))
    benchmark.group = f"read {name}"
    benchmark.pedantic(lambda: [rows for _, rows in reader.read(traces)], **ROUNDS)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The same rows twice: as shards, and as the known pipeline's list."""
    import torch

    folder, width, steps = tmp_path_factory.mktemp("stored"), 2560, 20
    n_traces = STORED_MB * 10**6 // (2 * width * steps)
    states = torch.randn(n_traces * steps, 1, width).half()
    infos = [TraceInfo(str(i), str(i), i % 2 == 0, "train", str(i), 100, 1000) for i in range(n_traces)]
    write_manifest(folder / "h", StatesManifest(model="m", reader_sha256="0", layers=(36,), hidden_size=width))
    per_trace = list(states.split(steps))
    positions = range(100, 100 + 40 * steps, 40)
    for start in range(0, n_traces, 250):
        some = slice(start, start + 250)
        rows = Rows.join([(positions, s) for s in per_trace[some]], torch.zeros(len(per_trace[some]), 1, width).half())
        write_shard(folder / "h", start, start + len(per_trace[some]), infos[some], rows)
    entry = {"full_input_ids": torch.zeros(1000, dtype=torch.long), "full_forward_text": "word " * 700, "question": "q"}
    listed = [
        entry | {"select_hidden_states": s[:, 0].clone(), "full_input_ids": entry["full_input_ids"].clone()}
        for s in per_trace
    ]
    torch.save([e | {"is_correct": True, "original_response": "word " * 800} for e in listed], folder / "h.pt")
    return folder


@pytest.mark.benchmark(group="open 100 MB")
def test_open_shards(benchmark, stored):
    from tools_scorer.states.folder import open_hidden

    benchmark(lambda: [shard.states() for shard in open_hidden(stored / "h").shards])


@pytest.mark.benchmark(group="open 100 MB")
def test_open_the_known_list(benchmark, stored):
    import torch

    benchmark.pedantic(lambda: torch.load(stored / "h.pt", weights_only=False), **ROUNDS)
