"""`--help`: what most runs need, in panels; `--help-all`: every option with its environment variable."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from tools_shared.config.environment import EnvironmentOption
from tools_shared.console import show_help

PANELS = (
    "Data",
    "Model",
    "LoRA",
    "Backend",
    "Optimiser",
    "Rollouts",
    "Environment",
    "Sampling",
    "Distillation",
    "Matching",
    "Labels",
    "Evaluation",
    "Judge",
    "Comparison",
    "Output",
    "Server",
    "Ray",
    "Run",
)
"""In this order; an option of no configuration belongs to the last."""

ALL = "tools_shared.help_all"
UNBROKEN = "\xa0"
"""A space where no line ends, until the help is whole."""
_SENTENCE = re.compile(r"\. (?=\S)")


def settings() -> dict[str, Any]:
    """Settings of every command's context."""
    color = False if os.environ.get("NO_COLOR") else None
    return {"help_option_names": ["-h", "--help"], "max_content_width": 100, "color": color}


def with_help_all(params: list[click.Parameter]) -> list[click.Parameter]:
    """The parameters with `--help-all`, where `--help` leaves some out: then also what every command has."""
    if all(getattr(param, "basic", True) for param in params):
        return params
    for param in params:
        if param.name in ("as_json", "version"):
            param.basic = False  # type: ignore[attr-defined]
    return [*params, _help_all()]


def _help_all() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked and not ctx.resilient_parsing:
            ctx.meta[ALL] = True
            show_help(ctx.get_help(), ctx.color)
            ctx.exit()

    return click.Option(
        ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show every option."
    )


def write_panels(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The options in their panels."""
    panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
    for param in command.get_params(ctx):
        record = _record(param, ctx) if isinstance(param, click.Option) else None
        if record is not None:
            panels[getattr(param, "panel", PANELS[-1])].append(record)
    for panel, records in panels.items():
        if records:
            with formatter.section(click.style(panel, bold=True)):
                formatter.write_dl(records, col_max=36)


def _record(option: click.Option, ctx: click.Context) -> tuple[str, str] | None:
    """An option's names and its help; None for one that belongs to `--help-all`."""
    full = ctx.meta.get(ALL, False)
    if option.hidden or not (full or getattr(option, "basic", True)):
        return None
    names = (option.get_help_record(ctx) or ("", ""))[0]
    if option.is_bool_flag and not option.default:
        names = names.partition(" / ")[0]  # off unless it is given
    sentences = _SENTENCE.split((option.help or "").rstrip("."))
    if not full:
        sentences = [s for i, s in enumerate(sentences) if i == 0 or s.startswith("Default: ")]
    extra = option.get_help_extra(ctx)
    notes = [f"env: {', '.join(extra['envvars'])}"] if full and extra.get("envvars") else []
    if extra.get("default") and not (option.is_bool_flag and not option.default):
        notes.append(f"default: {extra['default']}")
    text = ". ".join(sentences) + "."
    noted = "; ".join(note.replace(" ", UNBROKEN) for note in notes)
    return click.style(names, fg="cyan"), f"{text} [{noted}]" if noted else text


def write_more(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """What else there is: the options that are left out, and the other ways to give one."""
    ours = [param for param in command.params if isinstance(param, EnvironmentOption) and param.shown_names]
    if not ours or ctx.meta.get(ALL):
        return
    n_rare = sum(not getattr(param, "basic", True) for param in command.params)
    more = f"--help-all shows {n_rare} more options. " if n_rare else ""
    formatter.write_paragraph()
    formatter.write_text(f"{more}Each is also a --config key and a variable ({ours[0].shown_names[-1]}).")
