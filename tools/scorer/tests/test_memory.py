import subprocess
import sys
import textwrap

import pytest

SIZE, ROWS_PER_SHARD, N_SHARDS, STEPS = 640, 5_000, 200, 20
ALLOWANCE_MB = 128


@pytest.mark.slow
def test_training_keeps_within_a_limit_a_tenth_of_the_data(tmp_path):
    """1.3 GB of states, and a process that the system gives 128 MB beyond what importing torch has taken."""
    import torch

    from tools_shared.states.shards import Rows, StatesManifest, TraceInfo, write_manifest, write_shard

    per_shard = ROWS_PER_SHARD // STEPS
    n_traces = per_shard * N_SHARDS
    write_manifest(tmp_path / "h", StatesManifest("m", "0", (1,), SIZE, n_input=n_traces, shard_size=per_shard))
    states = torch.randn(ROWS_PER_SHARD, 1, SIZE).half()
    rows = Rows(
        states,
        torch.arange(4, 4 + STEPS, dtype=torch.int32).repeat(per_shard),
        torch.arange(per_shard + 1) * STEPS,
        torch.zeros(per_shard, 1, SIZE).half(),
    )
    for shard in range(N_SHARDS):
        names = [f"q{(shard * per_shard + i) // 5}" for i in range(per_shard)]
        splits = ["calibration" if int(name[1:]) % 20 == 0 else "train" for name in names]
        traces = [
            TraceInfo(f"{name}/{i}", name, i % 2 == 0, split, name, prompt_len=4, n_tokens=20)
            for i, (name, split) in enumerate(zip(names, splits, strict=True))
        ]
        write_shard(tmp_path / "h", shard * per_shard, (shard + 1) * per_shard, traces, rows)
    size = sum(path.stat().st_size for path in (tmp_path / "h").glob("*.safetensors"))
    assert size > 9.9 * (ALLOWANCE_MB << 20) * 0.95

    program = textwrap.dedent("""
        import re, resource, sys
        from pathlib import Path
        import torch, matplotlib.pyplot
        from tools_scorer.config.scorer import TrainConfig
        from tools_scorer.train import train
        from tools_shared.cli import Invocation
        torch.set_num_threads(1)
        layer = torch.nn.Linear(8, 8)
        layer(torch.randn(8, 8)).sum().backward()
        torch.optim.Adam(layer.parameters(), fused=True).step()  # imports more of torch
        taken = int(re.search(r"VmData:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (taken + (int(sys.argv[3]) << 20),) * 2)
        config = TrainConfig(data=sys.argv[1], output_dir=sys.argv[2], config_name="linear", epochs=1,
                             memory_mb=16, dtype="fp32")
        print(train(config, Invocation("tools-scorer", "0")).metrics["n_steps"])
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "h"), str(tmp_path / "run"), str(ALLOWANCE_MB)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 900_000
