"""The page that `tools-bench view` serves: one file without data, which its script asks for."""

from __future__ import annotations

from pathlib import Path

from tools_bench.report.curves import charting
from tools_bench.report.page import HERE as REPORT
from tools_shared.files import html

HERE = Path(__file__).parent


def view_page() -> str:
    """The whole page, in the report's style and with its curves."""
    body, style, *scripts = (_text(HERE / name) for name in ("page.html", "view.css", "view.js", "detail.js"))
    library, look = charting()
    script = '"use strict";\n' + library + "".join(scripts)
    return html.page("Runs", body, _text(REPORT / "page.css") + look + style, script, connects=True)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
