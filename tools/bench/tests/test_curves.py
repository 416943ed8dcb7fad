"""Training curves: what is read from a run's history, and what a browser draws of it."""

import hashlib
import itertools
import json
import math
from importlib.resources import files

import pytest
from browser import browser, needs_chromium
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_bench.report.curves import MOST_COLUMNS, charting, thinned
from tools_bench.report.history import read_curves
from tools_shared.files import html

UPLOT = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
"""The files of the npm package uplot 1.6.32, as they are published."""


def logged(folder, rows):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_library_is_the_published_one_with_its_licence():
    folder = files("tools_bench.report") / "uplot"
    assert {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()} == UPLOT
    script, style = charting()
    assert "Copyright (c) 2022 Leon Sorokin" in script
    assert "</script" not in script.lower()
    assert len(script) + len(style) < 200_000


def test_names_order_and_what_is_no_curve(tmp_path):
    row = {"seconds": 1.5, "epoch": 0.1, "num_tokens": 900, "frac_reward_zero_std": 0.25, "reward": 0.5, "ratio": 2}
    found = read_curves(logged(tmp_path / "run", [{"step": 10, **row, "ok": True}, {"step": 20, "loss": 0.125}]))
    assert list(found["columns"].items()) == [
        ("loss", {"step": [20], "value": [0.125]}),
        ("reward", {"step": [10], "value": [0.5]}),
        ("zero_variance_share", {"step": [10], "value": [0.25]}),
        ("ratio", {"step": [10], "value": [2.0]}),
    ]


def test_a_resumed_run_a_torn_line_and_values_that_are_not_finite(tmp_path):
    losses = [(1, 4.0), (2, 9.0), (3, math.nan), (2, 3.0), (3, math.nan), (4, math.inf), (5, 1.0)]
    run = logged(tmp_path / "run", [{"step": step, "loss": loss} for step, loss in losses])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    found = read_curves(run)
    assert found["columns"]["loss"] == {"step": [1, 2, 5], "value": [4.0, 3.0, 1.0]}
    assert found["notes"] == {"loss": "not finite at 2 steps, first at step 3"}


def test_a_step_that_is_trained_again_is_no_longer_said_to_be_broken(tmp_path):
    losses = [(1, 4.0), (2, math.nan), (3, math.nan), (2, 3.0), (3, 1 / 3)]
    found = read_curves(logged(tmp_path / "run", [{"step": step, "loss": loss} for step, loss in losses]))
    assert found["columns"]["loss"] == {"step": [1, 2, 3], "value": [4.0, 3.0, 0.333333]}
    assert found["notes"] == {}


def test_nothing_logged_and_more_columns_than_a_page_shows(tmp_path):
    (tmp_path / "empty").mkdir()
    assert read_curves(tmp_path / "empty") is None
    parts = {f"part_{i:02d}": i for i in range(30)}
    rows = [{"step": 1, **parts}, {"step": 2, **parts, "part_29": 0, "rewards/style/mean": 1}]
    found = read_curves(logged(tmp_path / "wide", rows))
    assert (len(found["columns"]), found["left_out"]) == (MOST_COLUMNS, 31 - MOST_COLUMNS)
    assert list(found["columns"])[:3] == ["rewards/style/mean", "part_00", "part_01"]


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=900), st.integers(4, 120))
def test_thinning_keeps_the_ends_the_extremes_and_the_order(values, most):
    kept = thinned(values, most)
    assert len(kept) <= most
    assert all(a < b for a, b in itertools.pairwise(kept))
    chosen = [values[i] for i in kept]
    assert (min(chosen), max(chosen), chosen[0], chosen[-1]) == (min(values), max(values), values[0], values[-1])


def test_a_peak_of_one_step_in_a_long_run_is_kept(tmp_path):
    rows = [{"step": s, "loss": 50.0 if s == 77_777 else 1 / (s + 1), "grad_norm": s % 7} for s in range(100_000)]
    loss = read_curves(logged(tmp_path / "run", rows))["columns"]["loss"]
    assert len(loss["step"]) <= 500
    assert loss["value"][loss["step"].index(77_777)] == 50.0


@pytest.fixture(scope="module")
def chromium():
    with browser() as tab:
        yield tab


def shown(tab, path, series):
    script, style = charting()
    begin = "drawCurves(document.getElementById('here'), JSON.parse(document.getElementById('data').textContent));\n"
    update = "{step: [1, 2, 3], columns: {loss: [3, null, 1], entropy: [1, 1, 1]}}"
    again = f"document.getElementById('more').onclick = () => drawCurves(document.getElementById('here'), {update});\n"
    body = '<button id="more">more</button><div id="here"></div>'
    path.write_text(html.page("curves", body, style, script + begin + again, series))
    tab.errors.clear()
    tab.requests.clear()
    tab.resize(1280)
    tab.open(path.as_uri())
    return tab


def ink(tab, at=0):
    """How many pixels of a chart are painted."""
    return tab.run(
        f"(() => {{ const c = document.querySelectorAll('#here canvas')[{at}];"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"
    )


@needs_chromium
def test_charts_of_every_shape_of_column(chromium, tmp_path):
    steps = list(range(1, 61))
    columns = {
        "loss": [1 / s for s in steps], "reward": [0.0] * 60, "entropy": [None] * 60,
        "length": [None] * 30 + [2e7] * 30, "<img src=x onerror=alert(1)>": [1e-9] + [None] * 59,
    }  # fmt: skip
    tab = shown(
        chromium, tmp_path / "a.html", {"step": steps, "columns": columns, "notes": {"reward": "a <b>note</b>"}}
    )
    assert tab.texts("#here h3") == ["loss", "reward", "entropy", "length", "<img src=x onerror=alert(1)>"]
    told = ["0.01667 at step 60", "0 at step 60", "no value yet", "2e7 at step 60", "1e-9 at step 1"]
    assert tab.texts("#here output") == told
    assert "a <b>note</b>" in tab.text("#here")
    assert ink(tab) > 500
    assert tab.errors == []
    assert tab.requests == [(tmp_path / "a.html").as_uri()]


@needs_chromium
def test_pointer_keys_width_dark_and_new_values(chromium, tmp_path):
    steps = list(range(0, 200, 2))
    tab = shown(
        chromium, tmp_path / "b.html", {"step": steps, "columns": {"loss": [100 - s for s in steps], "reward": steps}}
    )
    tab.hover("#here .u-over", 0.5)
    tab.wait("/step (98|100|102)$/.test(document.querySelector('output').innerText)")
    one, other = tab.texts("#here output")
    assert one.split(" at ")[1] == other.split(" at ")[1]  # both charts show the same step
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    tab.run("document.querySelector('#here [tabindex]').focus()")
    tab.press("ArrowLeft", "ArrowLeft", "ArrowRight")
    tab.wait("document.querySelector('output').innerText === '-98 at step 198'")

    before = tab.run("[...document.querySelectorAll('#here canvas')].map((c) => c.clientWidth)")
    tab.resize(390)
    tab.wait(f"document.querySelector('#here canvas').clientWidth !== {before[0]}")
    assert tab.run("document.documentElement.scrollWidth <= 390")

    pixel = "[...document.querySelector('#here canvas').getContext('2d').getImageData(0, 0, 300, 150).data].join('')"
    light = tab.run(pixel)
    tab.dark()
    tab.wait(f"{pixel} !== {json.dumps(light)}")
    tab.dark(False)

    tab.click("#more")
    assert tab.texts("#here h3") == ["loss", "entropy"]
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    tab.wait("document.querySelector('output').innerText === '1 at step 3'")
    assert tab.errors == []
