"""`tools-bench view`: runs, replies and flips over HTTP, the index that they come from, and what is refused."""

import contextlib
import csv
import io
import json
import shutil
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from viewing import HOSTILE, ROWS, bench, make_run, viewer

from tools_bench.grading.results import COLUMNS
from tools_bench.report.history import Histories, History
from tools_bench.view.database import NAME, SCHEMA, index_path
from tools_bench.view.drafts import tail
from tools_bench.view.index import Index
from tools_bench.view.places import find_places
from tools_bench.view.questions import ChangedRun, Page, Wanted, flips, list_runs, replies
from tools_bench.view.serve import is_this_machine
from tools_bench.view.stored import read_replies, stored_replies
from tools_shared.errors import ToolError
from tools_shared.files import csv_cells
from tools_shared.files.locks import locked


@pytest.fixture
def root(serve, tmp_path):
    """Two benchmarks of the same rows, two questions right in one only and one in the other only."""
    folder = tmp_path / "root"
    folder.mkdir()
    make_run(serve, folder / "a", "base", {0, 1, 2, 3})
    make_run(serve, folder / "b", "tuned", {2, 3, 4}, HOSTILE)
    return folder


def test_runs_replies_and_flips(root):
    with viewer(root) as view:
        runs = view.settled(2)
        base, tuned = runs["a/base"], runs["b/tuned"]
        assert (base["metric"], base["score"], base["n"], base["model"]) == (
            "accuracy",
            pytest.approx(4 / 6),
            6,
            "base",
        )
        assert (base["n_replies"], base["n_right"], base["n_wrong"]) == (6, 4, 2)
        assert base["low"] < 4 / 6 < base["high"]
        assert [run["name"] for run in view.ask("runs", sort="score")["runs"]] == ["a/base", "b/tuned"]
        assert [run["name"] for run in view.ask("runs", sort="score", order="rising")["runs"]] == ["b/tuned", "a/base"]
        assert [run["name"] for run in view.ask("runs", search="TUNED bench")["runs"]] == ["b/tuned"]
        assert view.ask("runs", kind="sft")["total"] == 0
        assert view.ask("runs", search="ÉTÉ")["total"] == 0
        assert [run["name"] for run in view.ask("runs", limit=1, offset=1, sort="name", order="rising")["runs"]] == [
            "b/tuned"
        ]

        found = view.ask(f"runs/{tuned['id']}/replies", limit=4)
        assert (len(found["rows"]), found["next"]) == (4, 3)
        more = view.ask(f"runs/{tuned['id']}/replies", limit=4, after=3)
        assert [row["question"] for row in found["rows"] + more["rows"]] == [row["question"] for row in ROWS]
        assert more["next"] is None
        assert all(HOSTILE in row["text"] for row in found["rows"])
        wrong = view.ask(f"runs/{tuned['id']}/replies", show="wrong")["rows"]
        assert [row["gold"] for row in wrong] == ["7", "51", "2"]
        searched = view.ask(f"runs/{tuned['id']}/replies", search="OCTAGON")
        assert [row["gold"] for row in searched["rows"]] == ["20"]
        assert searched["n_searched"] == 6
        whole = view.ask(f"runs/{tuned['id']}/replies/1")
        assert (whole["question"], whole["answer"]) == (ROWS[1]["question"], "999")

        between = view.ask(f"runs/{tuned['id']}/flips/{base['id']}")
        assert (between["n"], between["lost"], between["gained"]) == (6, 2, 1)
        assert between["low"] < between["difference"] < between["high"]
        assert between["difference"] == pytest.approx(-1 / 6)
        assert [flip["run"]["gold"] for flip in between["rows"]] == ["7", "51", "6"]
        assert [flip["baseline"]["good"] for flip in between["rows"]] == [True, True, False]
        gained = view.ask(f"runs/{tuned['id']}/flips/{base['id']}", show="gained", limit=1)
        assert ([flip["run"]["gold"] for flip in gained["rows"]], gained["next"]) == (["6"], None)

        run = view.ask(f"runs/{base['id']}")
        assert run["metrics"]["accuracy"]["n"] == 6
        assert run["options"]["model_name"] == "base"


def test_what_is_refused(root):
    with viewer(root, number=signal.SIGTERM) as view:
        run = next(iter(view.settled(2).values()))["id"]
        assert view.get("/api/runs", Host="evil.example")[0] == 421
        assert view.get("/api/runs", Origin="http://evil.example")[0] == 403
        for method in ("POST", "PUT", "DELETE"):
            assert view.get("/api/runs", method)[0] == 405
        for path in ("runs/none", "runs/..%2f..%2fetc", f"runs/{run}/replies/999", f"runs/{run}/x", "", "drafts/x"):
            assert view.get(f"/api/{path}")[0] == 404, path
        bad = ("limit=0", "limit=100000", "limit=x", "offset=-1", "sort=stamp", "order=up", "search=" + "x" * 500)
        for query in bad:
            status, _, body = view.get(f"/api/runs?{query}")
            assert (status, "error" in json.loads(body)) == (400, True), query
        assert view.get(f"/api/runs/{run}/flips/{run}?show=right")[0] == 400
        assert view.get("/api/runs?search=%27%3B%20DROP%20TABLE%20runs%3B--")[0] == 200
        assert view.get("/api/runs?search=" + "x" * 20_000)[0] in (400, 414)
        assert view.get("/elsewhere")[0] == 404
        status, headers, body = view.get("/")
        assert status == 200
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert b"default-src 'none'" in body
        assert b"script-src 'sha256-" in body
        assert str(root).encode() not in body
        _, headers, _ = view.get("/api/runs")
        tag = {"If-None-Match": headers["ETag"]}
        assert view.get("/api/runs", **tag)[0] == 304
        assert len(view.ask("runs")["runs"]) == 2


def test_clients_that_say_nothing_keep_nobody_out(root):
    with viewer(root) as view, contextlib.ExitStack() as stack:
        view.settled(2)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", view.port))).sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert len(view.ask("runs")["runs"]) == 2


def test_others_need_the_token(root):
    with viewer(root, "--host", "0.0.0.0") as view:
        assert len(view.token) >= 40
        assert view.get("/")[0] == 200
        for token in (None, "", "x", view.token[:-1], view.token + "x", "é"):
            assert view.get("/api/runs", token=token)[0] == 401
        assert len(view.settled(2)) == 2
        view.get(f"/api/runs?token={view.token}")
    assert sum(view.token in line for line in view.said) == 1
    assert [is_this_machine(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::")] == [True] * 3 + [
        False
    ] * 2
    with pytest.raises(ToolError, match="not an address"):
        is_this_machine("no.such.name.invalid")


def test_the_folder_must_be_there_and_the_port_free(root, tmp_path):
    with viewer(root) as view, pytest.raises(AssertionError, match="cannot listen there"):
        bench("view", root, "--port", view.port)
    with pytest.raises(AssertionError, match="no such folder"):
        bench("view", tmp_path / "none")


def test_only_what_has_changed_is_read_again(root, serve):
    index = Index(root)
    index.refresh()
    before = index.changes
    index.refresh()
    assert index.changes == before
    make_run(serve, root / "c", "third", {0})
    index.refresh()
    assert (index.done, index.to_do) == (1, 1)
    shutil.rmtree(root / "a")
    index.refresh()
    assert index.to_do == 0
    assert [run["name"] for run in list_runs(index, Wanted(sort="name", is_falling=False))["runs"]] == [
        "b/tuned",
        "c/third",
    ]


def names(index):
    return {run["name"]: run["n_replies"] for run in list_runs(index, Wanted())["runs"]}


def junk(path):
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)


def torn(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def foreign_schema(path):
    """An index with the right version that does something of its own."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM replies; END")
    connection.close()


def older(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
        connection.execute("UPDATE runs SET score = 1.0, n_replies = 77")
    connection.close()


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [junk, torn, foreign_schema, older, empty, lambda path: path.unlink()])
def test_a_damaged_or_foreign_index_is_made_again(root, damage):
    Index(root).refresh()
    damage(root / NAME)
    index = Index(root)
    index.refresh()
    assert names(index) == {"a/base": 6, "b/tuned": 6}
    with sqlite3.connect(root / NAME) as connection:
        assert (
            tuple(sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")) == SCHEMA
        )
    connection.close()
    damage(root / NAME)  # while it is open
    index.refresh()
    assert names(index) == {"a/base": 6, "b/tuned": 6}


def test_an_index_that_is_a_link_is_not_followed(root, tmp_path):
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    (root / NAME).symlink_to(other)
    index = Index(root)
    index.refresh()
    assert len(names(index)) == 2
    with sqlite3.connect(other) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    connection.close()


def test_what_an_index_says_of_a_reply_is_checked(root):
    """An index that was made for other files, with stamps that fit, shows nothing of them."""
    index = Index(root)
    index.refresh()
    run = next(run for run in list_runs(index, Wanted())["runs"] if run["name"] == "a/base")["id"]
    for change in ('"offset" = "offset" + 3', "length = length - 9", "item = 5", '"offset" = 1 << 60'):
        with sqlite3.connect(root / NAME) as connection:
            connection.execute(f"UPDATE replies SET {change}")
        connection.close()
        with pytest.raises(ChangedRun):
            replies(index, run, Page())
        index.refresh()
        assert len(replies(index, run, Page())["rows"]) == 6


def test_a_run_that_changes_between_two_looks_is_said(root):
    index = Index(root)
    index.refresh()
    (path,) = (root / "a/base/debug").glob("*.csv")
    ids = {run["name"]: run["id"] for run in list_runs(index, Wanted())["runs"]}
    path.write_bytes(path.read_bytes().replace(b"octagon", b"hexagon"))
    with pytest.raises(ChangedRun):
        replies(index, ids["a/base"], Page())
    with pytest.raises(ChangedRun):
        flips(index, ids["a/base"], ids["b/tuned"], Page())
    index.refresh()
    assert "hexagon" in replies(index, ids["a/base"], Page(search="hexagon"))["rows"][0]["question"]
    assert flips(index, ids["a/base"], ids["b/tuned"], Page())["n"] == 5  # another question now


def test_runs_that_cannot_be_read_are_listed_with_the_reason(root):
    shutil.copytree(root / "a/base", root / "torn")
    (root / "torn/run.json").write_text('{"schema_version": 1')
    shutil.copytree(root / "a/base", root / "cut")
    (path,) = (root / "cut/debug").glob("*.csv")
    path.write_bytes(path.read_bytes() + b'math,x,0,"no end')
    index = Index(root)
    index.refresh()
    problems = {run["name"]: run["problem"] for run in list_runs(index, Wanted())["runs"]}
    assert problems["a/base"] is None
    assert "not a run manifest" in problems["torn"]
    assert "has no end" in problems["cut"]
    assert names(index)["cut"] == 0


def test_two_viewers_of_one_folder(root, serve):
    with viewer(root) as one, viewer(root) as other:
        assert one.settled(2) == other.settled(2)
        make_run(serve, root / "c", "third", {0})
        (root / NAME).write_bytes(b"junk")
        assert one.settled(3) == other.settled(3)


def test_a_root_that_is_a_run_or_cannot_be_written_to_is_indexed_in_the_cache(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index = Index(root / "a/base")
    index.refresh()
    assert names(index) == {"base": 6}
    assert index.path.is_relative_to(tmp_path / "cache")
    assert not list((root / "a/base").glob(".tools*"))
    assert index_path(root) == root / NAME
    assert index_path(tmp_path / "gone").is_relative_to(tmp_path / "cache")


def test_where_runs_are_looked_for(root):
    (root / "deep/er/still").mkdir(parents=True)
    shutil.copytree(root / "a/base", root / "deep/er/still/run")
    shutil.copytree(root / "a/base", root / ".hidden/run")
    shutil.copytree(root / "a/base", root / "a/base/model/nested")
    (root / "going.partial").mkdir()
    (root / "going.partial/draft.json").write_text("{}")
    (root / "loop").symlink_to(root)
    found = {place.name: place.is_draft for place in find_places(root) if not place.name.startswith("loop")}
    assert found == {"a/base": False, "b/tuned": False, "deep/er/still/run": False, "going.partial": True}


texts = st.text(st.sampled_from("ab,\"\n\r'=1é\U0001f600 \x00"), max_size=12)


@given(st.lists(st.tuples(texts, texts), max_size=12))
def test_replies_are_found_by_their_bytes_whatever_is_in_them(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    cells = [tuple(cell.replace("\x00", "") for cell in pair) for pair in cells]
    file = io.StringIO(newline="")
    writer = csv_cells.Writer(file)
    writer.row([*COLUMNS, "accuracy_lenient"])
    for i, (question, text) in enumerate(cells):
        writer.row(["t", i, 0, "math", "wrong", question, "3", "4", text, "stop", "", float(i % 2)])
    path.write_bytes(file.getvalue().encode())
    places = list(stored_replies(path))
    found = list(read_replies(path, [(one.offset, one.length) for one in places]))
    assert [(reply["question"], reply["text"]) for reply in found] == cells
    assert [one.is_right for one in places] == [bool(i % 2) for i in range(len(cells))]
    assert sum(one.length for one in places) == path.stat().st_size - len(next(iter(path.open("rb"))))
    assert len(list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))) == len(cells) + 1


@pytest.mark.slow
@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_client_whose_headers_never_end_is_disconnected(tmp_path, first):
    """With a whole request before, and without; each second it sends one more header line."""
    with viewer(tmp_path) as view, socket.create_connection(("127.0.0.1", view.port), timeout=1.0) as client:
        client.sendall(first + b"GET / HTTP/1.1\r\n")
        for number in range(120):
            try:
                client.sendall(b"X-%d: more\r\n" % number)
                while client.recv(2**16):
                    pass
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it is still connected after 120 header lines, one a second")


def logged(path, rows):
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_a_history_grows_is_torn_and_goes_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    history = History(path)
    history.read()
    assert history.curves()["columns"] == {}
    logged(path, [{"step": s, "seconds": 2.0 * s, "loss": 1 / s, "reward": s % 2} for s in range(1, 6)])
    history.read()
    assert history.curves()["columns"]["reward"] == {"step": [1, 2, 3, 4, 5], "value": [1, 0, 1, 0, 1]}
    assert history.seconds_a_step() == pytest.approx(2.0)
    with path.open("a") as file:
        file.write('{"step": 6, "lo')
    history.read()
    assert history.last["step"] == 5
    with path.open("a") as file:
        file.write('ss": 0.5, "kl": NaN}\nno JSON\n[1]\n' + "[" * 9000 + "\n")
    history.read()
    assert history.curves()["columns"]["loss"]["value"][-1] == 0.5
    assert history.curves()["notes"] == {"kl": "not finite at step 6"}
    draft = path.with_suffix(".new")
    logged(draft, [{"step": s, "seconds": 1.0 * s, "loss": 9.0} for s in (1, 2)])
    draft.replace(path)  # as a run that resumes from step 2 does
    history.read()
    assert history.curves()["columns"] == {"loss": {"step": [1, 2], "value": [9.0, 9.0]}}


def test_a_long_history_is_bounded_and_keeps_its_peak(tmp_path):
    path = tmp_path / "metrics.jsonl"
    history = History(path)
    for start in range(0, 40_000, 10_000):
        logged(path, [{"step": s, "loss": 50.0 if s == 7_777 else 1.0} for s in range(start, start + 10_000)])
        history.read()
    loss = history.curves()["columns"]["loss"]
    assert len(loss["step"]) <= 500
    assert loss["value"][loss["step"].index(7_777)] == 50.0
    assert loss["step"][-1] == 39_999


def test_threads_that_ask_at_once_read_each_line_once(tmp_path):
    """As two open pages do. Reading twice what comes in pieces would lose or repeat some of it."""
    path = tmp_path / "metrics.jsonl"
    logged(path, [{"step": s, "loss": float(s), "pad": "x" * 20_000, f"part_{s:03d}": 1.0} for s in range(1, 400)])
    histories = Histories()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: histories.of(path).curves()["columns"]["loss"], range(16)))
    whole = {"step": list(range(1, 400)), "value": [float(s) for s in range(1, 400)]}
    assert all(loss == whole for loss in found)
    assert histories.of(path).curves()["columns"]["loss"] == whole


def test_the_end_of_a_large_file_of_samples(tmp_path):
    path = tmp_path / "responses.jsonl"
    logged(path, [{"id": i, "text": "x" * 1000} for i in range(9000)])
    rows, is_whole = tail(path)
    assert (rows[-1]["id"], is_whole) == (8999, False)
    assert len(rows) < 5000
    assert tail(tmp_path / "none") == ([], True)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system does not tell its locks")
def test_a_draft_is_running_while_a_process_holds_its_lock(tmp_path):
    (tmp_path / "x.partial").mkdir()
    (tmp_path / "x.partial/draft.json").write_text("{}")
    (place,) = find_places(tmp_path)
    assert place.is_written() is False
    with locked(tmp_path / "x.partial/.lock", "busy", keep=True):
        assert place.is_written() is True
    assert place.is_written() is False


@pytest.mark.slow
def test_a_real_training_run_as_it_grows_stops_and_is_resumed(trainer, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    words = ["--max-steps", 6, "--num-generations", 4, "--no-eval", "--train-samples", 64]
    with viewer(root) as view:
        training = trainer("grpo").stopped_at(0, root / "first", *words, number=0)  # not stopped: only begun
        try:
            told = view.wait("drafts", lambda told: told["drafts"] and (told["drafts"][0]["step"] or 0) >= 2)
            (draft,) = told["drafts"]
            assert (draft["name"], draft["kind"], draft["is_running"], draft["n_steps"]) == ("first", "grpo", True, 6)
            assert {"loss", "reward", "zero_variance_share", "completion_length"} <= set(draft["latest"])
            grown = view.wait(f"drafts/{draft['id']}", lambda told: (told["step"] or 0) >= 3)
            assert grown["seconds_left"] >= 0
            assert len(grown["curves"]["columns"]["loss"]["step"]) >= 3
            assert grown["samples"]["rows"][0]["text"]
            assert view.ask(f"drafts/{draft['id']}", step=0)["samples"]["step"] == 0
        finally:
            training.kill()
            training.wait()
        assert view.ask("drafts")["drafts"][0]["is_running"] is False
        assert trainer("grpo").run(*words, "--output-dir", root / "first").returncode == 0
        runs = view.settled(1)
        assert view.ask("drafts")["drafts"] == []
        run = view.ask(f"runs/{runs['first']['id']}")
        assert run["curves"]["columns"]["loss"]["step"] == [1, 2, 3, 4, 5, 6]
        assert view.ask(f"runs/{run['id']}/samples")["step"] == 5
