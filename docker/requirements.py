"""Print a package's third-party dependencies, so that an image can install them in a layer below our own code.

    python requirements.py tools/sft/pyproject.toml shared/pyproject.toml
    python requirements.py shared/pyproject.toml shared/pyproject.toml tables

A tool's `tools-shared[hub,models]` is replaced by what the core and these extras of it need.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path


def third_party(pyproject: Path, core: Path, extras: Iterable[str] = ()) -> Iterator[str]:
    """Requirement lines of `pyproject` with `extras`, those of the core (`core` is its pyproject.toml) among them."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional = project.get("optional-dependencies", {})
    for line in [*project["dependencies"], *(line for extra in extras for line in optional[extra])]:
        own = re.match(r"tools-\w+(?:\[([\w,-]*)\])?", line)
        if own:
            yield from third_party(core, core, (own[1] or "").split(",") if own[1] else ())
        else:
            yield line


if __name__ == "__main__":
    tool, shared, *names = sys.argv[1:]
    sys.stdout.write("".join(f"{line}\n" for line in dict.fromkeys(third_party(Path(tool), Path(shared), names))))
