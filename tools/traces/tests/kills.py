"""Run one tools-traces configuration in processes that are killed with SIGKILL, until it is whole; prints the kills.

    python kills.py SEED N_KILLS OPTIONS_JSON

Torch is imported once and each try is a fork, so that a kill costs the work under way and not the imports. A try is
killed at once, while it loads, or when its journal has grown by a random number of bytes; then, as a power cut would,
the journal's end may lose some bytes more.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    seed, n_kills, options = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    import peft  # noqa: F401 - loaded before the forks, as torch is
    import torch
    from transformers import AutoModelForCausalLM  # noqa: F401

    torch.set_num_threads(1)
    from tools_shared.cli import Invocation
    from tools_traces.config import TracesConfig
    from tools_traces.sample import sample

    rng, killed = random.Random(seed), 0
    journal = Path(options["output_dir"] + ".partial") / "attempts.jsonl"
    while True:
        child = os.fork()
        if child == 0:
            sample(TracesConfig(**options), Invocation("tools-traces", "test"))
            os._exit(0)
        if killed < n_kills:
            killed += stopped(child, journal, rng)
        else:
            os.waitpid(child, 0)
        if Path(options["output_dir"], "run.json").exists():
            break
    print(killed)


def stopped(child: int, journal: Path, rng: random.Random) -> bool:
    """Kill the child at a random moment; whether it was still alive then."""
    early = rng.random() < 0.2
    deadline = time.monotonic() + (rng.uniform(0, 0.5) if early else 600)
    goal = size(journal) + (10**9 if early else rng.randint(1, 3000))
    while size(journal) < goal and time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if journal.exists() and rng.random() < 0.5:
        os.truncate(journal, max(0, size(journal) - rng.randint(1, 400)))
    return True


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    main()
