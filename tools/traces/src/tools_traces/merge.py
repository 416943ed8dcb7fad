"""Merge shards into the files that one process would have written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.models import choose_profile, resolve
from tools_shared.prompts import PROFILES, Profile, load_profile
from tools_shared.runs import Manifest, check_unchanged, default_output_dir, draft, finished, read_manifest
from tools_traces.attempts.journal import FILE, Attempt, read_attempts
from tools_traces.config import MergeConfig, TracesConfig
from tools_traces.output.rows import Provenance
from tools_traces.output.write import write_outputs
from tools_traces.questions.select import Questions, read_questions


def merge(config: MergeConfig, invocation: Invocation) -> Manifest:
    """Merge the shards' journals and write rows and figures again; returns the manifest.

    Raises ToolError unless the runs are all shards of one run, with the same options, data and model.
    """
    output_dir = Path(config.output_dir or default_output_dir("traces"))
    if done := finished(output_dir, config):
        return done
    shards = [read_manifest(path) for path in config.runs]
    whole = _same_run(shards)
    questions = read_questions(whole)
    _check_data(shards, questions)
    attempts: dict[tuple[str, int], Attempt] = {}
    for shard in shards:
        check_unchanged(shard.path / FILE)
        attempts |= read_attempts(shard.path / FILE)
    with draft(output_dir, config, invocation, "traces") as run:
        run.reject(questions.rejected)
        for shard in shards:
            run.add_input(f"shard {shard.options['shard']}", str(shard.path), shard.sha256, run_sha256=shard.sha256)
        model_hash = _input(shards[0], "model")["sha256"][:16]
        origin = Provenance(whole.seed, model_hash, _profile(shards[0], whole.model, whole.profile))
        metrics = write_outputs(run, whole, questions.problems, attempts, origin, {})
        return run.finish(metrics, seed=whole.seed, profile=shards[0].data["profile"])


def _same_run(shards: Sequence[Manifest]) -> TracesConfig:
    """The configuration of the whole, from the shards'."""
    for shard in shards:
        if shard.kind != "traces" or "shard" not in shard.options:
            raise ToolError(f"{shard.path}: not a run of tools-traces --shard")
    first = shards[0]
    for shard in shards[1:]:
        mine, other = ({k: v for k, v in s.identity.items() if k != "shard"} for s in (first, shard))
        differs = next((k for k in {**mine, **other} if mine.get(k) != other.get(k)), None)
        if differs is not None:
            raise ToolError(
                f"{shard.path}: {differs} is {other.get(differs)!r}, but {mine.get(differs)!r} in {first.path}"
            )
        if _input(shard, "model")["sha256"] != _input(first, "model")["sha256"]:
            raise ToolError(f"{shard.path}: was drawn from another model than {first.path}")
    names = {f.name for f in dataclasses.fields(TracesConfig)}
    options = {k: v for k, v in first.options.items() if k in names}
    _check_complete([shard.options["shard"] for shard in shards], first)
    return TracesConfig(**{**options, "shard": None})


def _check_complete(given: Sequence[str | None], first: Manifest) -> None:
    n = int((given[0] or "0/1").split("/")[1])
    wanted = {f"{i}/{n}" for i in range(n)}
    numbers = [shard or "0/1" for shard in given]
    if missing := sorted(wanted - set(numbers)):
        raise ToolError(f"the shards {', '.join(missing)} are missing; name their run directories too")
    if len(numbers) != n:
        raise ToolError(f"{first.path}: {len(numbers)} runs for {n} shards; name each shard once")


def _check_data(shards: Sequence[Manifest], questions: Questions) -> None:
    now = questions.read.named("data") | (questions.tests.named("decontaminate") if questions.tests is not None else {})
    for shard, name in ((shard, name) for shard in shards for name in now):
        entry = _input(shard, name)
        if entry["sha256"] != now[name].sha256:
            raise ToolError(f"{entry['path']}: has changed since {shard.path} was made from it; restore it")


def _input(shard: Manifest, name: str) -> dict[str, Any]:
    return next(entry for entry in shard.data["inputs"] if entry["name"] == name)


def _profile(shard: Manifest, model: str, profile: str | None) -> Profile:
    """The profile that the shards were sampled with; one of the model's own is read from the model."""
    name = shard.data["profile"]
    if profile is None and name in PROFILES:
        return PROFILES[name]
    return load_profile(profile) if profile else choose_profile(resolve(model), None)
