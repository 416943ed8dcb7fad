"""The dashboard in a browser, used as a person uses it: by clicks, by typing and by keys."""

import json

import pytest
from browser import browser, needs_chromium
from click.testing import CliRunner
from dashboard import made_runs

from tools_bench.cli import main
from tools_bench.report.page import page_data, render

pytestmark = needs_chromium
ROWS = 10_000
BAD = "document.title='owned'"
ATTACK = f'</script><script>{BAD}</script><img src=http://127.0.0.1:9/x onerror="{BAD}"><style>@import "//e.x"</style>'
OUTCOMES = "[...document.querySelectorAll('#list .tag')].map((e) => e.innerText)"


@pytest.fixture(scope="module")
def chromium():
    with browser() as tab:
        yield tab


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a page's data in a window of 1,280 pixels in light colours, nothing noted yet."""

    def show(entries, change=lambda data: None):
        data = page_data(entries, None)
        change(data)
        path = tmp_path / "r.html"
        path.write_text(render(data, "A page"))
        chromium.ask("Emulation.setEmulatedMedia", features=[])
        chromium.resize(1280)
        chromium.errors.clear()
        chromium.requests.clear()
        chromium.open(path.as_uri())
        return chromium

    return show


def test_ten_thousand_rows_filtered_searched_flipped_and_turned(opened):
    before, after = made_runs(2, ROWS)
    tab = opened([before, after])
    good = [[e["good"] for e in run.examples] for run in (before, after)]
    assert tab.run("document.getElementById('run').value") == after.name
    assert tab.text("#found") == f"{ROWS} of {ROWS}"
    assert len(tab.texts("#list li")) == 50

    flips = [i for i in range(ROWS) if good[0][i] != good[1][i]]
    tab.choose("#filter", "flips")
    assert tab.text("#found") == f"{len(flips)} of {ROWS}"
    assert tab.texts("#list li small") == [f"question {i}" for i in flips[:50]]
    sides = tab.texts("#detail .two h3")
    assert sides == [f"{before.name} (baseline)", after.name]
    assert sorted(tab.texts("#detail .two .tag")) == ["correct", "wrong"]
    tab.choose("#filter", "lost")
    assert tab.text("#found") == f"{sum(good[0][i] and not good[1][i] for i in range(ROWS))} of {ROWS}"

    tab.choose("#filter", "all")
    tab.type("#search", "QUESTION 9876:")
    assert tab.texts("#list li small") == ["question 9876"]
    assert "Question 9876:" in tab.text("#detail pre")
    assert tab.text("#page") == "1 / 1"
    tab.type("#search", "no such words")
    assert (tab.text("#found"), tab.text("#detail")) == (f"0 of {ROWS}", "Nothing here matches.")
    tab.type("#search", "")

    tab.click("#next")
    tab.click("#next")
    assert tab.text("#page") == f"3 / {ROWS // 50}"
    assert tab.texts("#list li small")[0] == "question 100"
    tab.click("#previous")
    assert tab.texts("#list li small")[0] == "question 50"
    assert tab.errors == []


def test_keys_walk_through_the_list(opened):
    tab = opened(made_runs(2, 120))
    tab.click("#list li", 3)
    assert tab.run("document.querySelector('#list [aria-selected=true] small').innerText") == "question 3"
    tab.run("document.querySelectorAll('#list li')[3].focus()")
    tab.press("ArrowDown", "ArrowDown", "ArrowUp", "ArrowDown")
    assert tab.run("document.activeElement.querySelector('small').innerText") == "question 5"
    assert tab.text("#detail pre").startswith("Question 5:")
    tab.press("Tab", "Enter")
    assert tab.text("#detail pre").startswith("Question 6:")


def test_headings_sort_and_what_is_missing_comes_last(opened):
    runs = made_runs(5, 40)
    for run, rate in zip(runs, (0.5, 0.9, 0.1, 0.7, None), strict=True):
        run.metrics = {"accuracy": {"estimate": rate, "low": 0, "high": 1, "n": 40}} if rate is not None else {}
    tab = opened(runs)
    order = "[...document.querySelectorAll('#leaderboard tbody th')].map((e) => e.innerText.split('\\n')[0].slice(-1))"
    assert tab.run(order) == ["1", "3", "0", "2", "4"]
    tab.click("#leaderboard thead button", 1)
    assert tab.run(order) == ["2", "0", "3", "1", "4"]
    assert tab.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
    tab.press("Enter")
    assert tab.run(order) == ["1", "3", "0", "2", "4"]
    tab.click("#leaderboard thead button", 0)
    assert tab.run(order) == ["0", "1", "2", "3", "4"]


def test_a_thousand_runs_are_shown_in_parts(opened):
    tab = opened(made_runs(1000, 3))
    assert len(tab.texts("#leaderboard tbody tr")) == 200
    tab.click("#leaderboard .more")
    assert len(tab.texts("#leaderboard tbody tr")) == 400
    assert tab.text("#leaderboard .more") == "Show 200 more (400 of 1000 shown)"
    assert tab.errors == []


def test_dark_follows_the_system(opened):
    tab = opened(made_runs(2, 20))
    colours = "[document.body, document.querySelector('.panel')].map((e) => getComputedStyle(e).backgroundColor)"
    assert tab.run(colours) == ["rgb(255, 255, 255)", "rgb(246, 247, 249)"]
    tab.dark()
    assert tab.run(colours) == ["rgb(20, 23, 27)", "rgb(28, 32, 38)"]


@pytest.mark.parametrize("width", [1280, 760, 390])
def test_nothing_is_wider_than_the_window(opened, width):
    def tell_curves(data):
        name = data["runs"][0]["name"]
        data["curves"] = {
            name: {"columns": {"a_very_long_name_of_a_column_of_metrics": {"step": [1, 2], "value": [1, 2]}}}
        }

    tab = opened(made_runs(12, 30), tell_curves)
    tab.resize(width)
    tab.wait("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(() => r(true))))")
    assert tab.run("document.documentElement.scrollWidth") <= width
    tab.wait(f"document.querySelector('#lineage svg').getBoundingClientRect().right <= {width}")
    cut = (
        "[...document.querySelectorAll('svg text')].filter((t) => {"
        "const r = t.getBoundingClientRect(), s = t.ownerSVGElement.getBoundingClientRect();"
        "return r.right > s.right + 1 || r.left < s.left - 1; }).map((t) => t.textContent)"
    )
    assert tab.run(cut) == []


def test_what_models_write_stays_text_and_nothing_leaves_the_page(serve, chromium, tmp_path):
    for name in ("plain", ATTACK):
        text = f"{ATTACK} <SOLUTION>25</SOLUTION>"
        reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        asked = serve(lambda path, body, number, reply=reply: (200, reply, {}))
        words = ["run", "--model-name", name, "--endpoint", f"{asked.url}/v1", "--suite", "quick", "--output-dir"]
        done = CliRunner().invoke(main, [*words, str(tmp_path / "runs" / str(len(name)))], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    path = tmp_path / "r.html"
    words = ["report", str(tmp_path / "runs"), "--output-file", str(path), "--title", ATTACK]
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    chromium.requests.clear()
    chromium.errors.clear()
    chromium.open(path.as_uri())
    for value in ("flips", "lost", "wrong", "truncated", "errors", "all"):
        chromium.choose("#filter", value)
    chromium.click("#list li", 2)
    assert ATTACK in chromium.text("#detail .two")
    assert chromium.run("document.title") == ATTACK
    assert chromium.run("document.querySelectorAll('img, iframe, link').length") == 0
    assert chromium.requests == [path.as_uri()]
    assert chromium.errors == []
    # Were markup to get in after all, the policy would not let it run or load.
    chromium.run(
        f"{{ const s = document.createElement('script'); s.text = {json.dumps(BAD)}; document.body.append(s);"
        f"document.body.insertAdjacentHTML('beforeend', {json.dumps(ATTACK)}); }}"
    )
    chromium.wait("new Promise((r) => setTimeout(() => r(true), 200))")
    assert chromium.run("document.title") == ATTACK
    assert sorted(chromium.refused) == sorted(chromium.requests[1:])
    assert len(chromium.refused) == 2
    assert any("Content Security Policy" in told for told in chromium.errors)
