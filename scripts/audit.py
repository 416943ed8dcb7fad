"""Known vulnerabilities of the pinned versions, from the registry that pip is configured for.

    python scripts/audit.py constraints.txt

The registry is asked for `pypi/NAME/VERSION/json`, PyPI's JSON API, beside its simple index. Exit 1 for a known
vulnerability, and for a package that the registry says nothing about: not known is not passed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

SECONDS = 30


def index_url() -> str:
    """The simple index that pip uses: its configuration, by environment or file, else its own default."""
    for key in (":env:.index-url", "install.index-url", "global.index-url"):
        words = [sys.executable, "-m", "pip", "config", "get", key]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    from pip._internal.models.index import PyPI

    return PyPI.simple_url


def json_url(index: str, name: str, version: str) -> str:
    """Where the facts of a release are, beside a simple index (`.../simple`)."""
    parts = urlsplit(index)
    root = re.sub(r"(/\+simple|/simple)?/*$", "", parts.path)
    return urlunsplit(parts._replace(path=f"{root}/pypi/{name}/{version}/json"))


def pins(path: Path) -> list[tuple[str, str]]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#+]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return sorted({(name.lower().replace("_", "-"), version) for name, version in found})


def ask(index: str, name: str, version: str) -> list[str] | None:
    """The ids of a release's vulnerabilities; None where the registry does not tell."""
    url = json_url(index, name, version)
    if not url.startswith(("https://", "http://")):
        return None
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as reply:  # noqa: S310 - the scheme is checked
            told = json.load(reply).get("vulnerabilities")
    except (urllib.error.URLError, TimeoutError, ValueError, AttributeError):
        return None
    if not isinstance(told, list):
        return None
    return [str(one.get("id")) for one in told if isinstance(one, dict) and not one.get("withdrawn")]


def main() -> int:
    index, found, unknown = index_url(), [], []
    wanted = pins(Path(sys.argv[1]))
    for name, version in wanted:
        told = ask(index, name, version)
        if told is None:
            unknown.append(f"{name} {version}")
        found += [f"{name} {version}: {one}" for one in told or ()]
        if len(unknown) == 5 and not found and name == wanted[4][0]:
            print("the registry tells of no vulnerabilities (it has no JSON API); set PIP_INDEX_URL to one that does")
            return 1
    print("\n".join(found) or "no known vulnerability")
    if unknown:
        print(f"not known to the registry: {', '.join(unknown)}")
    print(f"{len(wanted)} packages, {len(found)} vulnerabilities, {len(unknown)} not known")
    return 1 if found or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
