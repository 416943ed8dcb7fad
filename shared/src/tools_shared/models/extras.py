"""Packages that only some options need."""

from __future__ import annotations

import importlib.util

from tools_shared.errors import ToolError


def need(module: str, extra: str) -> None:
    """Raise ToolError naming the extra to install when `module` is not there."""
    if importlib.util.find_spec(module) is None:
        raise ToolError(f"the package {module} is not installed; run: pip install 'tools-shared[{extra}]'")
