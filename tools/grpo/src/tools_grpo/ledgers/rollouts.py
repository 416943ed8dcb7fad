"""`rollouts/step-NNNNNN.jsonl`: every completion that was trained on, with everything that the update used."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools_grpo.environments.episodes import Episode
from tools_grpo.rollouts.sampler import Sampler
from tools_shared import processes
from tools_shared.errors import ToolError
from tools_shared.files import write_jsonl
from tools_shared.runs.read import partial_dir

FOLDER = "rollouts"


def write_rollouts(
    folder: Path,
    step: int,
    sampler: Sampler,
    texts: Sequence[str],
    rewards: dict[str, list[float]],
    weights: Sequence[float],
    advantages: Sequence[float],
) -> None:
    """Write one step's file: one line a completion, in the order of the groups; rank 0 writes those of all processes.

    `texts` are this process's; `rewards` and `advantages` those of all, in the order of the ranks.

    `step` counts the updates before this one, `policy_step` those that the weights had had when they sampled it: they
    are the same while rollouts are spent at once. Log-probabilities are at the sampling temperature, one a token. A
    reward that was None is null and counts nothing in `reward`, the weighted sum.
    """
    rows = []
    mine = processes.rank() * len(texts)
    for i, (text, completion) in enumerate(zip(texts, sampler.last, strict=True)):
        problem, prompt = sampler.prompts[text]
        values = {name: _finite(column[mine + i]) for name, column in rewards.items()}
        rows.append(
            {
                "step": step,
                "policy_step": sampler.policy_step,
                "problem": problem,
                "sample": i % sampler.config.num_generations,
                "seed": sampler.config.seed,
                "prompt": prompt.text,
                "completion": completion.text,
                "finish_reason": completion.finish_reason,
                "n_tokens": len(completion.token_ids),
                "token_ids": completion.token_ids,
                "logprobs": [round(value, 6) for value in completion.logprobs],
                "rewards": values,
                "reward": sum(w * v for w, v in zip(weights, values.values(), strict=True) if v is not None),
                "advantage": _finite(advantages[mine + i]),
                **(_episode(completion) if isinstance(completion, Episode) else {}),
            }
        )
    parts = processes.gather(rows)
    if processes.is_main():
        folder.mkdir(exist_ok=True)
        write_jsonl(step_path(folder, step), [row for part in parts for row in part])


def _episode(episode: Episode) -> dict[str, Any]:
    """What happened between prompt and end: the turns with their calls and results, and whose each token is (1: the
    model's; the log-probabilities of others are 0). `prompt` is what it began with, `n_tokens` are the model's."""
    return {
        **({"prompt": episode.prompt.text} if episode.prompt else {}),
        "n_tokens": len(episode.own_ids),
        "mask": episode.mask,
        "turns": [asdict(turn) for turn in episode.turns],
    }


def own_logprobs(row: Mapping[str, Any]) -> list[float]:
    """The log-probabilities of a rollout's tokens that the model wrote."""
    mask = row.get("mask") or [1] * len(row["logprobs"])
    return [value for value, mine in zip(row["logprobs"], mask, strict=True) if mine]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def step_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}.jsonl"


def forget_after(folder: Path, step: int) -> None:
    """Delete the rollouts of steps that are going to be trained again: those from `step` on (the first is 0)."""
    for path in folder.glob("step-*.jsonl"):
        if int(path.stem.split("-")[1]) >= step:
            path.unlink()


def read_rollouts(run_dir: Path) -> Iterator[dict[str, Any]]:
    """The rollouts of a finished run, or of one that is under way or interrupted, step by step.

    Raises ToolError when there are none, they are damaged, or of a format without log-probabilities.
    """
    folder = next((f for f in (run_dir / FOLDER, partial_dir(run_dir) / FOLDER) if f.is_dir()), None)
    if folder is None:
        raise ToolError(f"{run_dir}: has no {FOLDER}/; name a run of tools-grpo")
    for path in sorted(folder.glob("step-*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ToolError(
                        f"{path}:{number}: not JSON ({error.msg}); delete the file to see the rest"
                    ) from error
                if "logprobs" not in row:
                    raise ToolError(f"{path}:{number}: has no log-probabilities; the run was made by an older version")
                yield row
