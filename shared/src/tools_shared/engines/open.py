"""From options to an engine: adding one is a file that streams, and a line here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tools_shared.engines.options import EngineConfig, LocalEngineConfig, extras_of
from tools_shared.engines.stream import StreamingEngine
from tools_shared.engines.types import Engine
from tools_shared.errors import ToolError
from tools_shared.models import ModelRef
from tools_shared.prompts.ends import stop_ids

if TYPE_CHECKING:
    from tools_shared.pruning.watch import Watcher


def open_engine(ref: ModelRef, config: LocalEngineConfig) -> Engine:
    """Load a model for sampling, or address the server that has it (of `ref` then only what ends a completion is read,
    where its files are here)."""
    return OPENERS.get(config.engine, _transformers)(ref, config)


def open_watched(ref: ModelRef, config: LocalEngineConfig, watcher: Watcher | None) -> Engine:
    """An engine of this machine that samples by the rules of `--prune`; `open_engine` without them."""
    if watcher is None:
        return open_engine(ref, config)
    if config.engine == "vllm":
        from tools_shared.engines.vllm.engine import open_vllm

        return open_vllm(ref, config, watcher=watcher)
    engine = _transformers(ref, config)
    engine.watcher = watcher
    return engine


def _transformers(ref: ModelRef, config: LocalEngineConfig) -> StreamingEngine:
    from tools_shared.devices import torch_dtype
    from tools_shared.engines.local.engine import TransformersEngine
    from tools_shared.models.load import load, sampled_in

    dtype = sampled_in(ref, config.dtype, config.device)
    loaded = load(ref, dtype, config.device)
    return TransformersEngine(loaded.model, loaded.tokenizer, torch_dtype(dtype))


def _vllm(ref: ModelRef, config: LocalEngineConfig) -> Engine:
    from tools_shared.engines.vllm.engine import open_vllm

    return open_vllm(ref, config)


def _http(ref: ModelRef, config: LocalEngineConfig) -> Engine:
    """Where only rollouts come from a server, as in GRPO, everything else is sampled here."""
    return _http_engine(ref, config) if isinstance(config, EngineConfig) else _transformers(ref, config)


OPENERS: dict[str, Callable[[ModelRef, LocalEngineConfig], Engine]] = {
    "transformers": _transformers,
    "vllm": _vllm,
    "http": _http,
}
"""How the engine of each name is opened."""


def check_engine(engine: str) -> None:
    """Raises ToolError, before anything is loaded, when the engine's package is missing or another version."""
    if engine == "vllm":
        from tools_shared.engines.vllm.engine import check_version

        check_version()


def _http_engine(ref: ModelRef | None, config: EngineConfig) -> Engine:
    from tools_shared.cli import say
    from tools_shared.engines.http.address import chat_url, read_api_key
    from tools_shared.engines.http.chat import HttpEngine
    from tools_shared.engines.http.exchange import Server
    from tools_shared.engines.http.habits import Habits

    if config.endpoint is None:
        raise ToolError("--engine http needs --endpoint, such as http://localhost:8000/v1")
    server = Server(
        chat_url(config.endpoint),
        read_api_key(config.api_key_env),
        timeout=config.timeout,
        max_retries=config.max_retries,
        rate_limit=config.rate_limit,
        habits=Habits(say),
    )
    return HttpEngine(server, config.model_name, extras=extras_of(config), stop_token_ids=_served_stop_ids(ref))


def _served_stop_ids(ref: ModelRef | None) -> tuple[int, ...]:
    """What ends a completion of a model that is served and was named too, from its files here; nothing for a hub id and
    for the demo, which is the default where none was named."""
    if ref is None or ref.spec == "demo" or not (ref.is_local or ref.adapter):
        return ()
    from tools_shared.models.load import load_tokenizer

    folders = [folder for folder in (ref.adapter, Path(ref.weights)) if folder is not None]
    files = [file for folder in folders if (file := folder / "generation_config.json").is_file()]
    configured = json.loads(files[0].read_bytes()).get("eos_token_id") if files else None
    return tuple(sorted(stop_ids(load_tokenizer(ref), configured)))
