"""Saving what was trained, so that every later tool finds it again wherever the folder goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import write_json
from tools_shared.models.adapters import ROWS, check_rounding, fold, probe
from tools_shared.models.load import Loaded, load_config, weights_sha256
from tools_shared.models.resolve import ModelRef
from tools_shared.prompts import Profile
from tools_shared.prompts.ends import set_ends
from tools_shared.prompts.profile import NOTES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def save(loaded: Loaded, folder: Path, final_folder: Path, profile: Profile, full_weights: bool) -> None:
    """Save adapter or full weights, tokenizer, and the notes that later tools read.

    Full weights are saved in the base's number format. `final_folder` is where the folder will be once its run is
    published: the base is noted relative to it too, so that artifacts can be moved or mounted together.
    """
    model = loaded.model
    set_ends(model, loaded.tokenizer)
    if full_weights and _is_adapter(model):
        model, *_ = fold(model, loaded.tokenizer, str(folder))
    if _is_adapter(model):
        adapter = model.peft_config["default"]
        adapter.base_model_name_or_path = loaded.ref.weights_name
        if isinstance(adapter.target_modules, set):
            adapter.target_modules = sorted(adapter.target_modules)  # a set's order differs between processes
        # "auto" would look for the base on the hub, only to learn that the vocabulary has not grown.
        resized = hasattr(model.get_base_model(), ROWS)
        model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=resized)
        model.generation_config.save_pretrained(folder)  # what serves the adapter stops by it
        (folder / "README.md").unlink()  # PEFT's card is an empty form that names a path of this machine
    else:
        with _stored_as(model, base_format(loaded.ref)):
            model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    if full_weights:
        write_json(folder / NOTES, {"profile": profile.to_json(), "base": None})
    else:
        write_notes(folder, final_folder, loaded.ref, profile, weights_sha256(loaded.ref.weights))


def base_format(ref: ModelRef) -> torch.dtype:
    """The number format in which the base's weights are stored, and whole weights made of them are saved."""
    import torch

    return load_config(ref).dtype or torch.float32


def round_to(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Round what was trained in float32 to the format in which it is saved: what is evaluated is then what is saved."""
    import torch

    with torch.no_grad():
        for part in model.parameters():
            part.copy_(part.to(dtype))


@contextmanager
def _stored_as(model: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """Within the block the weights are in another number format; buffers, such as rotary frequencies, stay exact."""
    formats = [part.dtype for part in model.parameters()]
    for part in model.parameters():
        part.data = part.data.to(dtype)
    try:
        yield
    finally:
        for part, was in zip(model.parameters(), formats, strict=True):
            part.data = part.data.to(was)


def write_notes(folder: Path, final_folder: Path, base: ModelRef, profile: Profile, sha256: str | None) -> None:
    """Note beside an adapter its profile and its base, also by the way from `final_folder` to it; `sha256` is that of
    the base's weights, None where they are not here."""
    notes: dict[str, Any] = {"profile": profile.to_json()}
    notes["base"] = {"name": base.weights_name, "relative": _relative(base, final_folder), "sha256": sha256}
    write_json(folder / NOTES, notes)


def _relative(base: ModelRef, final_folder: Path) -> str | None:
    """The way from the adapter to a base that is itself a folder of the user's; None for the hub's and the demo's."""
    if not base.is_local or base.weights_name == "demo":
        return None
    return os.path.relpath(base.weights, final_folder)


def _is_adapter(model: PreTrainedModel) -> bool:
    from peft import PeftModel

    return isinstance(model, PeftModel)


def save_merged(loaded: Loaded, folder: Path, profile: Profile) -> float:
    """Merge a trained adapter into its base and save the whole weights in the base's number format; the model is merged
    in place.

    The sum is made in float32. Returns the largest difference of next-token log-probabilities, what is saved against
    the adapter, on a probe text. Raises ToolError when merging or rounding to the format changes more than rounding
    does (`fold`), and says so when merging changed nothing.
    """
    import torch

    if not _is_adapter(loaded.model):
        raise ToolError("--merge: there is no adapter to merge; leave it out with --full-finetune")
    model = loaded.model.eval().to(torch.float32)
    with model.disable_adapter():
        base = probe(model, loaded.tokenizer)
    adapted = probe(model, loaded.tokenizer)
    merged_model, merged, difference = fold(model, loaded.tokenizer, str(folder))
    if torch.equal(merged, base):
        say(f"warning: {folder}: the merged weights compute what the base's do; the adapter adds nothing to them")
    stored = base_format(loaded.ref)
    if stored != torch.float32:
        merged_model = merged_model.to(stored)
        difference = check_rounding(adapted, probe(merged_model, loaded.tokenizer), stored, str(folder))
    set_ends(merged_model, loaded.tokenizer)
    merged_model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    write_json(folder / NOTES, {"profile": profile.to_json(), "base": None})
    return difference
