"""The runs below a folder that have a model, and the benchmark that each is known by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tools_bench.config import BenchConfig
from tools_bench.report.entries import DEPTH, runs_below
from tools_bench.requests.suite import Suite
from tools_bench.watching.options import WatchConfig
from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.engines import LocalEngineConfig
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.runs.read import Manifest, read_manifest


@dataclass(frozen=True)
class Candidate:
    """A model and the benchmark that it gets; `name` tells its contents, so that the same model on the same suite is
    benchmarked once, and another one under the same path again."""

    name: str
    shown: str
    sha256: str
    config: BenchConfig


def readable(root: Path, unreadable: set[str]) -> Iterator[Manifest]:
    """The finished runs below a folder, in the order of their paths. One that cannot be read is said once, and put into
    `unreadable`."""
    for folder in runs_below(root, DEPTH):
        try:
            yield read_manifest(folder)
        except ToolError as error:
            if str(folder) not in unreadable:
                say(f"left out: {error}")
            unreadable.add(str(folder))


def candidates(config: WatchConfig, suite: Suite, unreadable: set[str]) -> Iterator[Candidate]:
    """The finished runs with a model below the folder."""
    root, known = Path(config.root), suite_sha256(suite)
    for manifest in readable(root, unreadable):
        if _has_model(manifest):
            yield candidate_of(manifest, manifest.path.relative_to(root).as_posix(), config, known)


def candidate_of(manifest: Manifest, shown: str, config: WatchConfig, suite_hash: str) -> Candidate:
    """The benchmark of a run's model: here, or on the service where it was left."""
    base = shown.replace("/", "-") if shown != "." else manifest.path.resolve().name
    key = digest([manifest.sha256, suite_hash, config.limit, config.max_new_tokens, config.seed, config.dtype])[:12]
    made = sorted(path.name for path in Path(config.output_dir).glob(f"*-{key}") if path.is_dir())
    name = made[0] if made else f"{base}-{key}"
    shared = {f: getattr(config, f) for f in ("suite", "limit", "max_new_tokens", "seed", "output_dir")}
    address = manifest.metrics.get("endpoint")
    if address is not None:
        bench = BenchConfig(
            endpoint=str(address),
            model_name=str(manifest.metrics["tinker_model"]),
            api_key_env="TINKER_API_KEY",
            **shared | {"output_dir": str(Path(config.output_dir) / name)},
        )
    else:
        local = {one.name: getattr(config, one.name) for one in fields(LocalEngineConfig)}
        bench = BenchConfig(model=str(manifest.path.resolve()), model_name=name, **shared, **local)
    return Candidate(name, shown, manifest.sha256, bench)


def _has_model(manifest: Manifest) -> bool:
    kept = isinstance(manifest.metrics.get("tinker_model"), str) and isinstance(manifest.metrics.get("endpoint"), str)
    return kept or any(name.startswith("model/") for name in manifest.data.get("outputs", {}))


def suite_sha256(suite: Suite) -> str:
    """What the suite asks: its file and the files of its data."""
    files = [sha256_file(Path(place)) for task in suite.tasks if Path(place := task.location()).is_file()]
    return digest([asdict(suite), files])
