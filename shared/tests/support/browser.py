"""A real browser for tests of pages: Chromium, told what to do over the DevTools protocol, as a person would do it.

It clicks where things are on the screen, types keys, and remembers every request and every error of a page.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync "
    "--disable-extensions --disable-background-networking --disable-component-update --hide-scrollbars "
    "--remote-debugging-port=0 --window-size=1280,900 about:blank"
).split()
PATIENCE = 60.0
"""Seconds that a page gets to become what a test waits for; machines under load are slow."""
KEYS = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32, "Escape": 27}

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine")
"""Put on tests with a browser; `.ci/run` installs one where it can."""


class Browser:
    """One tab. `requests` are the addresses that pages asked for, `refused` those that the page's policy stopped before
    anything was sent, and `errors` what pages threw and what the browser refused, in words."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.number = 0
        self.requests: list[str] = []
        self.refused: list[str] = []
        self._asked: dict[str, str] = {}
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call one method of the protocol; events that come before its answer are noted."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=PATIENCE))
            if message.get("id") == self.number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self._asked[parameters["requestId"]] = parameters["request"]["url"]
            self.requests.append(parameters["request"]["url"])
        elif message.get("method") == "Network.loadingFailed" and parameters.get("blockedReason") == "csp":
            self.refused.append(self._asked[parameters["requestId"]])
        elif message.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])

    def open(self, url: str) -> None:
        """Load a page and wait until its scripts have run."""
        self.ask("Page.navigate", url=url)
        self.wait(f"location.href.split('#')[0] === {json.dumps(url)} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        told = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, f"{script}: {told['exceptionDetails']}"
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = PATIENCE) -> Any:
        """Wait until an expression is true; returns its value."""
        return _until(lambda: self.run(script), script, seconds)

    def text(self, selector: str) -> str:
        """What a person reads in an element."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def texts(self, selector: str) -> list[str]:
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.innerText)")

    def place(self, selector: str, at: int = 0) -> tuple[float, float]:
        """The middle of the `at`-th element of a selector, scrolled into the window. Fails where another covers it."""
        x, y, on_top = self.run(
            f"(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{at}];"
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect();"
            "const x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);"
            "return [x, y, e.contains(top) || (top !== null && top.contains(e))]; })()"
        )
        assert on_top, f"{selector} [{at}] is covered by something else"
        return x, y

    def click(self, selector: str, at: int = 0) -> None:
        x, y = self.place(selector, at)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, selector: str, across: float = 0.5, at: int = 0) -> None:
        """Move the pointer over an element, `across` of its width from the left."""
        self.place(selector, at)
        x, y, width, height = self.run(
            f"(() => {{ const r = document.querySelectorAll({json.dumps(selector)})[{at}].getBoundingClientRect();"
            "return [r.x, r.y, r.width, r.height]; })()"
        )
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + across * width, y=y + height / 2)

    def press(self, *names: str) -> None:
        """Press keys by name (`KEYS`) where the focus is."""
        for name in names:
            key = {"key": name, "windowsVirtualKeyCode": KEYS[name], "text": {"Enter": "\r", " ": " "}.get(name, "")}
            self.ask("Input.dispatchKeyEvent", type="keyDown" if key["text"] else "rawKeyDown", **key)
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=KEYS[name])

    def type(self, selector: str, text: str) -> None:
        """Click into a field, clear it and type."""
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.ask("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list by typing: a list that is open is drawn by the system, outside the page."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        options = f"[...document.querySelector({json.dumps(selector)}).options].map((o) => o.value)"
        wanted = self.run(options).index(value)
        now = self.run(f"document.querySelector({json.dumps(selector)}).selectedIndex")
        self.press(*["ArrowDown" if wanted > now else "ArrowUp"] * abs(wanted - now))
        assert self.run(f"document.querySelector({json.dumps(selector)}).value") == value

    def dark(self, on: bool = True) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def resize(self, width: int, height: int = 900) -> None:
        """The size of the page's window in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.wait(f"window.innerWidth === {width} && new Promise((r) => requestAnimationFrame(() => r(true)))")

    def picture(self, path: Path, selector: str | None = None, whole: bool = False) -> Path:
        """A PNG of the window, of one element, or of the whole page."""
        more: dict[str, Any] = {}
        if selector is not None or whole:
            x, y, width, height = self.run(
                f"(() => {{ const r = document.querySelector({json.dumps(selector or 'html')}).getBoundingClientRect();"
                "return [r.x + scrollX, r.y + scrollY, r.width, r.height]; })()"
            )
            more = {"clip": {"x": x, "y": y, "width": width, "height": height, "scale": 1}}
        told = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=bool(more), **more)
        path.write_bytes(base64.b64decode(told["data"]))
        return path


@contextmanager
def browser() -> Iterator[Browser]:
    """A new Chromium with a profile of its own, ended and cleared away afterwards."""
    assert CHROMIUM is not None, "install Chromium (apt-get install chromium): CI runs these tests"
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    command = [CHROMIUM, f"--user-data-dir={profile}", *FLAGS]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with connect(_address(profile), max_size=None, proxy=None, ping_interval=None) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)
            shutil.rmtree(profile, ignore_errors=True)


def _address(profile: Path) -> str:
    """Where the first tab listens, from the file in which Chromium notes its port."""
    import urllib.request

    note = profile / "DevToolsActivePort"
    port = _until(lambda: note.exists() and note.read_text().partition("\n")[0], "Chromium's port", PATIENCE)

    def first() -> str | None:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/json") as got:
            tabs = json.load(got)
        return next((tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"), None)

    return _until(first, "Chromium's first tab", PATIENCE)


def _until(found: Callable[[], Any], what: str, seconds: float) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for: {what}"
        time.sleep(0.05)
    return value
