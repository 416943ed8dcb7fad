"""Resolve a model name before anything is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError, brief
from tools_shared.prompts import DEFAULT_PROFILE, PROFILES, Profile, load_profile
from tools_shared.prompts.profile import NOTES
from tools_shared.runs.read import MANIFEST, Manifest, partial_dir, read_manifest

NAMED = {"smollm2": Path("models/smollm2")}
"""Models that a make target of the same path makes, and that have a name of their own in every tool."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?\Z", re.ASCII)


@dataclass(frozen=True)
class ModelRef:
    """A model, found but not loaded.

    `spec` is what the user wrote; `weights` a hub id or the folder of the full weights, `weights_name` how an
    adapter's files name them; `adapter` the folder of a LoRA adapter on them; `run` the run directory that it is from.
    """

    spec: str
    weights: str
    weights_name: str
    adapter: Path | None = None
    profile: Profile | None = None
    run: Manifest | None = None
    base_sha256: str | None = None

    @property
    def is_local(self) -> bool:
        return Path(self.weights).is_dir()


def resolve(spec: str) -> ModelRef:
    """Find a hub id, a model folder, an adapter folder, a run directory (its `model/`), a GGUF file, or a name.

    The names are `demo` and those in NAMED.

    Raises ToolError when a folder holds no model, a run is unfinished or its adapter's base is gone.
    """
    if spec == "demo":
        return _demo()
    path = Path(spec)
    if path.is_dir():
        return _folder(spec, path)
    if spec in NAMED:
        return _named(spec, NAMED[spec])
    if path.suffix == ".gguf" and path.is_file():
        return _gguf(spec, path)
    if partial_dir(path).is_dir():
        read_manifest(path)  # says which run has to be finished first
    if ":" in spec and not path.exists():
        raise ToolError(
            f"'{spec}' is not a model id: an Ollama tag names no weights here; use one such as Qwen/Qwen3-8B"
        )
    if path.exists() or not _HUB_ID.match(spec) or (len(path.parts) > 1 and path.parent.is_dir()):
        raise ToolError(
            f"{spec}: no such model folder; name a hub id, a model or adapter folder, a run directory, or 'demo'"
        )
    return ModelRef(spec, spec, spec)


def local_path(spec: str) -> Path | None:
    """The folder or file here that a model's name means; None for the hub's, for 'demo', and for what is not here."""
    if spec in ("", "demo"):
        return None
    path = Path(spec) if Path(spec).is_dir() else NAMED.get(spec, Path(spec))
    return path if path.exists() else None


def _demo() -> ModelRef:
    from tools_shared.demo import model_path

    return ModelRef("demo", str(model_path()), "demo")


def _named(spec: str, path: Path) -> ModelRef:
    if not path.is_dir():
        raise ToolError(f"{spec}: {path} is not here; run `make {path}` in the checkout, or name a model folder")
    return replace(_folder(spec, path), weights_name=spec)


def _gguf(spec: str, path: Path) -> ModelRef:
    from tools_shared.models.gguf import ABOUT, converted

    folder = converted(path)
    told = read_json(folder / ABOUT).get("profile")
    profile = None if told is None else Profile.from_json(_parsed(told, path), str(path))
    return replace(_folder(spec, folder), weights_name=str(path.resolve()), profile=profile)


def _parsed(told: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(told)
    except (ValueError, RecursionError, TypeError) as error:
        raise ToolError(f"{path}: its prompt profile is not valid JSON ({error}); export the run again") from error
    return found if isinstance(found, dict) else {}


def _folder(spec: str, path: Path) -> ModelRef:
    manifest = None
    if (path / MANIFEST).exists():
        manifest = read_manifest(path)
        path = path / "model"
        if not path.is_dir() and (kept := manifest.metrics.get("tinker_model")):
            raise ToolError(
                f"{spec}: the weights of this run are on a Tinker service, as {kept}; train on them with --backend "
                "tinker, ask the service for samples, or make the run with --tinker-weights fetch"
            )
        if not path.is_dir():
            raise ToolError(f"{spec}: this {manifest.kind} run contains no model; name the run that trained one")
    notes = read_json(path / NOTES) if (path / NOTES).exists() else {}
    profile = Profile.from_json(notes["profile"], str(path / NOTES)) if notes.get("profile") else None
    if (path / "adapter_config.json").exists():
        base = _base_of(path, notes)
        sha256 = _noted(path, notes, "sha256")
        return ModelRef(spec, base.weights, base.weights_name, path, profile or base.profile, manifest, sha256)
    if (path / "config.json").exists():
        return ModelRef(spec, str(path), str(path.resolve()), None, profile, manifest)
    raise ToolError(f"{path}: not a model folder (no config.json, adapter_config.json or {MANIFEST} in it)")


def _base_of(adapter: Path, notes: Mapping[str, Any]) -> ModelRef:
    """The base of an adapter: beside it as noted when it was saved, else by the name in its own configuration."""
    relative = _noted(adapter, notes, "relative")
    if relative is not None and (adapter / relative).is_dir():
        _refuse_adapter(adapter, relative, adapter / relative)
        return _folder(str(adapter / relative), adapter / relative)
    name = read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise ToolError(f"{adapter / 'adapter_config.json'}: names no base model; set base_model_name_or_path in it")
    _refuse_adapter(adapter, name, Path(name))
    return resolve(name)


def _refuse_adapter(adapter: Path, name: str, base: Path) -> None:
    """Raise ToolError for a base that is an adapter, be it the same one, before it is looked into."""
    if (base / "adapter_config.json").exists() or (base / "model" / "adapter_config.json").exists():
        raise ToolError(f"{adapter}: its base {name} is itself an adapter; merge that one first (--merge)")


def _noted(folder: Path, notes: Mapping[str, Any], key: str) -> str | None:
    """What the notes beside an adapter say of its base; raises ToolError for what is no text."""
    base = notes.get("base") or {}
    found = base.get(key) if isinstance(base, Mapping) else base
    if found is not None and (not isinstance(found, str) or not found.isprintable()):
        raise ToolError(f"{folder / NOTES}: 'base' has {brief(found, 60)} for its {key}; save the model again")
    return found


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise ToolError(f"{path}: contains {brief(found, 60)}, not an object")
    return found


def choose_profile(ref: ModelRef, asked: str | None) -> Profile:
    """The profile to use: the one the model was trained with, else the one asked for, else the default.

    Raises ToolError when a model is asked to speak another profile than it was trained with.
    """
    wanted = load_profile(asked) if asked is not None else None
    if ref.profile is None:
        return wanted or PROFILES[DEFAULT_PROFILE]
    if wanted is not None and wanted != ref.profile:
        raise ToolError(
            f"{ref.spec}: was trained with the prompt profile '{ref.profile.name}', not '{wanted.name}'; "
            "leave --profile out, or start from a model that was not"
        )
    return ref.profile
