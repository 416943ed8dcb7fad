"""The lineage's drawing: no line crosses a box that it does not belong to, nothing is wider than the page."""

from importlib.resources import files

import pytest
from browser import browser, needs_chromium
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools_shared.files import html

pytestmark = needs_chromium
MEASURE = "(text) => 6.6 * text.length"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "layout.html"
    script = (files("tools_bench.report") / "lineage.js").read_text()
    path.write_text(html.page("layout", "", "", script, {}))
    with browser() as tab:
        tab.open(path.as_uri())
        yield tab


@st.composite
def graphs(draw):
    """Runs and data in an order in which sources come first, with names of every length."""
    n = draw(st.integers(1, 24))
    names = draw(st.lists(st.text("abc/-_.WM ", min_size=1, max_size=70), min_size=n, max_size=n))
    pairs = [(a, b) for b in range(n) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=40, unique=True)) if pairs else []
    nodes = [{"id": str(i), "label": f"{i}{name}", "kind": "data", "run": False} for i, name in enumerate(names)]
    return nodes, [{"from": str(a), "to": str(b), "label": "train"} for a, b in edges]


def layout(tab, nodes, edges, width):
    import json

    return tab.run(f"layoutLineage({json.dumps(nodes)}, {json.dumps(edges)}, {width}, {MEASURE})")


def along(points, n=24):
    """Points of a line: straight down to where it bends, then the curve."""
    x, start, bend, end, stop = points
    half = (bend + stop) / 2
    yield from ((x, start + (bend - start) * i / n) for i in range(n + 1))
    for i in range(n + 1):
        t = i / n
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        yield (a + b) * x + (c + d) * end, a * bend + (b + c) * half + d * stop


def inside(point, box, edge=0.5):
    x, y = point
    return box["x"] + edge < x < box["x"] + box["w"] - edge and box["y"] + edge < y < box["y"] + box["h"] - edge


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs(), st.sampled_from([362, 700, 1240]))
def test_no_line_crosses_a_box_and_no_box_another(chromium, graph, width):
    nodes, edges = graph
    plan = layout(chromium, nodes, edges, width)
    boxes = {box["id"]: box for box in plan["boxes"]}
    assert set(boxes) == {node["id"] for node in nodes}
    for line in plan["links"]:
        assert [one["id"] for one in plan["boxes"] if any(inside(p, one) for p in along(line["points"]))] == []
    for one in plan["boxes"]:
        assert 0 <= one["x"] <= one["x"] + one["w"] <= plan["width"]
        assert one["y"] + one["h"] <= plan["height"]
        corners = [(x, y) for x in (one["x"], one["x"] + one["w"]) for y in (one["y"], one["y"] + one["h"])]
        assert not any(inside(c, other) for other in plan["boxes"] for c in corners if other is not one)
    # Every edge ends in an arrow at its box; its source's lines lead there.
    arrows = {(line["from"], line["to"][0]) for line in plan["links"] if line["head"]}
    assert arrows == {(edge["from"], edge["to"]) for edge in edges}
    for line in plan["links"]:
        if line["head"]:
            box = boxes[line["to"][0]]
            assert box["x"] <= line["points"][3] <= box["x"] + box["w"]
            assert line["points"][4] == box["y"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs(), st.sampled_from([362, 1240]))
def test_names_are_whole_and_inside_their_boxes(chromium, graph, width):
    nodes, edges = graph
    plan = layout(chromium, nodes, edges, width)
    labels = {node["id"]: node["label"] for node in nodes}
    for box in plan["boxes"]:
        assert "".join(box["lines"]) == labels[box["id"]]
        assert all(6.6 * len(line.rstrip()) <= box["w"] - 18 for line in box["lines"])
    open_sources = len({edge["from"] for edge in edges})
    if open_sources <= (10 if width == 362 else 40):  # beyond that many lines side by side the drawing is scrolled
        assert plan["width"] == width


@pytest.mark.parametrize("width", [362, 1240])
def test_a_long_pipeline_fits_the_page(chromium, width):
    chain = [{"id": str(i), "label": f"artifacts/stage-{i}", "kind": "grpo", "run": True} for i in range(40)]
    edges = [{"from": str(i), "to": str(i + 1), "label": "model"} for i in range(39)]
    edges += [{"from": "0", "to": str(i), "label": "train"} for i in range(2, 40)]
    plan = layout(chromium, chain, edges, width)
    assert plan["width"] == width
    assert sum(line["head"] for line in plan["links"]) == len(edges)
