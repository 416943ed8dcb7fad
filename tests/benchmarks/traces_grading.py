"""How long generation is held up by the grading of one completion: threads beside the engine, or a pool of processes.

    python tests/benchmarks/traces_grading.py [MATH.jsonl]

The engine's thread hands over a completion and waits for its verdict, 5 ms at most
(`tools_traces.attempts.schedule`); meanwhile it works as an engine does, in Python and in matrix products. Reported:
what a completion costs that thread above the same work without grading. Number answers are the demo's; with a file of
MATH problems also LaTeX answers, which go to sympy (in both ways in a process that can be killed).
"""

import json
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait

import torch

from tools_shared.engines import Completion, Draw
from tools_shared.prompts import PROFILES, Prompt
from tools_shared.records import Problem
from tools_shared.sources import read_problems
from tools_traces.attempts.grading import grader
from tools_traces.attempts.schedule import GRADERS, PATIENCE_S

PROFILE = PROFILES["boxed"]
PROMPT = Prompt("", ())
N, ROUNDS = 300, 5


def grade(problem: Problem, completion: Completion):
    return grader(PROFILE, False)(problem, PROMPT, Draw(PROMPT, problem.id), completion)


def step(weights: torch.Tensor) -> None:
    """What an engine does for a token of a small model: some Python, some products."""
    x = weights[:32]
    for _ in range(8):
        x = torch.tanh(x @ weights)
    x.argmax(dim=-1).tolist()


def engine_thread(pool: Executor | None, work: list[tuple[Problem, Completion]], weights: torch.Tensor) -> float:
    """Seconds a completion."""
    began, graded = time.perf_counter(), []
    for problem, completion in work:
        for _ in range(4):
            step(weights)
        if pool is not None:
            graded.append(pool.submit(grade, problem, completion))
            wait(graded[-1:], timeout=PATIENCE_S)
    seconds = (time.perf_counter() - began) / len(work)
    wait(graded)
    return seconds


def attempts(problems: list[Problem]) -> list[tuple[Problem, Completion]]:
    """Each problem with another's answer after its own reasoning, as text of the profile."""
    pairs = zip(problems, problems[1:] + problems[:1], strict=True)
    return [
        (p, Completion(PROFILE.completion(p.reasoning, other.answer if i % 2 else p.answer), (), "stop"))
        for i, (p, other) in enumerate(pairs)
    ]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weights = torch.randn(256, 256) / 16
    kinds = {"numbers": read_problems(f"demo://problems?split=train&size={N}").items}
    if len(sys.argv) > 1:
        rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]  # noqa: SIM115, PTH123
        found = [Problem(str(i), r["problem"], r["answer"], r["solution"]) for i, r in enumerate(rows)]
        kinds["LaTeX"] = [p for p in found if "\\" in p.answer][:N]
    spawn = multiprocessing.get_context("spawn")
    for kind, problems in kinds.items():
        work = attempts(problems)
        with ThreadPoolExecutor(GRADERS) as threads, ProcessPoolExecutor(2, mp_context=spawn) as processes:
            ways = {"none": None, "threads": threads, "processes": processes}
            seconds = {name: [] for name in ways}
            for _ in range(ROUNDS + 1):
                for name, pool in ways.items():
                    seconds[name].append(engine_thread(pool, work, weights))
        medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
        for name in ("threads", "processes"):
            print(f"{kind:8} {name:10} {1e6 * (medians[name] - medians['none']):8.0f} microseconds a completion")


if __name__ == "__main__":
    main()
