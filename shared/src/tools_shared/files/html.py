"""One shell, one palette and one policy for every HTML page that the tools write.

A page is one file that fetches nothing, and the policy in its head forbids that anything is fetched. What models and
rows hold enters as escaped text, or as JSON that a page's own script puts in place as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

PALETTE = """:root {
  color-scheme: light dark;
  --paper: #ffffff; --card: #f6f7f9; --ink: #1a1d21; --soft: #59616b; --line: #d9dde2; --accent: #1f5a96;
  --good: #17693a; --bad: #a8281f; --other: #8a5a00; --mark: #e3edf8; --highlight: #ffe9a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --card: #1c2026; --ink: #e7eaee; --soft: #a0a9b4; --line: #333a43; --accent: #7db7ee;
    --good: #72cf94; --bad: #ff9389; --other: #e6b455; --mark: #24364a; --highlight: #5d4a12;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SERVED = {
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer of a service that serves a page: they hold beside the policy in the page's head."""


def page(title: str, body: str, style: str = "", script: str = "", data: Any = None, *, connects: bool = False) -> str:
    """The whole file. `title` is text; `body`, `style` and `script` are the page's own and stand as they are; a script
    finds `data` as JSON in the element with the id "data". The policy lets this script run, known by its hash, and no
    other; with `connects` the script may ask the server that the page comes from."""
    policy, scripts = _POLICY, ""
    if script:
        script = f"\n{script}"
        policy += f"; script-src '{_fingerprint(script)}'" + "; connect-src 'self'" * connects
        scripts = f'<script type="application/json" id="data">{_inert(data)}</script>\n<script>{script}</script>\n'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{PALETTE}{style}</style>\n</head>\n"
        f"<body>\n{body}\n{scripts}</body>\n</html>\n"
    )


def _fingerprint(script: str) -> str:
    """The script as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _inert(data: Any) -> str:
    """JSON in plain ASCII in which no text can end the script element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
