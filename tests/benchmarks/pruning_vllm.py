"""What watching costs in vLLM when nothing is pruned: the same samples with rules that never fire and without any.

    .venv-vllm/bin/python tests/benchmarks/pruning_vllm.py --model demo --questions 16 --samples 4 --rounds 5

Each round takes every way in turn, in one vLLM; printed are medians of the rounds' ratios to no rules, by the clock and
by the processor time of all of vLLM's processes (which a busy machine disturbs less). The environment is that of
`make vllm-env`.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from tools_shared.engines import Draw, EngineConfig, SamplingParams, open_watched
from tools_shared.engines.types import Engine
from tools_shared.models import resolve
from tools_shared.models.load import load_config
from tools_shared.prompts import PROFILES, render_question
from tools_shared.pruning.open import open_watcher
from tools_shared.pruning.rules import parse_rules
from tools_shared.scorers.scorer import ScorerFacts, probe, save_scorer
from tools_shared.sources import read_problems
from tools_shared.states.reader import reader_sha256

TAGS = PROFILES["gsm8k-tags"]


def make_scorer(folder: Path, spec: str) -> str:
    """A scorer of the usual shape with random weights."""
    config = load_config(resolve(spec)).get_text_config()
    reader = {"model": spec, "reader_sha256": reader_sha256(resolve(spec)), "norm": "post", "delimiter": "\n"}
    reader |= {"layers": [config.num_hidden_layers], "dtype": "fp32", "profile": TAGS.to_json()}
    facts = ScorerFacts("random", config.hidden_size, (config.num_hidden_layers,), reader)
    save_scorer(folder, facts, probe(facts.input_size, facts.widths))
    return str(folder)


def processor_time() -> float:
    """Seconds of this process and all below it."""
    found, waiting = 0.0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += int((task / "schedstat").read_text().split()[0]) / 1e9
            waiting += map(int, (task / "children").read_text().split())
    return found


def sample(engine: Engine, draws: list[Draw], rules: tuple[str, ...], args: argparse.Namespace) -> tuple[float, float]:
    """(seconds by the clock, of the processors) a token."""
    if rules:
        watcher = engine.watcher
        watcher.__init__(parse_rules(rules), engine.tokenizer, TAGS, args.samples, watcher.token_bytes, watcher.scorer)
    params = SamplingParams(temperature=args.temperature, max_new_tokens=args.new_tokens, seed=3, prune=bool(rules))
    n_tokens, rest = 0, iter(draws)

    def note(draw: Draw, completion: object) -> None:
        nonlocal n_tokens
        n_tokens += len(completion.token_ids)

    before = time.perf_counter(), processor_time()
    engine.stream(lambda: next(rest, None), params, note)
    return (time.perf_counter() - before[0]) / n_tokens, (processor_time() - before[1]) / n_tokens


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rule", choices=["step", "confidence", "agree", "all"], default="all")
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scorer = make_scorer(Path(tempfile.mkdtemp()), args.model)
    never = {"step": (f"step:{scorer}<0",), "confidence": ("confidence:16<0",), "agree": ("agree:1",)}
    never["all"] = (*never["step"], *never["confidence"], "budget:1000GB")
    rules, ref = never[args.rule], resolve(args.model)
    watcher = open_watcher(parse_rules(rules), ref, TAGS, args.samples, "auto", "cpu")
    engine = open_watched(ref, EngineConfig(engine="vllm", device="cpu"), watcher)
    problems = read_problems(f"demo://problems?split=test&size={args.questions}").items
    prompts = [(p.id, render_question(engine.tokenizer, TAGS, p.question)) for p in problems]
    draws = [Draw(prompt, key, k) for key, prompt in prompts for k in range(args.samples)]
    ratios: list[tuple[float, float]] = []
    for number in range(args.rounds + 1):
        pair = {way: sample(engine, draws, way, args) for way in ((), rules)[:: 1 if number % 2 else -1]}
        if number:  # the first warms up
            ratios.append(tuple(mine / plain for mine, plain in zip(pair[rules], pair[()], strict=True)))
            print(f"round {number}: {pair[()][1] * 1e6:.0f} us a token, ratios {ratios[-1][0]:.3f} {ratios[-1][1]:.3f}")
    for name, values in zip(("clock", "processors"), zip(*ratios, strict=True), strict=True):
        print(
            f"{args.model} {args.rule} {name}: {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
        )
    engine.close()


if __name__ == "__main__":
    main()
