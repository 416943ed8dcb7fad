"""`--environment` and `--tool`: a user's own code as tools, in the shape of TRL's `environment_factory` and `tools`.

A factory takes nothing and returns an object whose `reset(**columns)` begins an episode and may return text for the
prompt; its other public methods are the tools. A `get_reward()` is the reward `environment`. A tool has type hints and
a docstring with an `Args:` section, from which the model is told how to call it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tools_shared.errors import ToolError, brief
from tools_shared.names import nearest

OWN = ("reset", "get_reward")
"""Methods of an environment that are no tools."""


@dataclass(frozen=True)
class World:
    """What a model is let into: how an episode's environment is made (None: tools alone), the functions that are the
    same for all, and the tools' JSON schemas."""

    name: str
    factory: Callable[[], Any] | None
    functions: tuple[Callable[..., Any], ...]
    schemas: tuple[dict[str, Any], ...]
    has_reward: bool = False

    def tools(self, environment: Any) -> dict[str, Callable[..., Any]]:
        """The tools of an episode by name."""
        return {one.__name__: one for one in (*self.functions, *methods(environment))}


def load_world(environment: str | None, tools: Sequence[str]) -> World | None:
    """What `--environment` and `--tool` name; None for neither. Raises ToolError for what cannot be used."""
    if environment is None and not tools:
        return None
    factory, functions = None, [_named(spec, "--tool") for spec in tools]
    if environment is not None and environment.startswith("verifiers:"):
        from tools_grpo.environments.verifiers import tools_of

        functions += tools_of(environment)
    elif environment is not None:
        factory = _named(environment, "--environment")
    probe = None if factory is None else _made(factory, environment or "")
    found = [*functions, *methods(probe)]
    names = [one.__name__ for one in found]
    if not found:
        raise ToolError(f"--environment {environment}: has no tool; give it a public method with type hints")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ToolError(f"two tools are called '{twice}'; rename one")
    schemas = tuple(_schema(one) for one in found)
    has_reward = callable(getattr(type(probe), "get_reward", None)) if probe is not None else False
    return World(environment or ", ".join(tools), factory, tuple(functions), schemas, has_reward)


def methods(environment: Any) -> list[Callable[..., Any]]:
    """The public methods of an environment, but for OWN."""
    listed = inspect.getmembers(type(environment), inspect.isfunction) if environment is not None else []
    return [getattr(environment, name) for name, _ in listed if not name.startswith("_") and name not in OWN]


def _made(factory: Callable[[], Any], spec: str) -> Any:
    try:
        environment = factory()
    except Exception as error:
        raise ToolError(f"--environment {spec}: raised {told(error)} when it was called without arguments") from error
    if not callable(getattr(environment, "reset", None)):
        made = type(environment).__name__
        raise ToolError(f"--environment {spec}: returned {made}, which has no reset(**columns); define one")
    if wrong := next((m for m in methods(environment) if inspect.iscoroutinefunction(m)), None):
        raise ToolError(f"--environment {spec}: the tool {wrong.__name__} is async; make it a plain function")
    return environment


def told(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {brief(' '.join(str(error).split()), 200, quoted=False)}"


def _named(spec: str, flag: str) -> Callable[..., Any]:
    """A callable as `package.module:name` or `file.py:name`."""
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise ToolError(f"{flag} {spec}: write package.module:name or file.py:name")
    module = _file(Path(place), spec, flag) if place.endswith(".py") else _module(place, spec, flag)
    found = getattr(module, name, None)
    if found is None:
        public = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise ToolError(
            f"{flag} {spec}: {place} has no '{name}' ({nearest(name, public) if public else 'it has none'})"
        )
    if not callable(found):
        raise ToolError(f"{flag} {spec}: '{name}' is {type(found).__name__}; name a function or a class")
    return found


def _file(path: Path, spec: str, flag: str) -> ModuleType:
    if not path.is_file():
        raise ToolError(f"{flag} {spec}: no such file; give the path of a Python file")
    name = f"environment_file_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses and type hints look their module up
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise ToolError(f"{flag} {spec}: raised {told(error)} when it was imported") from error
    return module


def _module(name: str, spec: str, flag: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ToolError(f"{flag} {spec}: raised {told(error)} when it was imported") from error


def _schema(tool: Callable[..., Any]) -> dict[str, Any]:
    from transformers.utils import get_json_schema
    from transformers.utils.chat_template_utils import DocstringParsingException, TypeHintParsingException

    try:
        return get_json_schema(tool)
    except (DocstringParsingException, TypeHintParsingException, NameError) as error:
        raise ToolError(f"the tool {tool.__name__} cannot be described to the model: {told(error)}") from error
