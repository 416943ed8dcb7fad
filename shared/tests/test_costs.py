"""What a run costs: counted once over all its sessions, and unknown where no price is known."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

import pytest
import yaml

from tools_shared.cli import Invocation
from tools_shared.costs import meter
from tools_shared.costs.energy import open_meters
from tools_shared.costs.meter import during, note
from tools_shared.costs.prices import Prices, read_prices
from tools_shared.costs.spending import Spending, prices_for, worst_case
from tools_shared.devices import pick_device
from tools_shared.errors import Incomplete, ToolError
from tools_shared.runs import RunConfig, draft

CALL = Invocation("tools-mill", "1.0", ("tools-mill",), {})
SERVER = "https://llm.example.com/v1/chat/completions"
PRICES = {
    "currency": "EUR",
    "tokens": [
        {"source": "https://llm.*", "model": "tiny-*", "in": 2, "out": 8.5, "date": date(2026, 10, 3), "from": "list"},
        {"model": "qwen*", "train": 3, "in": 1, "out": 1, "date": date(2026, 10, 3), "from": "https://x.example/p"},
    ],
    "devices": [{"kind": "cpu", "hour": 0.05, "date": date(2026, 10, 3), "from": "contract"}],
    "energy": {"kwh": 0.3, "date": date(2026, 10, 3), "from": "bill"},
}


@dataclass(frozen=True)
class MillConfig(RunConfig):
    TOOL: ClassVar[str] = "mill"


@pytest.fixture
def price_file(tmp_path, monkeypatch):
    def write(content):
        path = tmp_path / "prices.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        monkeypatch.setenv("TOOLS_PRICES", str(path))
        return path

    return write


def cost_of(folder, *work):
    with draft(folder, MillConfig(), CALL, "mill") as run:
        for one in work:
            one()
        return run.finish({}).data["cost"]


def test_tokens_by_part_and_source_and_the_file_of_usage_is_gone(tmp_path):
    def work():
        with during("evaluation"):
            note(10, 4)
            note(1, 1)
        note(7, 3, part="judging", source=f"{SERVER} j", requests=1)
        note(part="judging", source=f"{SERVER} j", cached=2)

    cost = cost_of(tmp_path / "run", work)
    rows = {(r["part"], r["source"]): r for r in cost["tokens"]}
    assert rows["evaluation", "this machine"] == {
        "part": "evaluation", "source": "this machine", "in": 11, "out": 5, "requests": 0, "cached": 0
    }  # fmt: skip
    assert rows["judging", f"{SERVER} j"]["cached"] == 2
    assert rows["judging", f"{SERVER} j"]["money"] == "unknown"
    assert cost["money"] == {}
    assert cost["money_unknown"] == [f"tokens of {SERVER} j"]
    assert not (tmp_path / "run" / meter.FILE).exists()
    assert "energy_wh" not in cost or cost["energy_wh"] > 0


def test_nothing_is_counted_without_a_run():
    note(10, 4)


def test_money_is_what_is_known_and_the_rest_is_named(tmp_path, price_file):
    price_file(PRICES)

    def work():
        note(1_000_000, 100_000, source=f"{SERVER} tiny-2", requests=1)
        note(500_000, part="training", source="https://train.example.com Qwen3-8B")
        note(5, 5, source=f"{SERVER} large", requests=1)
        note(3_000_000, 0, source=f"{SERVER} own", requests=1, prices=Prices(1.0, None, currency="USD"))

    cost = cost_of(tmp_path / "run", work)
    assert cost["money"] == {"EUR": pytest.approx(2 + 0.85 + 1.5), "USD": 3.0}
    assert cost["money_unknown"] == [f"tokens of {SERVER} large"]


def test_what_is_free_is_0_and_not_unknown(tmp_path):
    cost = cost_of(tmp_path / "run", lambda: note(5, 5, source="http://x m", requests=1, prices=Prices(0.0, 0.0)))
    assert cost["money"] == {"": 0.0}
    assert cost["money_unknown"] == []


@pytest.mark.parametrize(
    ("prices", "used", "money"),
    [
        (Prices(3.0, None), (2_000_000, 7), "unknown"),
        (Prices(None, 3.0), (2_000_000, 7), "unknown"),
        (Prices(3.0, None), (2_000_000, 0), 6.0),
        (Prices(3.0, 0.0), (2_000_000, 7), 6.0),
    ],
)
def test_a_price_of_one_direction_says_nothing_of_the_other(tmp_path, prices, used, money):
    cost = cost_of(tmp_path / "run", lambda: note(*used, source="https://a.example/v1 m", prices=prices))
    assert cost["tokens"][0]["money"] == money
    assert bool(cost["money_unknown"]) == (money == "unknown")


def test_device_seconds_begin_when_a_device_is_chosen(tmp_path, price_file):
    price_file(PRICES)
    cost = cost_of(tmp_path / "run", lambda: time.sleep(0.2), lambda: pick_device("cpu"), lambda: time.sleep(0.3))
    (device,) = cost["devices"]
    assert device["kind"] == "cpu"
    assert 0.25 * device["count"] < device["device_seconds"] < (cost["seconds"] - 0.15) * device["count"]
    assert device["money"] == pytest.approx(device["device_seconds"] / 3600 * 0.05, abs=1e-6)


def test_a_failed_session_counts_once_and_starting_over_counts_anew(tmp_path):
    for resume, sessions, tokens in (("auto", 2, 30), ("never", 1, 20)):
        with pytest.raises(Incomplete), draft(tmp_path / resume, MillConfig(), CALL, "mill") as run:
            note(10, 0)
            (run.path / "kept.txt").write_text("x")
            raise Incomplete("stopped")
        with draft(tmp_path / resume, MillConfig(resume=resume), CALL, "mill") as run:
            note(20, 0)
            cost = run.finish({}).data["cost"]
        assert cost["sessions"] == sessions
        assert cost["tokens"][0]["in"] == tokens


SCRIPT = """
    import sys, time
    from dataclasses import dataclass
    from typing import ClassVar
    from tools_shared.cli import Invocation
    from tools_shared.costs import meter
    from tools_shared.runs import RunConfig, draft

    @dataclass(frozen=True)
    class MillConfig(RunConfig):
        TOOL: ClassVar[str] = "mill"

    meter.BEAT = 0.1
    folder, rounds = sys.argv[1], int(sys.argv[2])
    from pathlib import Path
    with draft(Path(folder), MillConfig(), Invocation("tools-mill", "1.0", ("tools-mill",), {}), "mill") as run:
        (run.path / "kept.txt").write_text("x")
        meter.uses("cpu", 3)
        for i in range(rounds):
            meter.note(7, 2, source="http://paid m", requests=1)
            print(i, flush=True)
            time.sleep(0.02)
        time.sleep(0.3)
        if rounds < 1000:
            run.finish({})
"""


def test_killed_sessions_count_once_and_only_once(tmp_path):
    """kill -9 at three moments, the last line torn off once; then the run is finished."""
    folder, seen, lived = tmp_path / "run", 0, 0.0
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder)]
    for n in (5, 23, 11):
        child = subprocess.Popen([*command, "1000"], stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "0\n"
        began = time.monotonic()
        for _ in range(n - 1):
            child.stdout.readline()
        lived += time.monotonic() - began
        os.kill(child.pid, signal.SIGKILL)
        seen += n + len(child.stdout.read().splitlines())
        child.wait()
    with (folder.with_name("run.partial") / meter.FILE).open("a") as file:
        file.write('{"session": 3, "seco')
    subprocess.run([*command, "4"], check=True, capture_output=True)
    cost = json.loads((folder / "run.json").read_text())["cost"]
    (row,) = cost["tokens"]
    # Written before it is printed: a kill between both has one more of each session.
    assert seen + 4 <= row["requests"] <= seen + 4 + 3
    assert (row["in"], row["out"]) == (7 * row["requests"], 2 * row["requests"])
    assert cost["sessions"] == 4
    assert cost["seconds"] > lived
    (device,) = cost["devices"]
    assert device["device_seconds"] <= device["count"] * cost["seconds"] + 0.01
    assert device["device_seconds"] > device["count"] * 0.3  # the last session alone


def test_threads_count_together(tmp_path):
    def work():
        def many():
            for _ in range(50):
                note(1, 2, source="http://s m")

        threads = [threading.Thread(target=many) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    (row,) = cost_of(tmp_path / "run", work)["tokens"]
    assert (row["in"], row["out"]) == (400, 800)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"currency": None}, "currency must be text"),
        ({"curency": "USD"}, "unknown key 'curency'"),
        ({"tokens": {"in": 1}}, "tokens must be a list"),
        ({"tokens": [5]}, "tokens 1: must be a mapping"),
        ({"tokens": [{"in": 1, "from": "x"}]}, "tokens 1: date must be the day"),
        ({"tokens": [{"in": 1, "date": date(2026, 1, 1)}]}, "tokens 1: from must say where"),
        ({"tokens": [{"in": "1", "date": date(2026, 1, 1), "from": "x"}]}, "in must be a number from 0, got '1'"),
        ({"tokens": [{"in": True, "date": date(2026, 1, 1), "from": "x"}]}, "in must be a number"),
        ({"tokens": [{"in": float("nan"), "date": date(2026, 1, 1), "from": "x"}]}, "in must be a number"),
        ({"tokens": [{"in": -1, "date": date(2026, 1, 1), "from": "x"}]}, "in must be a number"),
        ({"tokens": [{"in": 10**400, "date": date(2026, 1, 1), "from": "x"}]}, "in must be a number"),
        ({"tokens": [{"model": 3, "in": 1, "date": date(2026, 1, 1), "from": "x"}]}, "model must be text"),
        ({"tokens": [{"in": 1, "date": date(2026, 1, 1), "from": "x"}]}, "a price of tokens in alone; give both"),
        ({"tokens": [{"out": 1, "train": 2, "date": date(2026, 1, 1), "from": "x"}]}, "a price of tokens out alone"),
        ({"devices": [{"kind": "cpu", "date": date(2026, 1, 1), "from": "x"}]}, "has no price; give hour"),
        ({"energy": [1]}, "energy 1: must be a mapping"),
        ("[1, 2]", "a price file is a mapping"),
        ("currency: [USD", "not valid YAML"),
    ],
)
def test_a_price_file_that_is_wrong_is_one_line(tmp_path, price_file, change, words):
    path = price_file(change if isinstance(change, str) else {**PRICES, **change})
    with pytest.raises(ToolError) as told:
        read_prices(path)
    assert words in str(told.value)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)
    with pytest.raises(ToolError), draft(tmp_path / "run", MillConfig(), CALL, "mill"):
        pass
    assert not (tmp_path / "run.partial").exists()


def test_a_budget_needs_a_price_and_options_come_before_the_file(price_file):
    price_file(PRICES)
    assert prices_for(SERVER, "tiny-1", None, None).of(1_000_000, 1_000_000) == 10.5
    assert prices_for(SERVER, "tiny-1", 0.5, None).of(1_000_000, 1_000_000) == 0.5
    with pytest.raises(ToolError, match="no price is known of huge"):
        prices_for(SERVER, "huge", None, None, 5.0)


def test_requests_reserve_the_most_that_they_can_cost():
    spending = Spending(Prices(10.0, 100.0, budget=0.0102))
    most = spending.most({"messages": "x" * 300}, 40)
    assert most == pytest.approx((317 // 3 * 10 + 40 * 100) / 1e6, rel=0.02)
    assert spending.reserve(most)
    assert spending.reserve(most)
    assert not spending.reserve(most)
    assert not spending.reserve(0.0)  # nothing is asked after the first that was not covered
    spending.settle(most, 0.001)
    with pytest.raises(Incomplete, match=r"budget of 0.0102 does not cover the next request \(0.001 spent\)"):
        spending.check("here")
    assert worst_case(Prices(), [{}], 3, 10) == "at an unknown cost (no price is given)"
    assert worst_case(Prices(0.0, 10.0), [{}, {}], 3, 10) == "at most 0.0006 in cost"


def test_processors_that_tell_their_energy(tmp_path):
    """The kernel's files: a package counts, its cores and the whole platform do not, and it goes round."""
    for name, kind, joules in (("intel-rapl:0", "package-0", 999.0), ("intel-rapl:0:0", "core", 5.0),
                               ("intel-rapl:1", "psys", 5.0)):  # fmt: skip
        zone = tmp_path / name
        zone.mkdir()
        (zone / "name").write_text(kind + "\n")
        (zone / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")
        (zone / "max_energy_range_uj").write_text("1000000000\n")
    meters = open_meters(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("35000000\n")
    assert meters.watt_hours() == pytest.approx(36 / 3600, abs=1e-6)
    assert open_meters(tmp_path / "none") is None
