"""The page of `tools-bench view` in a real browser: found, sorted, compared, and deaf to what models write."""

import re

import pytest
from browser import browser, needs_chromium
from viewing import HOSTILE, ROWS, make_run, viewer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium():
    with browser() as tab:
        yield tab


@pytest.fixture
def root(serve, tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    make_run(serve, folder / "old", "base", {0, 1, 2, 3}, HOSTILE)
    make_run(serve, folder / "new", "tuned", {2, 3, 4}, HOSTILE)
    make_run(serve, folder / "new", "other<b>", {0}, HOSTILE)
    return folder


def listed(tab):
    return tab.texts("#runs tbody th button")


@needs_chromium
def test_search_filter_sort_replies_and_flips(chromium, root):
    tab = chromium
    with viewer(root) as view:
        tab.open("about:blank")
        tab.errors.clear()
        tab.requests.clear()
        tab.open(view.url)
        tab.wait("document.querySelectorAll('#runs tbody tr').length === 3")
        assert "3 of 3 runs, 18 replies" in tab.text("#matching")
        assert tab.text("#none-running") != ""

        tab.click("#runs thead button", 4)  # score: best first, then worst first
        tab.wait("document.querySelector('#runs tbody th').innerText === 'old/base'")
        assert tab.texts("#runs thead th")[4].endswith("\u2193")
        tab.click("#runs thead button", 4)
        tab.wait("document.querySelector('#runs tbody th').innerText.startsWith('new/other')")
        tab.type("#search", "tuned")
        tab.wait("document.querySelectorAll('#runs tbody tr').length === 1")
        assert "1 of 3 runs" in tab.text("#matching")

        tab.click("#runs tbody th button")
        tab.wait("document.querySelectorAll('[data-reply]').length === 6")
        assert HOSTILE in tab.text("[data-reply]")
        assert "3 gained" not in tab.text("#flips")
        tab.choose("#show", "wrong")
        tab.wait("document.querySelectorAll('[data-reply]').length === 3")
        assert [
            ROWS[i]["question"].split()[0] in text for i, text in zip((0, 1, 5), tab.texts("[data-reply]"), strict=True)
        ]
        tab.choose("#show", "all")
        tab.type("#reply-search", "octagon")
        tab.wait("document.querySelectorAll('[data-reply]').length === 1")
        assert "1 found in 6 replies" in tab.text("#replies-found")

        tab.type("#search", "base")
        tab.wait("document.querySelector('#runs tbody th').innerText === 'old/base'")
        tab.click("#runs tbody td button")
        tab.wait("document.querySelectorAll('[data-flip]').length === 3")
        assert tab.text("#flips-between") == "new/tuned against its baseline old/base"
        assert "2 lost and 1 gained of 6 questions" in tab.text("#flips-difference")
        tab.choose("#flip-show", "gained")
        tab.wait("document.querySelectorAll('[data-flip]').length === 1")
        assert ROWS[4]["question"] in tab.text("[data-flip]")
        assert tab.texts("[data-flip] .tag") == ["wrong: wrong", "right"]

        assert tab.run("document.title") == "Runs"
        assert tab.run("document.querySelectorAll('img, iframe, b, main script').length") == 0
        assert all(address.startswith(view.url) for address in tab.requests)
        assert tab.errors == []


@needs_chromium
def test_dark_narrow_and_the_token(chromium, root):
    tab = chromium
    with viewer(root, "--host", "0.0.0.0") as view:
        address = f"http://127.0.0.1:{view.port}/"
        tab.open(address)
        tab.errors.clear()
        tab.wait("document.querySelector('#summary').innerText.includes('token is missing')")
        tab.run(f"location.hash = 'token={view.token}'; location.reload()")
        tab.wait("document.querySelectorAll('#runs tbody tr').length === 3")
        assert tab.run("location.href") == address  # the token is not left in the address bar
        light = tab.run("getComputedStyle(document.body).backgroundColor")
        tab.dark()
        dark = tab.run("getComputedStyle(document.body).backgroundColor")
        tab.dark(False)
        assert [sum(map(int, re.findall(r"\d+", color)[:3])) > 384 for color in (light, dark)] == [True, False]
        tab.click("#runs tbody th button")
        tab.wait("document.querySelectorAll('[data-reply]').length === 6")
        for width in (390, 1280):
            tab.resize(width)
            assert tab.run("document.documentElement.scrollWidth") <= width
        assert not [error for error in tab.errors if "401" not in error]


@needs_chromium
def test_pages_of_replies_and_runs_that_come_and_go(chromium, root, serve):
    tab = chromium
    with viewer(root) as view:
        tab.open(view.url)
        tab.wait("document.querySelectorAll('#runs tbody tr').length === 3")
        make_run(serve, root / "late", "fresh", {1})
        tab.wait("document.querySelectorAll('#runs tbody tr').length === 4")
        tab.click("#runs tbody th button")
        tab.wait("document.querySelector('#run-name').innerText === 'late/fresh'")
        assert "accuracy" in tab.text("#run-metrics")
        assert "model_name" in tab.text("#run-options")
    tab.wait("document.querySelector('#summary').innerText.includes('does not answer')")
