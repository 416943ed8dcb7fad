"""Print the image's software bill of materials as CycloneDX 1.5: Python distributions and Debian packages.

    docker run --rm -i --entrypoint python tools-grpo:cpu - <docker/sbom.py >grpo.json

It reads what pip and dpkg have recorded, so it needs no network and no other program.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any


def python_components() -> Iterator[dict[str, Any]]:
    for found in sorted(metadata.distributions(), key=lambda d: d.name.lower()):
        name, version = found.name, found.version
        licence = found.metadata.get("License-Expression") or found.metadata.get("License")
        entry = component(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}")
        if licence and len(licence) < 80:  # some put the whole text there
            entry["licenses"] = [{"license": {"name": licence}}]
        yield entry


def debian_components() -> Iterator[dict[str, Any]]:
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for line in listed.splitlines():
        name, version, architecture = line.split()
        purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}"
        yield component(name, version, purl)


def component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


if __name__ == "__main__":
    components = [*python_components(), *debian_components()]
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}
    json.dump(bill, sys.stdout, indent=1, ensure_ascii=False)
    print()
