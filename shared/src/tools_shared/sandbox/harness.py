"""What happens inside the jail: the program is run as `__main__`, then the calls that the job asks for.

The values of the calls are sent out and compared there: what is expected never enters the jail, so no program can look
it up or say that it was met. Checks (whole statements such as asserts) have to run in here.
"""

from __future__ import annotations

import json
import os
import sys


def run_job(job: dict, results: int) -> None:
    """Run `source`; then each of `calls` (expressions), then `checks` (statements); a JSON line for each to the file
    `results`: `{"value": ...}`, `{"ok": true}` or `{"error": "..."}`."""
    write, dumps, nonce = os.write, json.dumps, job["nonce"]
    space = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(job["source"], "main.py", "exec"), space)
    if not job["calls"] and not job["checks"]:
        return
    for source in job["calls"]:
        try:
            found = {"value": plain(eval(compile(source, "tests", "eval"), space))}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:200]}
        write(results, dumps(found | {"nonce": nonce}).encode() + b"\n")
    for source in job["checks"]:
        try:
            exec(compile(source, "tests", "exec"), space)
            found = {"ok": True}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:200]}
        write(results, dumps(found | {"nonce": nonce}).encode() + b"\n")
    sys.stdout.flush()


def plain(value: object) -> object:
    """A value as JSON that keeps Python's types apart: containers as [name, items], subclasses as what they equal.

    Raises TypeError for anything else: an object's own `==` decides nothing.
    """
    if value is None or isinstance(value, bool | int | float | str):
        base = next(kind for kind in (type(None), bool, int, float, str) if isinstance(value, kind))
        return value if value is None else base(value)
    if isinstance(value, bytes | complex):
        return ["bytes", list(value)] if isinstance(value, bytes) else ["complex", [value.real, value.imag]]
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return [kind.__name__, [plain(item) for item in kind.__iter__(value)]]
    if isinstance(value, dict):
        return ["dict", [[plain(key), plain(item)] for key, item in dict.items(value)]]
    from decimal import Decimal
    from fractions import Fraction

    if isinstance(value, Fraction | Decimal):
        return int(value) if value == int(value) else float(value)
    raise TypeError(f"the value is of type {type(value).__name__}")
