"""Functions with docstrings from the packages of this Python, as a background of clean code for `calibrate`.

python tools/dedup/tests/benchmarks/library_functions.py OUT.jsonl 4000
"""

import ast
import json
import random
import sys
import sysconfig
import textwrap
from pathlib import Path


def functions(path: Path, most: int = 3) -> list[str]:
    """Up to three functions of 8 to 40 lines with a docstring."""
    try:
        source = path.read_text(encoding="utf-8")
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    except (OSError, ValueError, SyntaxError):
        return []
    lines = source.splitlines()
    chosen = [n for n in nodes if ast.get_docstring(n) and 8 <= n.end_lineno - n.lineno <= 40][:most]
    return [textwrap.dedent("\n".join(lines[n.lineno - 1 : n.end_lineno])) for n in chosen]


def main(out: str, wanted: str) -> None:
    paths = sysconfig.get_paths()
    files = sorted(f for name in ("stdlib", "purelib") for f in Path(paths[name]).rglob("*.py") if "test" not in str(f))
    random.Random(1).shuffle(files)
    found: dict[str, None] = {}
    for file in files:
        found |= dict.fromkeys(functions(file))
        if len(found) >= int(wanted):
            break
    Path(out).write_text("".join(json.dumps({"text": text}) + "\n" for text in list(found)[: int(wanted)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
