"""What `--base-model` means where the weights are on a service: only configuration and tokenizer have to be here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from tools_shared.errors import ToolError
from tools_shared.models.load import load_config, weights_sha256
from tools_shared.models.resolve import ModelRef, read_json, resolve
from tools_shared.prompts import Profile
from tools_shared.runs import read_manifest
from tools_shared.training.tinker.names import hub_name

RECORD = "tinker.json"
"""In a run's folder: which service holds what of it."""


@dataclass(frozen=True)
class RemoteBase:
    """The base that is trained, `ref`, and where an earlier run on the service left off: the address of its state."""

    ref: ModelRef
    start_from: str | None = None
    rank: int | None = None
    """That of the adapter which is trained further."""

    @property
    def server_name(self) -> str:
        """What a service calls it: the hub id, or the folder where the service reads the same file system."""
        return self.ref.weights


def remote_base(spec: str) -> RemoteBase:
    """A hub id, an Ollama tag, a model folder, `demo`, or a run that was trained on a service, which is trained on.

    Raises ToolError for an adapter that was trained elsewhere: a service takes none up.
    """
    record = Path(spec) / RECORD
    if record.is_file():
        manifest, said = read_manifest(spec), read_json(record)
        ref = resolve(said["base"])
        profile = Profile.from_json(said["profile"], str(record))
        return RemoteBase(replace(ref, spec=spec, profile=profile, run=manifest), said["state"], said["rank"])
    ref = resolve(hub_name(spec))
    if ref.adapter is not None:
        raise ToolError(
            f"{spec}: is an adapter that was not trained on a Tinker service, and no service takes it up; start from "
            f"its base {ref.weights_name}, or train it further with --backend local"
        )
    return RemoteBase(ref)


def base_for(base_model: str, backend: str) -> RemoteBase:
    """The base model that `--base-model` names, here or, with the backend "tinker", on a service."""
    return remote_base(base_model) if backend == "tinker" else RemoteBase(resolve(base_model))


def base_sha256(ref: ModelRef, backend: str) -> str:
    """What the manifest says of a base: the hash of its weights, or, where a service alone holds them, that of its
    configuration."""
    if ref.is_local or backend != "tinker":
        return weights_sha256(ref.weights)
    return hashlib.sha256(load_config(ref).to_json_string().encode()).hexdigest()
