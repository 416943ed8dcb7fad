"""The process behind `symbolic.py`: reads `{"gold", "given"}` lines, writes `{"status"}` lines.

Before the first question the worker compares pairs of every class and refuses to start when a verdict is not the known
one: sympy imports parts of itself late, an import that fails is swallowed by math-verify and reads as "different". What
the pairs have not imported is imported by name; after that nothing is imported.

Only math-verify's LaTeX grammar sees the text. Its other way in, for plain expressions, ends in sympy's
`parse_expr`, which is `eval`; and even the grammar hands its number tokens to `sympy.Number(str)`, which ends
there as well. So `parse_expr` is replaced by a reader of number literals that refuses everything else, and
an audit hook stops this process from starting programs, opening sockets, or opening files for writing.

Run by `symbolic.py` as `python -P -m tools_shared.answers.worker MEMORY_BYTES DEADLINE_S`.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import pkgutil
import re
import resource
import select
import sys
from typing import Any

_LITERAL = re.compile(r"(?:[0-9]{1,500}(?:\.[0-9]{0,500})?|\.[0-9]{1,500})(?:[eE][-+]?[0-9]{1,3})?")
_LATE: tuple[str, ...] = (
    "sympy.physics.units",
    "sympy.solvers",
    "sympy.simplify",
    "sympy.series",
    "sympy.integrals",
    "sympy.concrete",
)
_LATE += ("sympy.calculus", "sympy.sets", "sympy.functions", "sympy.matrices", "sympy.polys", "sympy.ntheory")
"""Packages that sympy imports from inside its functions, each with all its modules."""
WARM_UP = (
    ("\\frac{1}{2}", "\\frac{\\sqrt{4}}{4}", True),
    ("(x+1)^2", "x^2+2x+1", True),
    ("(x+1)^2", "x^2+2x+2", False),
    ("x^2-y^2", "(x-y)(x+y)", True),
    ("\\frac{1}{x}+\\frac{1}{y}", "\\frac{x+y}{xy}", True),
    ("\\sin 2x", "2\\sin x\\cos x", True),
    ("\\sin 2x", "2\\sin x", False),
    ("\\ln 8", "3\\ln 2", True),
    ("2^{n+1}", "2\\cdot 2^n", True),
    ("n!", "n\\cdot(n-1)!", True),
    ("\\binom{n}{2}", "\\frac{n(n-1)}{2}", True),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1&\\sqrt{4}\\\\3&4\\end{bmatrix}", True),
    ("\\{1,2,\\sqrt{8}\\}", "\\{2\\sqrt{2},2,1\\}", True),
    ("(-\\infty,3)\\cup(4,5]", "(-\\infty,3)\\cup(4,5]", True),
    ("x<3", "(-\\infty,3)", True),
    ("-2\\le x\\le 7", "x\\in[-2,7]", True),
    ("2x+4y-3=0", "y=-\\frac{1}{2}x+\\frac{3}{4}", True),
    ("2x+4y-3=0", "y=\\frac{1}{2}x+\\frac{3}{4}", False),
    ("\\sum_{k=1}^{10} k^2", "385", True),
    ("\\int_0^1 x^2 dx", "\\frac{1}{3}", True),
    ("\\sqrt{3+2\\sqrt{2}}", "1+\\sqrt{2}", True),
    ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}", False),
    ("e^{i\\pi}", "-1", True),
)
"""One pair and more of every class of answers, with the verdict that is known."""
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_FORBIDDEN = (
    "import",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "os.spawn",
    "pty.spawn",
    "subprocess.Popen",
)
_FORBIDDEN_PREFIXES = ("socket.", "ctypes.", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "shutil.")


def read_literal(text: str, *_: Any, **__: Any) -> Any:
    """A number literal as an exact sympy number, in the place of `parse_expr`. Raises ValueError on anything else."""
    import sympy

    if not _LITERAL.fullmatch(text.strip()):
        raise ValueError("only number literals are read from strings here")
    return sympy.Rational(text.strip())


def replace_evaluators() -> None:
    """Put `read_literal` wherever sympy or math-verify would evaluate a string."""
    import latex2sympy2_extended.latex2sympy2
    import math_verify.parser
    import sympy.parsing.sympy_parser

    for module in (sympy.parsing.sympy_parser, latex2sympy2_extended.latex2sympy2, math_verify.parser):
        module.parse_expr = read_literal


def compare_exactly() -> None:
    """Put `identities.same` in the place of math-verify's comparison of two values."""
    import math_verify.grader

    from tools_shared.answers import identities

    math_verify.grader.sympy_numeric_eq = identities.same
    math_verify.grader.sympy_symbolic_eq = lambda *_: False


def import_what_comes_late() -> None:
    """Import, while it is allowed, what sympy imports from inside its functions."""
    for name in _LATE:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__, f"{name}."):
            if not module.ispkg and "test" not in module.name and "bench" not in module.name:
                importlib.import_module(module.name)


def warm_up() -> None:
    """Compare the known pairs; raises SystemExit, naming the pair, when a verdict is not the known one."""
    for gold, given, same in WARM_UP:
        verdict = judge(gold, given)
        if verdict != ("correct" if same else "wrong"):
            raise SystemExit(f"the symbolic grader does not work: {gold} and {given} are {verdict} to it")


def forbid_side_effects() -> None:
    """From here on this process computes and answers, nothing else. An audit hook cannot be removed."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in _FORBIDDEN or event.startswith(_FORBIDDEN_PREFIXES):
            raise PermissionError(f"{event} is not allowed in the grading process")

    sys.addaudithook(hook)


def judge(gold: str, given: str) -> str:
    """The verdict on two LaTeX answers, without math-verify's timeouts (SIGALRM): the parent has the clock."""
    from math_verify import verify
    from sympy import Expr

    want, have = _parse(gold), _parse(given)
    if not want:
        return "gold_invalid" if "\\" in gold else "wrong"
    if not have:
        return "unparseable"
    if verify(want, have, timeout_seconds=None):
        return "correct"
    structured = any(not isinstance(part[0], Expr) for part in (want, have))
    return "correct" if structured and verify(have, want, timeout_seconds=None) else "wrong"


def _parse(latex: str) -> list[Any]:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    # Its list of units has letters in it, such as t, which end many an expression in the variable t.
    units = _WORD.search(latex) is not None
    normal = NormalizationConfig(units=units, malformed_operators=True, nits=True)
    how = LatexExtractionConfig(normalization_config=normal)
    return parse(f"${latex}$", [how], fallback_mode="no_fallback", parsing_timeout=None)


def limit_cpu(deadline_s: float) -> None:
    """Let the kernel end this process when one question has used up its processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + deadline_s)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def serve(questions: int, answers: int, deadline_s: float) -> None:
    """Answer lines until the other end closes or the parent is gone (a forked sibling may hold the pipe open)."""
    parent, buffer = os.getppid(), b""
    os.write(answers, b'{"status": "ready"}\n')
    while os.getppid() == parent:
        if not select.select([questions], [], [], 5.0)[0]:
            continue
        chunk = os.read(questions, 65536)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            limit_cpu(deadline_s)
            os.write(answers, json.dumps({"status": _answer(json.loads(line))}).encode() + b"\n")


def _answer(question: dict[str, str]) -> str:
    try:
        return judge(question["gold"], question["given"])
    except MemoryError:
        return "timeout"
    except RecursionError:
        return "unparseable"


def main(memory_bytes: int, deadline_s: float) -> None:
    # What libraries print must not mix with the answers.
    answers, silent = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    logging.disable(logging.CRITICAL)
    import_what_comes_late()
    replace_evaluators()
    compare_exactly()
    warm_up()
    if sys.platform == "linux":  # macOS refuses the limit; the parent's deadline remains
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the limit on processor time would leave a core file
    os.dup2(silent, 2)
    forbid_side_effects()
    serve(0, answers, deadline_s)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
