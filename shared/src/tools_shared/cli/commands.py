"""Commands and groups: parsing, help, and how a command ends."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from tools_shared import processes
from tools_shared.cli import help as helps
from tools_shared.config.environment import check_names, value_of, with_sources
from tools_shared.config.spellings import other_name, spellings
from tools_shared.console import LogFormatter, say, show_traceback, shown, tell
from tools_shared.errors import Incomplete, ToolError

KEPT_AWAY = {"transformers.tokenization_utils_tokenizers": "clean_up_tokenization_spaces"}
"""Warnings of libraries that a user can do nothing about: the logger, and words of the message."""


class CommandFailure(click.ClickException):
    """A ToolError on its way out: one line on stderr and the error's exit code."""

    def __init__(self, error: ToolError, ctx: click.Context) -> None:
        super().__init__(shown(with_sources(" ".join(str(error).split()), ctx)))
        self.__dict__["exit_code"] = error.exit_code  # click's type says that a class has one code
        processes.leave(error.exit_code)

    def show(self, file: IO[Any] | None = None) -> None:
        tell(f"Error: {self.message}")


class _GivenTwice(click.ClickException):
    """Wrong usage, said in one line."""

    exit_code = 2


@contextmanager
def _printable() -> Iterator[None]:
    """What click says of a wrong command line quotes it, with all that it holds."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = shown(error.message)
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
            _refuse_repeated(order, given, self._our_name)
            return values, rest, order

        vars(parser)["parse_args"] = parse_once
        return parser

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        settings = helps.settings() | {"token_normalize_func": self._our_name} | settings
        with _printable():
            try:
                return super().make_context(*args, **settings)
            except click.NoSuchOption as error:
                if (ours := other_name(error.option_name, {o for p in self.params for o in p.opts})) is None:
                    raise
                raise click.UsageError(f"No such option: {error.option_name}. {ours}", error.ctx) from error

    def _our_name(self, name: str) -> str:
        """The name that an option has here, of a name or another spelling of it: `learning_rate`, `lr`."""
        return spellings(self.params).get(name, name)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return helps.with_help_all(super().get_params(ctx))

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(helps.UNBROKEN, " ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        helps.write_panels(self, ctx, formatter)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        helps.write_more(self, ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        with _printable():
            return super().invoke(ctx)

    def main(self, *args: Any, **settings: Any) -> Any:
        try:
            try:
                return super().main(*args, **settings)
            except Incomplete as error:  # a SIGTERM while another error was being told
                tell(f"Error: {shown(' '.join(str(error).split()))}")
                sys.exit(error.exit_code)
        except SystemExit as done:
            processes.end(done.code if isinstance(done.code, int) else int(done.code is not None))
            raise


def _refuse_repeated(order: list[click.Parameter], args: list[str], our_name: Callable[[str], str]) -> None:
    seen: set[str] = set()
    for option in order:
        if not isinstance(option, click.Option) or option.multiple or option.name in ("help", "help_all", "version"):
            continue
        if option.name in seen:
            names = {name.lstrip("-") for name in (*option.opts, *option.secondary_opts)}
            flags = [arg for arg in args if arg.startswith("-")]
            spelled = [flag for flag in flags if our_name(flag.partition("=")[0].lstrip("-")) in names]
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
            raise CommandFailure(error, ctx) from error
        except KeyboardInterrupt as error:
            stopped = Incomplete("stopped by Ctrl-C; run the same command again to resume")
            raise CommandFailure(stopped, ctx) from error
        except RuntimeError as error:
            if (gone := processes.lost(error)) is None:
                raise
            raise CommandFailure(gone, ctx) from error
        except OSError as error:
            if (told := _told(error)) is None:
                raise
            raise CommandFailure(told, ctx) from error
        processes.leave(0)
        return result


class ToolGroup(_EndsInOrder, click.Group):
    """A tool with several commands."""

    command_class = ToolCommand


class DefaultGroup(ToolGroup):
    """A tool whose verb may be left out: `tools-grpo --base-model ...` is `tools-grpo train --base-model ...`."""

    def __init__(self, name: str | None = None, *, default: str, **settings: Any) -> None:
        super().__init__(name, **{"no_args_is_help": False, **settings})
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help", "--version")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help of the verb that is meant when none is named, then the other verbs."""
        command = self.commands[self.default]
        with click.Context(command, info_name=ctx.info_name, parent=ctx.parent, **helps.settings()) as inner:
            command.format_help(inner, formatter)
        others = {name: other for name, other in self.commands.items() if name != self.default}
        with formatter.section("Commands"):
            formatter.write_dl([(name, other.get_short_help_str(60)) for name, other in others.items()])


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


def _without(words: str) -> Callable[[logging.LogRecord], bool]:
    return lambda record: words not in record.getMessage()


def _setup(ctx: click.Context) -> None:
    """Check the environment's variables and begin logging."""
    try:
        root = ctx.find_root()
        # A verb below another command that does something itself was checked with it.
        for warning in check_names(root.command) if ctx is root or not isinstance(root.command, ToolCommand) else ():
            say(warning)
        level = value_of("TOOLS_LOG_LEVEL") or "WARNING"
    except ToolError as error:
        raise CommandFailure(error, ctx) from error
    for name, words in KEPT_AWAY.items():
        logging.getLogger(name).addFilter(_without(words))
    # The hub's package tells of each of its tries to reach it; the error that follows tells it once.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    sys.excepthook = show_traceback
