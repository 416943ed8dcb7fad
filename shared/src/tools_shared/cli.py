"""What every command line shares: precedence of values, errors to exit codes, `--json`, logging, progress.

Flag over environment over `--config FILE.yaml` over default. Exit codes: 0 done, 1 something the user can fix,
2 wrong usage, 3 incomplete and resumable. What is a bug keeps its traceback.
"""

from __future__ import annotations

import dataclasses
import errno
import inspect
import logging
import os
import re
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tools_shared import config as configs
from tools_shared import processes
from tools_shared.config import Config
from tools_shared.config.environment import EnvironmentOption, check_names, value_of, with_sources
from tools_shared.config.idle import check_idle
from tools_shared.console import LogFormatter, progress, say, show, show_json, show_traceback, shown
from tools_shared.errors import Incomplete, ToolError

C = TypeVar("C", bound=Config)
T = TypeVar("T")

__all__ = [
    "DefaultGroup",
    "Invocation",
    "ToolCommand",
    "ToolGroup",
    "config_options",
    "disk_full",
    "progress",
    "resolve",
    "say",
    "show_run",
]

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


class _Failure(click.ClickException):
    """A ToolError on its way out: one line on stderr and the error's exit code."""

    def __init__(self, error: ToolError, ctx: click.Context) -> None:
        super().__init__(shown(with_sources(" ".join(str(error).split()), ctx)))
        self.exit_code = error.exit_code
        processes.leave(error.exit_code)


class _GivenTwice(click.ClickException):
    """Wrong usage, said in one line."""

    exit_code = 2


@contextmanager
def _printable() -> Iterator[None]:
    """What click says of a wrong command line quotes it, with all that it holds."""
    try:
        yield
    except click.ClickException as error:
        error.message = shown(error.message)
        raise


class _EndsInOrder(click.Command):
    """A command line whose process ends in order also when it is one of several, and which takes no option twice."""

    def make_parser(self, ctx: click.Context) -> Any:
        """Click's parser, which refuses an option that is given twice and takes one value, instead of dropping one."""
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            given = list(args)  # the parser empties its list
            values, rest, order = parse(args)
            _refuse_repeated(order, given)
            return values, rest, order

        parser.parse_args = parse_once
        return parser

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        with _printable():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        with _printable():
            return super().invoke(ctx)

    def main(self, *args: Any, **settings: Any) -> Any:
        try:
            return super().main(*args, **settings)
        except SystemExit as done:
            processes.end(done.code if isinstance(done.code, int) else int(done.code is not None))
            raise


def _refuse_repeated(order: list[click.Parameter], args: list[str]) -> None:
    seen: set[str] = set()
    for option in order:
        if not isinstance(option, click.Option) or option.multiple or option.name in ("help", "version"):
            continue
        if option.name in seen:
            spelled = [a for a in args if a.partition("=")[0] in (*option.opts, *option.secondary_opts)]
            takes = "is a switch" if option.is_flag else "takes one value"
            raise _GivenTwice(
                f"{option.opts[0]} is given twice ({' and '.join(spelled[:2])}) and {takes}; give it once"
            )
        seen.add(str(option.name))


class ToolCommand(_EndsInOrder):
    """A command whose ToolErrors become one line and an exit code, and which stops in order on SIGTERM."""

    def invoke(self, ctx: click.Context) -> Any:
        _setup(ctx)
        # Said before torch is imported: threads that wait by spinning take cores from those that they wait for.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        signal.signal(signal.SIGTERM, _stop_on_sigterm)
        try:
            result = super().invoke(ctx)
        except ToolError as error:
            raise _Failure(error, ctx) from error
        except KeyboardInterrupt as error:
            stopped = Incomplete("stopped by Ctrl-C; run the same command again to resume")
            raise _Failure(stopped, ctx) from error
        except RuntimeError as error:
            if (gone := processes.lost(error)) is None:
                raise
            raise _Failure(gone, ctx) from error
        except OSError as error:
            if (told := _told(error)) is None:
                raise
            raise _Failure(told, ctx) from error
        processes.leave(0)
        return result


class ToolGroup(_EndsInOrder, click.Group):
    """A tool with several commands."""

    command_class = ToolCommand


class DefaultGroup(ToolGroup):
    """A tool whose verb may be left out: `tools-grpo --base-model ...` is `tools-grpo train --base-model ...`."""

    def __init__(self, *args: Any, default: str, **settings: Any) -> None:
        super().__init__(*args, no_args_is_help=False, **settings)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help of the verb that is meant when none is named, then the verbs."""
        command = self.commands[self.default]
        with click.Context(command, info_name=ctx.info_name, parent=ctx.parent) as inner:
            command.format_help(inner, formatter)
        self.format_commands(ctx, formatter)


def _told(error: OSError) -> ToolError | None:
    """What the user can do about an error of the file system; None when it is not theirs."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return ToolError(f"{error.filename}: {error.strerror} for user {os.getuid()}; change its permissions or user")
    return None


def disk_full(error: OSError) -> Incomplete:
    where = error.filename or "the output directory"
    return Incomplete(f"{where}: no space left on the device; free some and run the same command again to resume")


def _stop_on_sigterm(signum: int, frame: Any) -> None:
    raise Incomplete("stopped by SIGTERM; run the same command again to resume")


def _setup(ctx: click.Context) -> None:
    """Check the environment's variables and begin logging."""
    try:
        root = ctx.find_root()
        # A verb below another command that does something itself was checked with it.
        for warning in check_names(root.command) if ctx is root or not isinstance(root.command, ToolCommand) else ():
            say(warning)
        level = value_of("TOOLS_LOG_LEVEL") or "WARNING"
    except ToolError as error:
        raise _Failure(error, ctx) from error
    # The hub's package tells of each of its tries to reach it; the error that follows tells it once.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    sys.excepthook = show_traceback


def config_options(
    config_class: type[Config], leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command every field of `config_class` as an option, `--config FILE.yaml` and `--json`.

    `leave_out` names fields that the command takes as arguments.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        function = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(
            function
        )
        if any(READS_ROWS.fullmatch(field.name) for field in dataclasses.fields(config_class)):
            function = _max_row_bytes(config_class.TOOL)(function)
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
            help="Values for any of the options below; flags and environment variables win over it.",
        )(function)

    return decorate


READS_ROWS = re.compile(r"(train|test|eval|pairs|background|input|data|traces)(_path|_file|_data)?s?|datasets")
"""Names of options that take rows."""


def _max_row_bytes(tool: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
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
        envvar=[f"TOOLS_{tool.upper()}_MAX_ROW_BYTES"],
        help="Longest row that is read, in bytes when unpacked; longer ones are rejected.",
    )


def _own_first(config_class: type[Config]) -> list[dataclasses.Field]:
    """The fields with the class's own before those that it shares with other tools."""
    own = list(inspect.get_annotations(config_class))
    fields = dataclasses.fields(config_class)
    return sorted(fields, key=lambda field: own.index(field.name) if field.name in own else len(own))


def _load_defaults(ctx: click.Context, path: Path | None, config_class: type[Config]) -> None:
    if path is None:
        return
    try:
        ctx.default_map = configs.read_yaml(path, config_class)
    except ToolError as error:
        raise _Failure(error, ctx) from error


def _click_option(field: dataclasses.Field, config_class: type[Config]) -> Callable:
    meta = field.metadata
    hint = configs.without_none(config_class.hints()[field.name])
    flag = configs.flag_of(field.name)
    generated = f"TOOLS_{config_class.TOOL.upper()}_{field.name.upper()}"
    settings: dict[str, Any] = {
        "help": meta["help"],
        "default": field.default,
        "show_default": field.default not in (None, (), ""),
        "envvar": [name for name in (meta["env"], generated) if name],
    }
    names = [flag, *meta["flags"], field.name]
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


def show_run(manifest: Any, as_json: bool) -> None:
    """A finished run on stdout: its path, or for a program one line of JSON with path, kind and metrics."""
    if not processes.is_main():
        return
    if as_json:
        result = {"path": str(manifest.path), "kind": manifest.kind, "metrics": manifest.metrics}
        show_json(result)
    else:
        show(manifest.path)
