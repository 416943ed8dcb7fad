"""Hidden states made up so that it is known what there is to be found in them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def make_hidden():
    return write_hidden


def write_hidden(
    folder: Path,
    n_questions: int = 60,
    n_traces: int = 6,
    n_steps: int = 5,
    size: int = 24,
    signal: float = 0.0,
    seed: int = 0,
    dtype: str = "fp32",
    shard_size: int = 100,
    pass_rate: float | None = None,
    change=None,
) -> Path:
    """States = a vector of the question + one of the trace + noise + `signal` along one direction where it is right.

    Half of the wrong traces of a question agree on one wrong answer, so that a majority is often wrong.
    """
    import torch

    from tools_shared.devices import torch_dtype
    from tools_shared.states.shards import Rows, StatesManifest, TraceInfo, write_manifest, write_shard

    generator = torch.Generator().manual_seed(seed)
    n_all = n_questions * n_traces
    write_manifest(
        folder,
        StatesManifest(
            model="made-up", reader_sha256="0" * 64, layers=(2,), hidden_size=size, dtype=dtype, n_input=n_all,
            shard_size=shard_size,
        ),
    )  # fmt: skip
    direction = torch.nn.functional.normalize(torch.randn(size, generator=generator), dim=0)
    traces, parts, prompts = [], [], []
    for q in range(n_questions):
        about, rate = torch.randn(size, generator=generator), torch.rand(1, generator=generator).item()
        split = ("train", "calibration", "test")[0 if q % 4 < 2 else q % 4 - 1]
        for t in range(n_traces):
            right = torch.rand(1, generator=generator).item() < (rate if pass_rate is None else pass_rate)
            own = torch.randn(size, generator=generator) * 2
            noise = torch.randn(n_steps, 1, size, generator=generator)
            states = about + own + noise + signal * (1 if right else -1) * direction
            states = states if change is None else change(states, q, t)
            wrong = "7" if torch.rand(1, generator=generator).item() < 0.8 else str(100 + t)
            traces.append(
                TraceInfo(
                    f"q{q}/{t}", f"q{q}", right, split, f"q{q}", prompt_len=4, n_tokens=1 + 10 * n_steps + 3 * t,
                    extracted_answer=str(q + 1000) if right else wrong, ground_truth=str(q + 1000), mean_logprob=-0.5,
                )
            )  # fmt: skip
            parts.append(([4 + 10 * (i + 1) for i in range(n_steps)], states.to(torch_dtype(dtype))))
            prompts.append(about[None].to(torch_dtype(dtype)))
    for start in range(0, n_all, shard_size):
        end = min(start + shard_size, n_all)
        rows = Rows.join(parts[start:end], torch.stack(prompts[start:end]))
        write_shard(folder, start, end, traces[start:end], rows)
    return folder
