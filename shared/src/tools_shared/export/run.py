"""Export one run, checked against what it was exported from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.export import commands
from tools_shared.export.options import ExportConfig
from tools_shared.models import ModelRef, choose_profile, load, resolve, weights_sha256
from tools_shared.models.load import check_quantised, load_config
from tools_shared.prompts import Profile
from tools_shared.runs import Draft, Manifest, default_output_dir, draft, finished
from tools_shared.training.save import save_merged

GGUF = "model.gguf"
Made = Mapping[str, Any]


def export(config: ExportConfig, invocation: Invocation) -> Manifest:
    """Write the run in the form asked for, and say the command that serves it.

    Raises ToolError, nothing left behind, where the form cannot hold the model or does not compute what the run does.
    """
    output_dir = Path(config.output_dir) if config.output_dir else _beside(config.run, config.to)
    manifest = finished(output_dir, config) or _make(output_dir, config, invocation)
    if config.push is not None:
        from tools_shared.export.hub import push

        push(manifest.path / "model", config.push)
    say(f"to serve it: {commands.of(config.to, manifest.path, config.name or _name(config.run), config.push)}")
    return manifest


def _beside(run: str, to: str) -> Path:
    """Beside the run where that is a folder, else where runs are made."""
    path = Path(run)
    return path.with_name(f"{path.name}_{to}") if path.is_dir() and path.name else default_output_dir(f"export_{to}")


def _name(run: str) -> str:
    return Path(run).resolve().name if Path(run).exists() else run.rpartition("/")[2]


def _make(output_dir: Path, config: ExportConfig, invocation: Invocation) -> Manifest:
    ref = resolve(config.run)
    profile = choose_profile(ref, None)
    with draft(output_dir, config, invocation, "export") as run:
        run.add_input("model", ref.spec, weights_sha256(ref.weights), run_sha256=ref.run.sha256 if ref.run else None)
        try:
            made = _FORMS[config.to](run, ref, profile, config)
        except ToolError:
            _drop(run)
            raise
        return run.finish({"form": config.to, **made}, profile=profile.name)


def _drop(run: Draft) -> None:
    """Delete what a refused export has written, so that its draft goes too."""
    for entry in run.path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name == GGUF:
            entry.unlink()


def _merged(run: Draft, ref: ModelRef, profile: Profile, config: ExportConfig) -> Made:
    return write_merged(ref, profile, run.model_dir, config.device)


def write_merged(ref: ModelRef, profile: Profile, folder: Path, device: str) -> Made:
    """The run's weights without an adapter beside them, in the base's number format; files of a run that has whole
    weights already are copied."""
    if ref.adapter is None:
        if not ref.is_local:
            raise ToolError(f"{ref.spec}: is on the hub and was not trained here; there is nothing to export")
        shutil.copytree(ref.weights, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "*.bin", "*.pt"))
        return {"merge_difference": 0.0}
    check_quantised(ref, load_config(ref), "--to merged")
    return {"merge_difference": save_merged(load(ref, dtype="fp32", device=device), folder, profile)}


def _gguf(run: Draft, ref: ModelRef, profile: Profile, config: ExportConfig) -> Made:
    from tools_shared.export.gguf_file import write_gguf

    loaded = load(ref, dtype="fp32", device=config.device)
    return write_gguf(loaded, run.path / GGUF, profile, config.gguf_format, config.name or _name(config.run))


def _ollama(run: Draft, ref: ModelRef, profile: Profile, config: ExportConfig) -> Made:
    from tools_shared.export.ollama import modelfile
    from tools_shared.models.load import load_tokenizer

    written = modelfile(load_tokenizer(ref), profile, GGUF, load_config(ref), _stored_ends(ref))
    made = _gguf(run, ref, profile, config)
    (run.path / "Modelfile").write_text(written, encoding="utf-8")
    return made


def _stored_ends(ref: ModelRef) -> Any:
    """What the model's own generation config names as ends, without loading the weights."""
    from transformers import GenerationConfig

    folder = ref.adapter if ref.adapter and (ref.adapter / "generation_config.json").exists() else ref.weights
    try:
        return GenerationConfig.from_pretrained(str(folder)).eos_token_id
    except OSError:
        return None


def _hub(run: Draft, ref: ModelRef, profile: Profile, config: ExportConfig) -> Made:
    from tools_shared.export.card import model_card

    if ref.run is None:
        raise ToolError(f"{ref.spec}: a model card is made of a run's own figures; name a run directory")
    name = config.name or _name(config.run)
    on_hub = ref.adapter is not None and not ref.is_local
    if on_hub and ref.adapter is not None:
        shutil.copytree(ref.adapter, run.model_dir, dirs_exist_ok=True)
    else:
        write_merged(ref, profile, run.model_dir, config.device)
    base = ref.weights_name if on_hub else None
    (run.model_dir / "README.md").write_text(model_card(name, ref.run, profile, base), encoding="utf-8")
    return {"weights": "adapter" if on_hub else "merged"}


_FORMS: Mapping[str, Callable[[Draft, ModelRef, Profile, ExportConfig], Made]] = {
    "merged": _merged,
    "gguf": _gguf,
    "ollama": _ollama,
    "hub": _hub,
}
