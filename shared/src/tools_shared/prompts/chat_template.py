"""Run a model's chat template, which is a program from the model's author.

transformers runs it in a sandbox, out of reach of files and attributes, but without a limit of time or memory. So each
template is run once, before it is used, in a forked process that the kernel ends when it takes too much; afterwards it
runs in this process, and what it writes is bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError, brief

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU_SECONDS = 2
"""Processor time of all probes of a template; those of published models take a millisecond each."""
PATIENCE = 60.0
"""Seconds until a probe that was not ended is given up, on a machine that has no time for it; nothing is then said."""
MEMORY = 512 << 20
LONGEST = 64
"""Characters that a template may write for each character of the messages, and 1 MiB besides."""
_TEXT = "What is 12 + 30?"
_PROBES = (
    [("user", _TEXT)],
    [("system", "Answer."), ("user", _TEXT)],
    [("user", _TEXT), ("assistant", "<think>\n12 + 30\n</think>\n42"), ("user", _TEXT * 50)],
)
_TOO_MUCH_MEMORY, _TOO_LONG = 3, 4
_probed: dict[tuple[str, str], str | None] = {}
"""What is wrong with a template, by its text and options; None for nothing."""


class TemplateRefusedError(ToolError):
    """The template does not take these messages, or is not one."""


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any] | None = None,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The messages as text. Raises TemplateRefusedError when the template fails on them, ToolError when it takes more
    than two seconds or 512 MiB, or writes far more than it is given."""
    options = options or {}
    _probe(tokenizer, options)
    try:
        given = {**options, "tools": list(tools)} if tools else options
        text = _run(tokenizer, messages, given, add_generation_prompt)
    except Exception as error:  # a template's own: jinja's errors, and whatever its expressions raise
        reason = brief(" ".join(str(error).split()), quoted=False)
        raise TemplateRefusedError(
            f"{tokenizer.name_or_path}: its chat template fails on {len(messages)} messages "
            f"({', '.join(str(m['role']) for m in messages[:4])}): {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(text, str) or len(text) > _most(messages) + LONGEST * len(str(tools)):
        raise ToolError(_wrong(tokenizer, f"writes more than {LONGEST} times what it is given"))
    return text


def _run(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    add_generation_prompt: bool,
) -> Any:
    return tokenizer.apply_chat_template(
        [dict(m) for m in messages], tokenize=False, add_generation_prompt=add_generation_prompt, **options
    )


def _most(messages: Sequence[Mapping[str, Any]]) -> int:
    return (1 << 20) + LONGEST * sum(len(str(m["content"])) + len(str(m.get("tool_calls", ""))) for m in messages)


def _wrong(tokenizer: PreTrainedTokenizerBase, what: str) -> str:
    return f"{tokenizer.name_or_path}: its chat template {what}; take another model, or fix chat_template"


def _probe(tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any]) -> None:
    """Run the template on short dialogues in a process that can be killed, once for each template and its options."""
    key = (json.dumps(tokenizer.chat_template), json.dumps(options, sort_keys=True, default=str))
    if key not in _probed:
        import jinja2.sandbox  # noqa: F401 - imported before the fork: nothing may be waited for behind it

        _probed[key] = _excess(_in_a_child(tokenizer, options))
    if (what := _probed[key]) is not None:
        raise ToolError(_wrong(tokenizer, what))


def _excess(status: int) -> str | None:
    """What a probe took too much of, by its exit status."""
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _TOO_MUCH_MEMORY:
        return f"takes more than {MEMORY >> 20} MiB for a dialogue of three lines"
    if os.WIFSIGNALED(status):
        return f"takes more than {CPU_SECONDS} s for a dialogue of three lines"
    return f"writes more than {LONGEST} times what it is given" if os.WEXITSTATUS(status) == _TOO_LONG else None


def _in_a_child(tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any]) -> int:
    """The exit status of a child that runs the probes; 0 for one that got no processor time to speak of."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _limit()
            code = _probes(tokenizer, options)
        finally:
            os._exit(code)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.002)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return 0


def _probes(tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any]) -> int:
    for probe in _PROBES:
        messages = [{"role": role, "content": content} for role, content in probe]
        with contextlib.suppress(Exception):  # said of the messages that it fails on
            try:
                text = _run(tokenizer, messages, options, add_generation_prompt=probe[-1][0] == "user")
            except MemoryError:
                return _TOO_MUCH_MEMORY
            if len(text) > _most(messages):
                return _TOO_LONG
    return 0


def _limit() -> None:
    """Let the kernel end this process when it has used its time, and refuse it more memory."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
