"""An epoch of the scorer's training on 20,000 rows of 2,560, beside the way that the known script does it.

    OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_scorer_train.py -s

The reference: float32 tensors in a TensorDataset, a default DataLoader with batches of 128, plain Adam. Both train the
same network (2,560 to 512 to 1); medians of alternating runs in one process.
"""

import statistics
import time

import pytest

N_ROWS, SIZE, BATCH = 20_000, 2560, 128
N_RUNS = 3


def reference_epoch(x, y) -> float:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(SIZE, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, weight_decay=1e-5)
    criterion = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0]))
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    began = time.perf_counter()
    for batch, labels in loader:
        optimizer.zero_grad()
        loss = criterion(net(batch), labels.float().unsqueeze(1))
        loss.backward()
        optimizer.step()
        loss.item()
    return time.perf_counter() - began


def our_epoch(feed, settings, folder) -> float:
    """Without the first reading of the rows, which is done once and not each epoch."""
    import torch

    from tools_scorer.training import fit
    from tools_shared.scorers.scorer import probe

    torch.manual_seed(0)
    module = probe(SIZE, settings.hidden)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, weight_decay=1e-5, fused=True)
    loss_of = fit._losses(feed, settings)
    began = time.perf_counter()
    fit._epoch(module, optimizer, feed, settings, 0, 0, loss_of)
    return time.perf_counter() - began


@pytest.mark.slow
def test_an_epoch_takes_half_of_the_reference(tmp_path):
    import numpy as np
    import torch

    from tools_scorer.config.scorer import TrainConfig, recipe
    from tools_scorer.states.folder import open_hidden
    from tools_scorer.train import _dtype
    from tools_scorer.training.rows import Feed, choose_rows, standardisation
    from tools_shared.states.shards import Rows, StatesManifest, TraceInfo, write_manifest, write_shard

    n_traces, steps = 1000, N_ROWS // 1000
    write_manifest(tmp_path, StatesManifest("m", "0", (1,), SIZE, n_input=n_traces))
    states = torch.randn(N_ROWS, 1, SIZE, generator=torch.Generator().manual_seed(0)).half()
    rows = Rows(
        states,
        torch.arange(4, 4 + steps, dtype=torch.int32).repeat(n_traces),
        torch.arange(n_traces + 1) * steps,
        torch.zeros(n_traces, 1, SIZE).half(),
    )
    traces = [TraceInfo(f"t{i}", f"q{i // 4}", i % 2 == 0, "train", f"q{i // 4}", 4, 20) for i in range(n_traces)]
    write_shard(tmp_path, 0, n_traces, traces, rows)
    chosen = choose_rows(open_hidden(tmp_path), "train", "last")
    settings = recipe(TrainConfig(data=str(tmp_path)))
    dtypes = {name: _dtype(name) for name in ("auto", "fp32")}
    began = time.perf_counter()
    scale = standardisation(chosen)
    feeds = {name: Feed(chosen, scale, dtype, 512) for name, dtype in dtypes.items()}
    for feed in feeds.values():
        next(iter(feed.batches(BATCH, (0, 0), together=False)))
    reading = time.perf_counter() - began
    x, y = states[:, 0].float(), torch.from_numpy(np.array(chosen.label))
    times: dict[str, list[float]] = {"reference": [], "auto": [], "fp32": []}
    for _ in range(N_RUNS):
        times["reference"].append(reference_epoch(x, y))
        for name, feed in feeds.items():
            times[name].append(our_epoch(feed, settings, tmp_path))
    medians = {name: statistics.median(found) for name, found in times.items()}
    print(
        {name: round(seconds, 2) for name, seconds in medians.items()}, f"reading once (both formats): {reading:.2f} s"
    )
    print(f"auto {medians['reference'] / medians['auto']:.2f} x, fp32 {medians['reference'] / medians['fp32']:.2f} x")
    if dtypes["auto"] == torch.bfloat16:
        assert medians["auto"] < medians["reference"] / 2
    assert medians["fp32"] < medians["reference"]
