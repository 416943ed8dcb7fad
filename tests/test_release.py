"""Version, changelog and tag agree, and `make release` prepares them so without touching anything unless asked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["shared", "dedup", "sft", "grpo", "traces", "scorer", "bench"]


def folder_of(name: str, root: Path = ROOT) -> Path:
    return root / name if name == "shared" else root / "tools" / name


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout


def version_at(name: str, revision: str) -> str:
    path = f"{folder_of(name).relative_to(ROOT)}/src/tools_{name}/__init__.py"
    return re.search(r'__version__ = "(.+)"', git(ROOT, "show", f"{revision}:{path}"))[1]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_newest_section_of_the_changelog_is_the_version(name):
    version = re.search(
        r'__version__ = "(.+)"', (folder_of(name) / "src" / f"tools_{name}" / "__init__.py").read_text()
    )[1]
    headings = re.findall(r"^## (\S+)", (folder_of(name) / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == version


@pytest.mark.parametrize("name", PACKAGES)
def test_every_tag_names_the_version_and_changelog_of_its_commit(name):
    for tag in git(ROOT, "tag", "--list", f"{name}-v*").split():
        version = tag.removeprefix(f"{name}-v")
        assert version_at(name, tag) == version
        changelog = git(ROOT, "show", f"{tag}:{folder_of(name).relative_to(ROOT)}/CHANGELOG.md")
        assert re.search(rf"^## {re.escape(version)}\b", changelog, re.MULTILINE)


@pytest.fixture
def checkout(tmp_path):
    """A small repository with the packages' versions and changelogs as they stand here."""
    for name in PACKAGES:
        source, target = folder_of(name), folder_of(name, tmp_path)
        (target / "src" / f"tools_{name}").mkdir(parents=True)
        for path in ("pyproject.toml", "CHANGELOG.md", f"src/tools_{name}/__init__.py"):
            shutil.copy(source / path, target / path)
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "Someone")
    git(tmp_path, "config", "user.email", "someone@example.org")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Begin")
    return tmp_path


def release(root: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "release.py", *words, "--root", root],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_dry_release_shows_all_and_changes_nothing(checkout):
    done = release(checkout, "grpo", "minor")
    assert done.returncode == 0, done.stderr
    assert '+__version__ = "0.3.0"' in done.stdout
    assert re.search(r"^\+## 0\.3\.0 \(\d{4}-\d\d-\d\d\)$", done.stdout, re.MULTILINE)
    assert "would commit this and tag grpo-v0.3.0" in done.stdout
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "tag") == ""


def test_an_applied_release_commits_and_tags_what_it_showed(checkout):
    log = folder_of("grpo", checkout) / "CHANGELOG.md"
    log.write_text(log.read_text().replace("\n\n", "\n\n## Unreleased\n\n- Sample faster.\n\n", 1))
    git(checkout, "commit", "-qam", "Sample faster")
    done = release(checkout, "grpo", "patch", "--apply")
    assert done.returncode == 0, done.stderr
    assert git(checkout, "tag").split() == ["grpo-v0.2.1"]
    assert '__version__ = "0.2.1"' in git(checkout, "show", "grpo-v0.2.1:tools/grpo/src/tools_grpo/__init__.py")
    assert re.search(r"## 0\.2\.1 \(.+\)\n\n- Sample faster\.\n\n## 0\.2\.0", log.read_text())
    assert git(checkout, "status", "--porcelain") == ""
    again = release(checkout, "grpo", "current")
    assert again.returncode == 1
    assert again.stderr == "Error: the tag grpo-v0.2.1 is there already\n"


def test_commits_since_the_last_tag_are_proposed(checkout):
    assert release(checkout, "sft", "current", "--apply").returncode == 0
    code = folder_of("sft", checkout) / "src" / "tools_sft" / "__init__.py"
    code.write_text(code.read_text() + "\n")
    git(checkout, "commit", "-qam", "Pack tighter")
    done = release(checkout, "sft", "minor")
    assert "+- Pack tighter.\n" in done.stdout
    assert "Begin" not in done.stdout


def test_nothing_to_release_is_refused(checkout):
    assert release(checkout, "sft", "current", "--apply").returncode == 0
    done = release(checkout, "sft", "minor")
    assert done.returncode == 1
    assert "no commit since the last tag" in done.stderr


def test_uncommitted_changes_are_refused(checkout):
    code = folder_of("sft", checkout) / "src" / "tools_sft" / "__init__.py"
    code.write_text(code.read_text() + "\n")
    done = release(checkout, "sft", "minor", "--apply")
    assert done.returncode == 1
    assert "tools/sft: has changes that are not committed" in done.stderr
    assert git(checkout, "tag") == ""


def test_a_commit_that_git_refuses_changes_nothing(checkout):
    hook = checkout / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2\nexit 1\n")
    hook.chmod(0o755)
    done = release(checkout, "sft", "minor", "--apply")
    assert (done.returncode, done.stderr) == (1, "Error: git commit: not on a Friday\n")
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "tag") == ""


def test_a_core_that_leaves_tools_behind_says_which(checkout):
    assert "left behind" not in release(checkout, "shared", "patch").stdout
    assert "tools-grpo (wants >=0.2,<0.3)" in release(checkout, "shared", "minor").stdout


@pytest.mark.parametrize("words", [[], ["TOOL=grpo"], ["TOOL=nothing", "PART=minor"]])
def test_make_release_says_what_it_needs(words):
    done = subprocess.run(["make", "-s", "release", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "TOOL=grpo PART=minor" in done.stderr or "invalid choice" in done.stderr
