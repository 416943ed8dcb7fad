"""The recipes of CONTRIBUTING, each followed in a copy of the packages: a file and a line are enough."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path):
    for package in ("shared", "tools/bench"):
        leave_out = shutil.ignore_patterns("__pycache__", "model")
        shutil.copytree(ROOT / package / "src", tmp_path / package / "src", ignore=leave_out)
    return tmp_path


def add_line(copy: Path, path: str, after: str, line: str) -> None:
    """Put a line behind the first one that begins a table."""
    file = copy / path
    text = file.read_text()
    assert text.count(after) == 1
    file.write_text(text.replace(after, f"{after}\n{line}"))


def run(copy: Path, code: str) -> str:
    paths = os.pathsep.join(str(copy / package / "src") for package in ("shared", "tools/bench"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_reward(copy):
    named = "shared/src/tools_shared/rewards/named.py"
    table = "SCORES: dict[str, Callable[[Sample, NamedReward], float | None]] = {"
    add_line(copy, named, table, '    "units": lambda sample, reward: float("km" in sample.text),')
    said = run(
        copy,
        "from tools_shared.prompts import PROFILES\n"
        "from tools_shared.rewards import load_rewards\n"
        "(reward,) = load_rewards(['units'], PROFILES['think'])\n"
        "print(reward(['p', 'p'], ['12 km', '12'], answer=['12', '12']))",
    )
    assert said == "[1.0, 0.0]"


def test_a_suite(copy):
    suites = copy / "tools/bench/src/tools_bench/requests/suites"
    (suites / "geography.yaml").write_text(
        "name: geography\ndescription: Capitals.\n"
        "tasks:\n  - {name: capitals, kind: match, source: capitals.jsonl, licence: CC0-1.0}\n"
    )
    (suites / "capitals.jsonl").write_text('{"question": "Capital of Peru?", "answer": "Lima"}\n')
    said = run(
        copy,
        "from tools_bench.requests.items import read_task\n"
        "from tools_bench.requests.suite import load_suite\n"
        "(task,) = load_suite('geography').tasks\n"
        "print(read_task(task).items[0].accepted)",
    )
    assert said == "('Lima',)"


GRADE = """
from tools_bench.grading.grade import grade_all
from tools_bench.requests.item import Item
from tools_bench.requests.journal import Response
from tools_shared.prompts import PROFILES
items = [Item("t", "tutor", "1", "What is 3 + 4?", answer="7", mode="hint", grade="5")]
replies = {("t", "1", 1): Response("t", "1", 1, "Well done so far! What comes after six?")}
print(grade_all(items, replies, PROFILES["think"])[0].values["praise_rate"])
"""


def test_a_metric(copy):
    line = '    Metric("praise_rate", "tutor", 1, "replies that praise", lambda reply: "Well done" in reply.text),'
    add_line(copy, "tools/bench/src/tools_bench/grading/metrics.py", "ALL = (", line)
    assert run(copy, GRADE) == "1.0"


def test_a_detector(copy):
    detector = copy / "tools/bench/src/tools_bench/grading/detectors/praise.py"
    detector.write_text("def praises(reply: str) -> bool:\n    return reply.startswith('Well done')\n")
    line = (
        '    Metric("praise_rate", "tutor", 1, "replies that praise", lambda reply: __import__('
        '"tools_bench.grading.detectors.praise", fromlist=["praises"]).praises(reply.text)),'
    )
    add_line(copy, "tools/bench/src/tools_bench/grading/metrics.py", "ALL = (", line)
    assert run(copy, GRADE) == "1.0"


def test_a_data_format(copy):
    add_line(copy, "shared/src/tools_shared/sources/shapes.py", "SHAPES = {", '    "quiz": ("quiz_question", "key"),')
    said = run(
        copy,
        "from tools_shared.sources.shapes import detect_shape\nprint(detect_shape({'quiz_question': '?', 'key': 'a'}))",
    )
    assert said == "quiz"


ENGINE = """
from tools_shared.engines import Completion, StreamingEngine

class EchoEngine(StreamingEngine):
    tokenizer = None
    context_length = None

    def stream(self, take, params, on_draw, n_slots=32):
        while (draw := take()) is not None:
            on_draw(draw, Completion(f"{draw.key}.{draw.sample}", (), "stop"))
"""


def test_an_engine(copy):
    (copy / "shared/src/tools_shared/engines/echo.py").write_text(ENGINE)
    table = "OPENERS: dict[str, Callable[[ModelRef, LocalEngineConfig], Engine]] = {"
    line = (
        '    "echo": lambda ref, config: __import__("tools_shared.engines.echo", fromlist=["EchoEngine"]).EchoEngine(),'
    )
    add_line(copy, "shared/src/tools_shared/engines/open.py", table, line)
    said = run(
        copy,
        "from types import SimpleNamespace\n"
        "from tools_shared.engines import SamplingParams, open_engine\n"
        "from tools_shared.prompts import Prompt\n"
        "engine = open_engine(None, SimpleNamespace(engine='echo'))\n"
        "found = engine.generate([Prompt('a', ()), Prompt('b', ())], SamplingParams(n=2), keys=['x', 'y'])\n"
        "print([[c.text for c in many] for many in found])",
    )
    assert said == "[['x.0', 'x.1'], ['y.0', 'y.1']]"
