"""What a result cost: every ancestor once, whatever way leads to it."""

import json
import shutil
from dataclasses import dataclass
from typing import ClassVar

import pytest

from tools_bench.compare import run_comparison
from tools_bench.comparison.lineage_cost import cost_behind
from tools_bench.config import CompareConfig, ReportConfig
from tools_bench.report import run_report
from tools_shared.cli import Invocation
from tools_shared.costs.meter import note
from tools_shared.costs.prices import Prices
from tools_shared.evaluation.files import COLUMNS
from tools_shared.files import sha256_file
from tools_shared.runs import RunConfig, draft

CALL = Invocation("tools-kiln", "1.0", ("tools-kiln",), {})


@dataclass(frozen=True)
class KilnConfig(RunConfig):
    TOOL: ClassVar[str] = "kiln"


def made(folder, tokens, money=None, parents=(), files=(), right=None):
    """A run that used `tokens`, of these parents and of these files; with `right` an evaluation of as many answers."""
    with draft(folder, KilnConfig(), CALL, "sft") as run:
        for number, parent in enumerate(parents):
            run.add_input(f"model {number}", str(parent.path), "0" * 64, run_sha256=parent.sha256)
        for number, file in enumerate(files):
            run.add_input(f"train {number}", str(file), sha256_file(file))
        (run.path / "rows.jsonl").write_text(json.dumps({"folder": folder.name}) + "\n")
        prices = None if money is None else Prices(money, money)
        note(tokens, 0, source=f"http://{folder.name} m", requests=1, prices=prices)
        if right is not None:
            base = {"labeled_answer": "1", "lenient_correct": True}
            rows = [{**base, "id": str(i), "question": f"q{i}", "correct": i < right} for i in range(8)]
            lines = [",".join(COLUMNS), *(",".join(str(row.get(c, "")) for c in COLUMNS) for row in rows)]
            run.debug_path(".csv").write_text("\n".join(lines) + "\n")
        return run.finish({})


def n_in(found):
    return sum(row["in"] for row in found.total["tokens"])


def test_each_ancestor_counts_once_also_one_that_wrote_the_data(tmp_path):
    base = made(tmp_path / "base", 1)
    left, right = (made(tmp_path / name, n, parents=[base]) for name, n in (("left", 10), ("right", 100)))
    rows = left.path / "rows.jsonl"
    child = made(tmp_path / "child", 1000, parents=[right, base], files=[rows])
    assert n_in(cost_behind([child])) == 1111
    assert n_in(cost_behind([left.path, right.path])) == 111
    assert not cost_behind([child]).unknown


def test_an_ancestor_that_is_gone_or_another_now_is_said_and_not_0(tmp_path):
    base = made(tmp_path / "base", 1)
    child = made(tmp_path / "child", 10, parents=[base])
    shutil.move(tmp_path / "base", tmp_path / "moved")
    assert "base (is not there as it was)" in str(cost_behind([child]))
    assert n_in(cost_behind([child], known=[base])) == 11
    made(tmp_path / "base", 7)
    assert n_in(cost_behind([child])) == 10
    assert cost_behind([child]).unknown


def test_a_run_of_an_earlier_version_is_unknown(tmp_path):
    made(tmp_path / "old", 5)
    path = tmp_path / "old" / "run.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "cost"}))
    assert str(cost_behind([tmp_path / "old"])) == f"unknown; without {tmp_path / 'old'} (recorded no cost)"


def test_the_comparison_and_the_dashboard_say_it(tmp_path, capsys):
    base = made(tmp_path / "base", 2_000_000, money=0.5, right=3)
    made(tmp_path / "one", 1_000_000, money=3.0, parents=[base], right=5)
    made(tmp_path / "two", 40, parents=[base], right=6)
    runs = tuple(str(tmp_path / name) for name in ("base", "one", "two"))
    run_comparison(CompareConfig(runs=runs, output_dir=str(tmp_path / "compare")), CALL)
    text = (tmp_path / "compare" / "comparison.txt").read_text()
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert "money: 1" in lines["base"]
    assert "3M tokens in, 0 out, money: 4" in lines["one"]
    assert "money: 1 + unknown (tokens of http://two m)" in lines["two"]
    assert "each ancestor once: " in text
    assert "3M tokens in, 0 out, money: 4 + unknown (tokens of http://two m)" in text.splitlines()[-1]
    run_report(ReportConfig(folders=(str(tmp_path),), output_file=str(tmp_path / "r.html")))
    page = (tmp_path / "r.html").read_text()
    assert "3M tokens in, 0 out, money: 4" in page
    assert "## Cost" in (tmp_path / "one" / "README.md").read_text()


@pytest.mark.parametrize("path", ["hf://owner/name", "a\0b", "", "x" * 5000])
def test_an_input_that_is_no_path_has_no_run(tmp_path, path):
    with draft(tmp_path / "run", KilnConfig(), CALL, "sft") as run:
        run.add_input("train", path, "1" * 64)
        run.finish({})
    assert not cost_behind([tmp_path / "run"]).unknown
