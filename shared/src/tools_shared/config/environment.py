"""Environment variables of the tools: none is ignored silently, and an error names the variable.

Every option can be given as `TOOLS_<TOOL>_<OPTION>`. A name of that form that no command of the tool reads is a
mistake, as an unknown key in a `--config` file is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import click
from click.core import ParameterSource

from tools_shared.addresses import Secret
from tools_shared.errors import ToolError
from tools_shared.names import did_you_mean

TOOLS = ("dedup", "sft", "grpo", "traces", "scorer", "bench")
PREFIX = "TOOLS_"

VARIABLES: dict[str, tuple[str, ...]] = {
    "TOOLS_DEVICE": ("auto", "cpu", "cuda"),
    "TOOLS_LOG_LEVEL": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    "TOOLS_BENCH_DATA_DIR": (),
    "TOOLS_USER": (),
    "TOOLS_PRICES": (),
}
"""Names that are no option's: the values that each may have, none for any. compose.yaml reads TOOLS_USER."""


def value_of(name: str) -> str | None:
    """The value of one of VARIABLES, None where it is unset or empty; raises ToolError for one that it cannot have."""
    value, choices = os.environ.get(name) or None, VARIABLES[name]
    if value is None or not choices:
        return value
    found = next((choice for choice in choices if choice.lower() == value.lower()), None)
    if found is None:
        raise ToolError(f"the environment variable {name} must be one of {', '.join(choices)}, got {value!r}")
    return found


def check_names(root: click.Command) -> list[str]:
    """Raise ToolError for a variable that looks like an option of this tool and is none, or has a value it cannot have.

    `root` is the tool's outermost command: an option of any of its commands is known. Returns a warning for each
    other variable TOOLS_* that no tool reads; those of the other tools are theirs to check.
    """
    for name in VARIABLES:
        value_of(name)
    options, shown = set(_option_names(root)), set(_option_names(root, "shown_names"))
    own = {name.split("_")[1] for name in options}
    known, warnings = [*sorted(shown), *VARIABLES], []
    for name in sorted(set(os.environ) - {*options, *VARIABLES}):
        if not name.upper().startswith(PREFIX):
            continue
        tool = name.upper().split("_")[1]
        meant = did_you_mean(name.upper(), known)
        if tool in own:
            raise ToolError(
                f"the environment variable {name} is not an option of tools-{tool.lower()}{meant}; unset or correct it"
            )
        if tool.lower() not in TOOLS:
            warnings.append(f"warning: no tool reads the environment variable {name}{meant}")
    return warnings


def _option_names(command: click.Command, kind: str = "envvar") -> Iterator[str]:
    """The generated names of the options of a command and of those below it; with `shown_names` without the aliases."""
    for parameter in command.params:
        given = getattr(parameter, kind, None)
        names = [given] if isinstance(given, str) else given or ()
        yield from (name for name in names if name.startswith(PREFIX))
    if isinstance(command, click.Group):
        for child in command.commands.values():
            yield from _option_names(child, kind)


class EnvironmentOption(click.Option):
    """An option whose error names the environment variable where the wrong value came from one.

    `secret` says how a value that may hold one is written, `aliases` are other spellings (with underscores), and
    `--help` shows it in `panel`, if it is `basic`, with the environment variables `shown_names`.
    """

    def __init__(
        self,
        *names: Any,
        secret: Secret | None = None,
        aliases: tuple[str, ...] = (),
        panel: str = "Run",
        basic: bool = True,
        shown_names: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*names, **settings)
        self.secret, self.aliases, self.panel, self.basic = secret, aliases, panel, basic
        self.shown_names = shown_names

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        if self.shown_names:
            extra["envvars"] = self.shown_names
        return extra

    def get_error_hint(self, ctx: click.Context | None) -> str:
        name = variable_behind(ctx, self) if ctx is not None else None
        return f"the environment variable {name}" if name else super().get_error_hint(ctx)


def variable_behind(ctx: click.Context, option: click.Parameter) -> str | None:
    """The environment variable that an option's value came from; None when it came from elsewhere."""
    if ctx.get_parameter_source(str(option.name)) is not ParameterSource.ENVIRONMENT:
        return None
    names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
    return next((name for name in names if os.environ.get(name)), None)


def with_sources(message: str, ctx: click.Context) -> str:
    """An error's message, and of each flag in it that nobody typed, which environment variable set it."""
    notes = []
    for option in ctx.command.params:
        spelled = [re.escape(flag) for flag in (*option.opts, *option.secondary_opts) if flag.startswith("--")]
        if not spelled or not re.search(rf"(?<![\w-])({'|'.join(spelled)})(?![\w-])", message):
            continue
        name = variable_behind(ctx, option)
        if name and name not in message:
            notes.append(f"{option.opts[0]} is set by the environment variable {name}")
    return f"{message} ({'; '.join(notes)})" if notes else message
