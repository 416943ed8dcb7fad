"""What the documents tell a reader to type is understood, and what they point to is there."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout.split()
]
BLOCK = re.compile(r"^```(?:bash|sh|console)?\n(.*?)^```$", re.S | re.M)
CALL = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(tools-(?:dedup|sft|grpo|traces|scorer|bench)) (.*)$")
MAKE = re.compile(r"^(?:\$ )?make ([a-z][a-z0-9_/-]*)")


def lines(document: Path) -> list[str]:
    """The lines of its shell blocks, those that go on with a backslash put together."""
    blocks = BLOCK.findall(document.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def calls() -> list:
    found = [
        (document, match[1], match[2])
        for document in DOCUMENTS
        if document.parent.name != "tutorials"  # test_tutorials.py runs those
        for line in lines(document)
        if (match := CALL.match(line))
    ]
    return [pytest.param(tool, words, id=f"{doc.relative_to(ROOT)}:{i}") for i, (doc, tool, words) in enumerate(found)]


def typed(words: str) -> list[str]:
    """The arguments, without what the shell takes and without the dots that stand for those of the line before."""
    return shlex.split(re.sub(r" [|>&#].*", "", words).replace("... ", ""))


def understand(command: click.Command, name: str, words: list[str], parent: click.Context | None = None) -> None:
    """Parse `words` down to the last subcommand without running it; raises click's UsageError."""
    context = command.make_context(name, words, parent=parent)
    left = [*context._protected_args, *context.args]
    if isinstance(command, click.Group) and left:
        inner_name, inner, rest = command.resolve_command(context, left)
        understand(inner, inner_name, rest, context)


@pytest.mark.parametrize(("tool", "words"), calls())
def test_a_documented_command_is_understood(tool, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    main = importlib.import_module(tool.replace("-", "_") + ".cli").main
    if re.search(r"--(help|version)\b", words):
        with pytest.raises(click.exceptions.Exit):
            understand(main, tool, words.split())
    else:
        understand(main, tool, typed(words))


@pytest.fixture(scope="module")
def targets() -> set[str]:
    database = subprocess.run(["make", "-pRrq", "help"], cwd=ROOT, text=True, capture_output=True, check=False).stdout
    return set(re.findall(r"^([a-z][\w-]*):", database, re.M))


def anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.S | re.M), re.M
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_and_links_are_there(document, targets):
    named = {match[1] for line in lines(document) if (match := MAKE.match(line))}
    assert named <= targets
    linked = re.findall(r"\]\(([^)#:\s]*)(#[^)\s]*)?\)", document.read_text(encoding="utf-8"))
    assert [target for target, _ in linked if not (document.parent / target).exists()] == []
    pages = [(document.parent / target if target else document, anchor[1:]) for target, anchor in linked if anchor]
    assert [(page, anchor) for page, anchor in pages if anchor not in anchors(page)] == []


def test_the_site_builds_without_a_dead_link_and_loads_nothing_from_elsewhere(tmp_path):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {str(page.relative_to(tmp_path / "site")): page.read_text() for page in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "tools/grpo.html", "tutorials/first-run.html", "not-run-yet.html"} <= set(pages)
    loaded = re.compile(
        r'<(?:script|img|iframe|link rel="(?:stylesheet|preconnect|preload)")[^>]*(?:src|href)="(?:https?:)?//'
    )
    assert [name for name, page in pages.items() if loaded.search(page)] == []
