"""`hf://owner/name?config=&split=&revision=`: datasets of the Hugging Face hub, through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tools_shared.errors import ToolError
from tools_shared.records import Origin, Row
from tools_shared.sources.spec import parse_address
from tools_shared.sources.streams import require
from tools_shared.sources.values import as_json

if TYPE_CHECKING:
    from datasets import Dataset

KEYS = ("config", "split", "revision")
PROBE_SECONDS = 10.0


def read_hub(spec: str) -> Iterator[Row]:
    """The rows of one split; the line is the row's 1-based number.

    Downloads into the cache of `datasets` and reads from there. Without a network the cached copy is used. Raises
    ToolError when `datasets` is missing, the hub cannot be reached, or it has no such
    dataset, config, split or revision.
    """
    name, options = parse_address(spec, KEYS)
    if name.count("/") > 1:
        raise ToolError(f"{spec}: a dataset is hf://owner/name, got '{name}'")
    require("datasets", "hf:// addresses")
    _probe(spec, name, options.get("revision"))
    table = _load(spec, name, options)
    return (Row(as_json(data), Origin(spec, number)) for number, data in enumerate(table, start=1))


def _probe(spec: str, name: str, revision: str | None) -> None:
    """Ask the hub once. `datasets` itself asks many times and for half a minute before it gives up."""
    import datasets
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if datasets.config.HF_HUB_OFFLINE:
        _need_cached(spec, name, revision, "offline mode is on")
        return
    try:
        HfApi().dataset_info(name, revision=revision, timeout=PROBE_SECONDS)
    except (httpx.TransportError, OfflineModeIsEnabled):
        _need_cached(spec, name, revision, "the hub cannot be reached")
        datasets.config.HF_HUB_OFFLINE = True  # else every later call would wait for the network again
    except RevisionNotFoundError as error:
        raise ToolError(f"{spec}: the dataset has no revision '{revision}'") from error
    except GatedRepoError as error:
        raise ToolError(f"{spec}: the dataset is gated; ask for access on its page, then set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise ToolError(f"{spec}: no such dataset, or it is private; check the name, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        raise ToolError(f"{spec}: the hub answered {str(error).splitlines()[0]}; try again later") from error


def _need_cached(spec: str, name: str, revision: str | None, why: str) -> None:
    """Raises ToolError unless the cache holds the dataset, and only the wanted revision: `datasets` takes any."""
    from datasets import config

    found = {p.name for p in Path(config.HF_DATASETS_CACHE).glob(f"{name.replace('/', '___')}/*/*/*") if p.is_dir()}
    if not found:
        raise ToolError(f"{spec}: {why} and the dataset is not in the cache; go online once, or give a local file")
    if revision and not all(commit.startswith(revision) for commit in found):
        raise ToolError(f"{spec}: {why} and the cache has other revisions ({', '.join(sorted(found))}); go online once")


def _load(spec: str, name: str, options: Mapping[str, str]) -> Dataset:
    from datasets import Dataset, load_dataset
    from datasets.exceptions import DatasetsError

    split = options.get("split")
    try:
        loaded = load_dataset(name, options.get("config"), split=split, revision=options.get("revision"))
    except (DatasetsError, ValueError, OSError) as error:
        raise ToolError(f"{spec}: {str(error).splitlines()[0]}") from error
    if isinstance(loaded, Dataset):
        return loaded
    if len(loaded) > 1:
        raise ToolError(f"{spec}: name a split with ?split= ({', '.join(loaded)})")
    return next(iter(loaded.values()))
