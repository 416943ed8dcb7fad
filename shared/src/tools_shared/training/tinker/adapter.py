"""Bringing a trained adapter home: downloaded, verified to fit its base wholly, and saved as every other run's."""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tools_shared.errors import Incomplete, ToolError
from tools_shared.files import write_json
from tools_shared.models.adapters import CONFIG, PREFIX, WEIGHTS, layers_of, read_adapter
from tools_shared.models.load import load_config, weights_sha256
from tools_shared.models.resolve import ModelRef
from tools_shared.prompts import Profile
from tools_shared.training.save import write_notes
from tools_shared.training.tinker.service import Service, told

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

LARGEST = 1 << 36
"""Bytes: no adapter that is fetched is larger; an archive that claims more is not unpacked."""


def fetch(service: Service, address: str, folder: Path) -> None:
    """Download the two files of the adapter at `address` (`tinker://RUN/...`) into `folder`: one by one where the
    service exports them so, else out of its archive.

    Raises ToolError when the service gives neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if "/external_weights/" in address:
        with told(service.url):
            urls = service.rest().get_external_weights_urls(address).result().urls
        by_name = {Path(path).name: url for path, url in urls.items()}
        if missing := sorted({CONFIG, WEIGHTS} - set(by_name)):
            raise ToolError(f"{address}: the export holds no {' and no '.join(missing)}; it is no PEFT adapter")
        for name in (CONFIG, WEIGHTS):
            with (folder / name).open("wb") as file:
                _download(by_name[name], file, service)
        return
    with tempfile.TemporaryFile() as archive:
        _download(_archive_url(service, address), archive, service)
        archive.seek(0)
        _unpack(archive, folder, address)


def _archive_url(service: Service, address: str) -> str:
    """Where a service's archive of a checkpoint is; the newest clients do not ask for it any more, old servers have
    nothing else."""
    import httpx

    run_id, _, checkpoint = address.removeprefix("tinker://").partition("/")
    rest = service.rest()
    if hasattr(rest, "get_checkpoint_archive_url"):
        with told(service.url):
            return rest.get_checkpoint_archive_url(run_id, checkpoint).result().url
    path = f"{service.url}/api/v1/training_runs/{run_id}/checkpoints/{checkpoint}/archive"
    try:
        answer = httpx.get(path, headers={"X-API-Key": service.key}, timeout=120)
    except httpx.HTTPError as error:
        raise Incomplete(f"{service.url} gives no archive ({type(error).__name__}); run it again") from error
    if "location" not in answer.headers:
        raise ToolError(f"{service.url} gives no archive of {address} (status {answer.status_code})")
    return answer.headers["location"]


def _download(url: str, file: IO[bytes], service: Service) -> None:
    """The bytes at an address that needs no key."""
    import httpx

    try:
        with httpx.stream("GET", url, timeout=120, follow_redirects=True) as response:
            response.raise_for_status()
            for block in response.iter_bytes():
                file.write(block)
    except httpx.HTTPError as error:
        raise Incomplete(
            f"the adapter could not be downloaded from {service.url} ({type(error).__name__}); training is finished "
            "and kept there, run the same command again to fetch it"
        ) from error


def _unpack(archive: Any, folder: Path, address: str) -> None:
    """Take the two files out of a tar archive, wherever in it they lie; nothing else of it is written."""
    missing = {CONFIG, WEIGHTS}
    try:
        with tarfile.open(fileobj=archive, mode="r:*") as tar:
            for member in tar:
                name = Path(member.name).name
                if name in missing and member.isfile() and member.size <= LARGEST:
                    missing.remove(name)
                    with (folder / name).open("wb") as file:
                        source = tar.extractfile(member)
                        while source is not None and (block := source.read(1 << 20)):
                            file.write(block)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ToolError(f"{address}: the archive cannot be read ({error}); run the command again") from error
    if missing:
        raise ToolError(f"{address}: the archive holds no {' and no '.join(sorted(missing))}; it is no PEFT adapter")


def settle(folder: Path, ref: ModelRef) -> dict[str, Any]:
    """Verify the adapter in `folder` against its base and have its configuration name base and layers.

    Services leave the layers out, or name their own path of the base. Returns rank, scale and the number of tensors.
    Raises ToolError when a tensor has no place in the base, has another shape or is not finite, and when layers of a
    kind that the adapter is on have none.
    """
    config, tensors = read_adapter(folder)
    wrong = misfit(tensors, shapes_of(ref), config.r)
    if wrong:
        raise ToolError(
            f"{folder}: the adapter that the service made does not fit {ref.spec}: {wrong}; --tinker-weights keep "
            "leaves it there"
        )
    values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    values |= {
        "base_model_name_or_path": ref.weights_name,
        "target_modules": sorted({layer.rpartition(".")[2] for layer in layers_of(tensors)}),
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
    }
    write_json(folder / CONFIG, values)
    return {"lora_r": config.r, "lora_alpha": config.lora_alpha, "adapter_tensors": len(tensors)}


def shapes_of(ref: ModelRef) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of each linear layer of a model by name, without loading or making any weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(load_config(ref))
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def misfit(tensors: dict[str, torch.Tensor], layers: dict[str, tuple[int, int]], rank: int) -> str | None:
    """What is wrong with an adapter's tensors, in words; None where each has its place and no place is empty."""
    names = layers_of(tensors)
    expected = {}
    for layer in names:
        if layer not in layers:
            return f"it has tensors for {layer}, a layer that the base does not have"
        n_out, n_in = layers[layer]
        expected[f"{PREFIX}{layer}.lora_A.weight"] = (rank, n_in)
        expected[f"{PREFIX}{layer}.lora_B.weight"] = (n_out, rank)
    if not names:
        return "it holds no LoRA tensors"
    for name, shape in expected.items():
        if name not in tensors:
            return f"it has no {name}"
        if tuple(tensors[name].shape) != shape:
            return f"{name} is {tuple(tensors[name].shape)}, the base and rank {rank} need {shape}"
        if not tensors[name].isfinite().all():
            return f"{name} has values that are not finite"
    if more := sorted(set(tensors) - set(expected)):
        return f"{more[0]} has no place in it"
    kinds = {layer.rpartition(".")[2] for layer in names}
    if bare := sorted(layer for layer in layers if layer.rpartition(".")[2] in kinds and layer not in names):
        return f"it has no tensors for {bare[0]}, though for other layers of that kind"
    return None


def learned(folder: Path) -> bool:
    """Whether the adapter adds anything to its base: LoRA's second half begins at zero."""
    _, tensors = read_adapter(folder)
    return any(bool(tensor.any()) for name, tensor in tensors.items() if ".lora_B." in name)


def save_beside(
    folder: Path,
    final_folder: Path,
    ref: ModelRef,
    tokenizer: PreTrainedTokenizerBase,
    ends: frozenset[int],
    profile: Profile,
) -> None:
    """The tokenizer, what ends a completion and the notes that later tools read, beside a fetched adapter."""
    from transformers import GenerationConfig

    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=sorted(ends), pad_token_id=tokenizer.pad_token_id).save_pretrained(folder)
    write_notes(folder, final_folder, ref, profile, weights_sha256(ref.weights) if ref.is_local else None)
