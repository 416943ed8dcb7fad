"""MkDocs hook: the READMEs of the repository as pages of the site.

A README has one home, beside its code, where its relative links are right. Here it becomes a page, and links between
pages, README or not, are rewritten to the page's own place. A link to a file that is no page of the site keeps its
text and loses its address, as the site may be read without the checkout.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
TOOLS = ("dedup", "sft", "grpo", "traces", "scorer", "bench")
PAGES = {f"tools/{tool}/README.md": f"tools/{tool}.md" for tool in TOOLS}
PAGES |= {"shared/README.md": "tools/core.md", "docker/README.md": "images.md", "CONTRIBUTING.md": "contributing.md"}
PAGES |= {"README.md": "index.md"}
IMAGES = {"tools/dedup/docs/report.png": "images/dedup-report.png"}
GENERATED = {page: readme for readme, page in PAGES.items() if readme != "README.md"}
LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(([^)#:\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```.*?^```$", re.S | re.M)


def on_files(files, config):
    """Add the READMEs, and the images that they show, to the files of docs/."""
    for page, readme in GENERATED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / readme)))
    for image, place in IMAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / image)))
    return files


def on_page_markdown(markdown, page, config, files):
    """The page with the links of its source, a path in the repository, turned into links of the site."""
    source = GENERATED.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pieces, end = [], 0
    for fence in FENCE.finditer(markdown):
        pieces += [rewritten(markdown[end : fence.start()], source, page.file.src_uri), fence[0]]
        end = fence.end()
    return "".join([*pieces, rewritten(markdown[end:], source, page.file.src_uri)])


def rewritten(text: str, source: str, page: str) -> str:
    """`text` of the file `source` (a path in the repository) as it belongs on `page` (a path in docs/)."""

    def link(match: re.Match) -> str:
        mark, words, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        in_docs = path.removeprefix("docs/") if path.startswith("docs/") else None
        place = PAGES.get(path) or IMAGES.get(path) or in_docs
        if place is None:
            return words
        return f"{mark}[{words}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor})"

    return LINK.sub(link, text)
