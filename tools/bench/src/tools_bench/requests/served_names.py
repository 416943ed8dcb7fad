"""A run needs no --model-name where the server has only one model."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from tools_bench.config import BenchConfig
from tools_bench.requests.plan import api_of, server_of
from tools_shared.console import say
from tools_shared.engines.http.served import served_models
from tools_shared.errors import ToolError


def named(config: BenchConfig) -> BenchConfig:
    """With the name of the one model that the server has, where --model-name is missing and --endpoint is there.

    A tutor's or a template's API has no such list: its address is the name. Raises ToolError where there are several
    models, or the server tells none.
    """
    if config.endpoint is None or config.model_name is not None:
        return config
    if api_of(config).name != "openai":
        return replace(config, model_name=urlsplit(config.endpoint).netloc.replace(":", "_"))
    server = server_of(config)
    names = served_models(server)
    if len(names) == 1:
        say(f"--model-name {names[0]}: the one model at {server.shown}")
        return replace(config, model_name=names[0])
    told = f"it has {', '.join(names)}" if names else "the server does not tell which models it has"
    raise ToolError(f"--model-name is missing: it names the results, and the model on the server ({told})")
