"""`--environment verifiers:NAME`: the tools of a ToolEnv of the package `verifiers`, below 0.2.

Its rows and its rubric are not used: problems come from `--data`, rewards from `--reward`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tools_shared.errors import ToolError, brief


def tools_of(spec: str) -> list[Callable[..., Any]]:
    """The tools of the environment that `verifiers:NAME` names. Raises ToolError in one line where there are none."""
    name = spec.partition(":")[2]
    try:
        found = version("verifiers")
    except PackageNotFoundError:
        raise ToolError(f"--environment {spec}: verifiers is not installed; pip install 'verifiers<0.2'") from None
    if not found.startswith("0.1."):
        raise ToolError(
            f"--environment {spec}: verifiers {found} has no ToolEnv with tools that can be called here; "
            "pip install 'verifiers<0.2'"
        )
    import verifiers

    try:
        environment = verifiers.load_environment(name)
    except Exception as error:
        reason = brief(" ".join(str(error).split()), 200, quoted=False)
        raise ToolError(f"--environment {spec}: cannot be loaded ({reason}); prime env install {name}") from error
    tools = list(getattr(environment, "tools", None) or [])
    kind = type(environment).__name__
    if not tools or hasattr(environment, "update_tool_args"):
        raise ToolError(f"--environment {spec}: is {kind}; only a ToolEnv with tools without state can be used")
    if wrong := next((tool for tool in tools if inspect.iscoroutinefunction(tool)), None):
        raise ToolError(f"--environment {spec}: the tool {wrong.__name__} is async; only plain functions can be used")
    return tools
