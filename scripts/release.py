"""Prepare the release of one package: version, changelog, commit and tag, which then agree.

    python scripts/release.py grpo minor            # shows what would change
    python scripts/release.py grpo minor --apply    # changes it, commits, tags grpo-v0.2.0; pushing stays with you

`current` as the part tags the version that is already there: the first release. The changelog's section is what
is under "## Unreleased"; where that is missing, the subjects of the commits since the last tag are proposed.
"""

from __future__ import annotations

import argparse
import datetime
import difflib
import re
import subprocess
import sys
from pathlib import Path

PARTS = ("major", "minor", "patch", "current")
TOOLS = ("dedup", "sft", "grpo", "traces", "scorer", "bench")
VERSION = re.compile(r'^__version__ = "(\d+)\.(\d+)\.(\d+)"$', re.MULTILINE)
UNRELEASED = "## Unreleased"


class Refused(Exception):
    """Why there is nothing to release, in a sentence."""


def package_dir(root: Path, name: str) -> Path:
    return root / name if name == "shared" else root / "tools" / name


def version_file(root: Path, name: str) -> Path:
    return package_dir(root, name) / "src" / f"tools_{name}" / "__init__.py"


def current_version(root: Path, name: str) -> tuple[int, int, int]:
    path = version_file(root, name)
    found = VERSION.search(path.read_text(encoding="utf-8"))
    if found is None:
        raise Refused(f'{path}: has no line __version__ = "X.Y.Z"')
    return int(found[1]), int(found[2]), int(found[3])


def next_version(now: tuple[int, int, int], part: str) -> str:
    major, minor, patch = now
    after = {
        "major": (major + 1, 0, 0),
        "minor": (major, minor + 1, 0),
        "patch": (major, minor, patch + 1),
        "current": now,
    }
    return ".".join(map(str, after[part]))


def git(root: Path, *words: str) -> str:
    """What git says; raises Refused, with git's own words, when it will not."""
    done = subprocess.run(["git", "-C", str(root), *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"git {words[0]}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def commits_since_last_tag(root: Path, name: str) -> list[str]:
    """Subjects of the commits that touched the package since its last tag, newest first."""
    tags = git(root, "tag", "--list", f"{name}-v*", "--sort=-v:refname", "--merged").splitlines()
    span = [f"{tags[0]}..HEAD"] if tags else []
    folder = package_dir(root, name).relative_to(root)
    return git(root, "log", "--no-merges", "--format=%s", *span, "--", str(folder)).splitlines()


def released_changelog(text: str, version: str, day: str, commits: list[str], where: Path) -> str:
    """The changelog with a section for `version`, from "## Unreleased" or else from the commits."""
    heading = f"## {version} ({day})"
    if UNRELEASED in text:
        if not re.search(rf"^{UNRELEASED}\n+(?!## )\S", text, re.MULTILINE):
            raise Refused(f'{where}: nothing is under "{UNRELEASED}"; write there what changed')
        return text.replace(UNRELEASED, heading, 1)
    if not commits:
        raise Refused(f"{where}: no section '{UNRELEASED}', and no commit since the last tag to propose one from")
    title, _, rest = text.partition("\n\n")
    section = "\n".join(f"- {subject}." for subject in commits)
    return f"{title}\n\n{heading}\n\n{section}\n\n{rest}"


def dated_changelog(text: str, version: str, day: str, where: Path) -> str:
    """The changelog with the day in the heading of the version that is already there."""
    dated, count = re.subn(rf"^## {re.escape(version)}$", f"## {version} ({day})", text, flags=re.MULTILINE)
    if not count and not re.search(rf"^## {re.escape(version)} \(", text, re.MULTILINE):
        raise Refused(f"{where}: has no section '## {version}'")
    return dated


def left_behind(root: Path, version: str) -> list[str]:
    """The tools whose range of the core, as `>=a.b,<c.d`, does not hold `version` of it."""
    here = tuple(map(int, version.split(".")[:2]))
    behind = []
    for tool in TOOLS:
        text = (package_dir(root, tool) / "pyproject.toml").read_text(encoding="utf-8")
        low, high = re.search(r"tools-shared\S*?>=(\d+\.\d+),<(\d+\.\d+)", text).groups()
        if not tuple(map(int, low.split("."))) <= here < tuple(map(int, high.split("."))):
            behind.append(f"tools-{tool} (wants >={low},<{high})")
    return behind


def changes(root: Path, name: str, part: str, day: str) -> tuple[str, dict[Path, str]]:
    """The version to release and the new text of each file that changes; raises Refused."""
    now = current_version(root, name)
    version = next_version(now, part)
    tag = f"{name}-v{version}"
    if git(root, "tag", "--list", tag):
        raise Refused(f"the tag {tag} is there already")
    code, log = version_file(root, name), package_dir(root, name) / "CHANGELOG.md"
    text = log.read_text(encoding="utf-8")
    if part == "current":
        new = {log: dated_changelog(text, version, day, log)}
    else:
        new = {
            code: VERSION.sub(f'__version__ = "{version}"', code.read_text(encoding="utf-8")),
            log: released_changelog(text, version, day, commits_since_last_tag(root, name), log),
        }
    return version, {path: content for path, content in new.items() if content != path.read_text(encoding="utf-8")}


def show(root: Path, new: dict[Path, str]) -> None:
    for path, content in new.items():
        short = path.relative_to(root).as_posix()
        old = path.read_text(encoding="utf-8").splitlines(keepends=True)
        sys.stdout.writelines(difflib.unified_diff(old, content.splitlines(keepends=True), short, short))


def _write(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


def apply(root: Path, name: str, version: str, new: dict[Path, str]) -> None:
    """Write the files, commit them alone and tag; raises Refused, the files as they were, when the
    package has changes that are not committed or git does not commit."""
    folder = package_dir(root, name)
    if git(root, "status", "--porcelain", "--", str(folder)):
        raise Refused(f"{folder.relative_to(root)}: has changes that are not committed; commit them first")
    before = {path: path.read_text(encoding="utf-8") for path in new}
    _write(new)
    if new:
        try:
            git(root, "commit", "-m", f"Release tools-{name} {version}", "--", *map(str, new))
        except Refused:
            _write(before)
            raise
    git(root, "tag", "--annotate", f"{name}-v{version}", "-m", f"tools-{name} {version}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", choices=["shared", *TOOLS])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--apply", action="store_true", help="write, commit and tag; without it, only show")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout")
    options = parser.parse_args(arguments)
    try:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        version, new = changes(options.root, options.package, options.part, today)
        show(options.root, new)
        if options.package == "shared" and (behind := left_behind(options.root, version)):
            print(f"left behind, widen their range first: {', '.join(behind)}")
        tag = f"{options.package}-v{version}"
        if options.apply:
            apply(options.root, options.package, version, new)
            print(f"committed and tagged {tag}; to publish: git push origin HEAD {tag}")
        else:
            print(f"would commit this and tag {tag}; nothing has been changed (APPLY=1 or --apply does it)")
    except Refused as reason:
        print(f"Error: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
