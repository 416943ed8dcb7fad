"""A configuration's fields as a command's options, and the configuration from the values that were given."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tools_shared import config as configs
from tools_shared.cli.commands import CommandFailure
from tools_shared.config import Config
from tools_shared.config.environment import EnvironmentOption
from tools_shared.config.idle import check_idle
from tools_shared.console import say
from tools_shared.errors import ToolError

C = TypeVar("C", bound=Config)
T = TypeVar("T")
Decorator = Callable[[Callable[..., T]], Callable[..., T]]

ORIGINS = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
    ParameterSource.PROMPT: "flag",
}


@dataclasses.dataclass(frozen=True)
class Invocation:
    """How a tool was called: its name and version, the words typed, and where each option's value came from.

    A library call has no command line; `Invocation("tools-sft", "0.1.0")` is then enough.
    """

    tool: str
    version: str
    argv: tuple[str, ...] = ()
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)


def config_options(
    config_class: type[Config], leave_out: tuple[str, ...] = (), gives_json: bool = True
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command every field of `config_class` as an option, `--config FILE.yaml` and `--json`.

    `leave_out` names fields that the command takes as arguments; without `gives_json` there is no `--json`.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
        function = json_option(function) if gives_json else function
        names = [field.name for field in dataclasses.fields(config_class)]
        if config_class.READS_ROWS and any(map(READS_ROWS.fullmatch, names)):
            function = _max_row_bytes(config_class)(function)
        for field in reversed(_own_first(config_class)):
            if field.name not in leave_out:
                function = _click_option(field, config_class)(function)
        return click.option(
            "--config",
            metavar="FILE.yaml",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=lambda ctx, _, path: _load_defaults(ctx, path, config_class),
            help="Read option values from this file. Flags and environment variables take precedence.",
        )(function)

    return decorate


READS_ROWS = re.compile(r"(train|test|eval|pairs|background|input|data|traces)(_path|_file|_data)?s?|datasets")
"""Names of options that take rows."""


def _max_row_bytes(config_class: type[Config]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    from tools_shared.sources.streams import LIMITS, MAX_LINE

    def limit(ctx: click.Context, parameter: click.Parameter, value: int) -> None:
        LIMITS.row = value

    return click.option(
        "--max-row-bytes",
        type=click.IntRange(1, 1 << 31),
        default=MAX_LINE,
        show_default=True,
        expose_value=False,
        callback=limit,
        cls=EnvironmentOption,
        envvar=[f"TOOLS_{config_class.TOOL.upper()}_MAX_ROW_BYTES"],
        shown_names=(f"TOOLS_{config_class.TOOL.upper()}_MAX_ROW_BYTES",),
        panel="Data",
        basic=not config_class.FIRST,
        help="Reject rows longer than this many bytes (after decompression).",
    )


def _own_first(config_class: type[Config]) -> list[dataclasses.Field[Any]]:
    """The fields of `FIRST`, then the class's own, then those that it shares with other tools."""
    order = [*config_class.FIRST, *inspect.get_annotations(config_class)]
    fields = dataclasses.fields(config_class)
    return sorted(fields, key=lambda field: order.index(field.name) if field.name in order else len(order))


def _load_defaults(ctx: click.Context, path: Path | None, config_class: type[Config]) -> None:
    if path is None:
        return
    try:
        ctx.default_map = configs.read_yaml(path, config_class)
    except ToolError as error:
        raise CommandFailure(error, ctx) from error


def _click_option(
    field: dataclasses.Field[Any], config_class: type[Config]
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    meta = field.metadata
    hint = configs.without_none(config_class.hints()[field.name])
    flag = configs.flag_of(field.name)
    aliases = tuple(alias for alias, name in config_class.aliases().items() if name == field.name)
    prefix = f"TOOLS_{config_class.TOOL.upper()}_"
    settings: dict[str, Any] = {
        "help": meta["help"],
        "default": field.default,
        "show_default": field.default not in (None, (), ""),
        "envvar": [name for name in (meta["env"], *(prefix + n.upper() for n in (field.name, *aliases))) if name],
        "aliases": aliases,
        "panel": config_class.panel_of(field.name),
        "hidden": field.name in config_class.HIDDEN,
        "basic": not config_class.FIRST or field.name in config_class.FIRST,
        "shown_names": tuple(filter(None, (meta["env"], prefix + field.name.upper()))),
    }
    names = [flag, field.name]
    if hint is bool:
        names[0] = f"{flag}/--no-{flag[2:]}"
    elif typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        choices = configs.choices_of(inner)
        settings |= {
            "type": click.Choice(choices) if choices else _OneALine() if inner is str else inner,
            "multiple": True,
        }
    elif choices := configs.choices_of(hint):
        settings["type"] = click.Choice(choices)
    else:
        settings["type"] = hint
    if meta["flag_value"] is not None:
        settings |= {"is_flag": False, "flag_value": meta["flag_value"]}
    return click.option(*names, cls=EnvironmentOption, secret=meta["secret"], **settings)


class _OneALine(click.types.StringParamType):
    """Text of a repeatable option: its environment variable holds one value a line, as paths may hold spaces."""

    envvar_list_splitter = "\n"


def resolve(config_class: type[C], options: Mapping[str, Any], version: str) -> tuple[C, Invocation]:
    """The configuration from a command's options, and where each value came from."""
    ctx = click.get_current_context()
    names = [f.name for f in dataclasses.fields(config_class)]
    values = {n: tuple(options[n]) if isinstance(options[n], (list, tuple)) else options[n] for n in names}
    sources = {n: ctx.get_parameter_source(n) for n in names}
    origins = {n: ORIGINS[source] for n, source in sources.items() if source is not None}
    tool = f"tools-{config_class.TOOL}"
    config = config_class(**values)
    for note in check_idle(config, origins):
        say(note)
    return config, Invocation(tool, version, (tool, *config.shown_words(sys.argv[1:])), origins)
