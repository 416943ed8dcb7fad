"""Hidden states of a real model against the plain way: `output_hidden_states=True` in float32, one trace a forward.

    OMP_NUM_THREADS=1 python tests/benchmarks/extraction.py --model MODEL --traces 6 --rounds 3

Printed are medians over rounds in turns of processor time, as ratios to the plain way, and how far the states are from
its. Traces are token sequences of 150 to 350 tokens with a step every 30.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tools_shared.models import load, resolve
from tools_shared.states.reader import StateReader


@dataclass(frozen=True)
class Trace:
    token_ids: list[int]
    positions: list[int]


def plain(model: torch.nn.Module, traces: list[Trace], layer: int) -> list[torch.Tensor]:
    found = []
    with torch.no_grad():
        for trace in traces:
            output = model(input_ids=torch.tensor([trace.token_ids]), output_hidden_states=True)
            found.append(output.hidden_states[layer][0, trace.positions].half())
    return found


def ours(reader: StateReader, traces: list[Trace]) -> list[torch.Tensor]:
    found = dict(reader.read(traces))
    return [found[i][:, 0] for i in range(len(traces))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--traces", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ref, rng = resolve(args.model), random.Random(0)
    lengths = [rng.randint(150, 350) for _ in range(args.traces)]
    vocabulary = len(load(ref, "fp32", "cpu").tokenizer)
    traces = [Trace([rng.randrange(3, vocabulary) for _ in range(n)], [*range(100, n - 1, 30), n - 1]) for n in lengths]
    model = load(ref, "fp32", "cpu").model.eval()
    last = model.config.num_hidden_layers
    ways: dict[str, Callable[[], list[torch.Tensor]]] = {"plain": lambda: plain(model, traces, last)}
    for name, layer in (("ours, last layer", last), ("ours, layer at half depth", last // 2)):
        reader = StateReader(load(ref, "bf16", "cpu"), (layer,), layer == last, "fp16", 1024)
        ways[name] = lambda reader=reader: ours(reader, traces)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[torch.Tensor]] = {}
    for number in range(args.rounds + 1):
        for name, way in ways.items():
            before = time.process_time()
            found[name] = way()
            if number:  # the first warms up
                seconds[name].append(time.process_time() - before)
    base = statistics.median(seconds["plain"])
    for name, values in seconds.items():
        print(
            f"{name}: {statistics.median(values):.2f} s of processor time, {base / statistics.median(values):.2f} times"
        )
    mine, theirs = (torch.cat(found[name]).float() for name in ("ours, last layer", "plain"))
    cosine = torch.nn.functional.cosine_similarity(mine, theirs, dim=1)
    print(f"{sum(lengths)} tokens; cosine of bf16 and float32 states of the last layer: least {cosine.min():.5f}")


if __name__ == "__main__":
    main()
