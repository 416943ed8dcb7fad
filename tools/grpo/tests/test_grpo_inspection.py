"""Which rollouts `tools-grpo inspect` picks, on a ledger written by hand; what models write is never obeyed."""

import json

import pytest
from click.testing import CliRunner

from tools_grpo.cli import main
from tools_grpo.inspect import inspect
from tools_grpo.reports.html import as_html
from tools_grpo.reports.text import as_text
from tools_shared.errors import ToolError


def row(step, problem, sample, reward, advantage, logprob, text="", n_tokens=4, finish_reason="stop"):
    return {
        "step": step, "policy_step": step, "problem": problem, "sample": sample, "seed": 0, "prompt": f"Q {problem}",
        "completion": text, "finish_reason": finish_reason, "n_tokens": n_tokens, "token_ids": [1] * n_tokens,
        "logprobs": [logprob] * n_tokens, "rewards": {"verified": reward}, "reward": reward, "advantage": advantage,
    }  # fmt: skip


def written(folder, rows):
    (folder / "rollouts").mkdir()
    for r in rows:
        with (folder / "rollouts" / f"step-{r['step']:06d}.jsonl").open("a") as file:
            file.write(json.dumps(r) + "\n")
    return folder


ROWS = [
    row(0, "even", 0, 1.0, 0.0, -0.5),
    row(0, "even", 1, 1.0, 0.0, -0.5),
    row(0, "hard", 0, 0.0, -1.0, -0.6),
    row(0, "hard", 1, 1.0, 1.0, -0.6, text="lucky?"),
    row(1, "odd", 0, 1.0, 1.0, -3.0, text="unlikely and right"),
    row(1, "odd", 1, 0.0, -1.0, -1.0),
    row(1, "sure", 0, 0.0, -1.0, -0.1, text="sure and wrong", n_tokens=8, finish_reason="length"),
    row(1, "sure", 1, 1.0, 1.0, -1.0),
]


def test_best_worst_and_surprising(tmp_path):
    found = inspect(written(tmp_path, ROWS), 2)
    assert [(s.row["problem"], s.row["sample"]) for s in found.best] == [("hard", 1), ("odd", 0)]
    assert [(s.row["problem"], s.row["sample"]) for s in found.worst] == [("hard", 0), ("odd", 1)]
    assert [s.row["completion"] for s in found.surprising] == ["unlikely and right", "sure and wrong"]
    # l = -3, -1, -0.1, -1 in that step: mean -1.275, deviation 1.0615
    assert found.surprising[0].surprise == pytest.approx((3 - 1.275) / 1.06154, abs=1e-4)
    assert found.surprising[1].surprise == pytest.approx((1.275 - 0.1) / 1.06154, abs=1e-4)


def test_the_steps_means(tmp_path):
    first, second = inspect(written(tmp_path, ROWS)).steps
    assert (first.reward, first.flat, first.truncated, first.length) == (0.75, 0.5, 0, 4)
    assert (second.reward, second.flat, second.truncated, second.length) == (0.5, 0, 0.25, 5)


def test_what_a_model_writes_is_shown_and_not_obeyed(tmp_path):
    evil = '<script>alert(1)</script><img src=x onerror="x">\x1b[2J\x07</pre>'
    found = inspect(written(tmp_path, [row(0, evil, 0, 1.0, 1.0, -1.0, evil), row(0, evil, 1, 0.0, -1.0, -2.0, evil)]))
    page, text = as_html(found), as_text(found)
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("</pre>") == page.count("<pre>")
    assert "\x1b" not in text + page
    assert "\\x1b[2J" in text


def test_a_run_without_rollouts_is_a_sentence(tmp_path):
    with pytest.raises(ToolError, match="has no rollouts/; name a run of tools-grpo"):
        inspect(tmp_path)
    (tmp_path / "rollouts").mkdir()
    with pytest.raises(ToolError, match="no step of this run has drawn its rollouts yet"):
        inspect(tmp_path)


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    folder = written(tmp_path, ROWS)
    path = folder / "rollouts" / "step-000001.jsonl"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ToolError, match=r"step-000001.jsonl:4: not JSON"):
        inspect(folder)


def test_the_page_takes_nobody_elses_place(tmp_path):
    run, page = tmp_path / "run", tmp_path / "page.html"
    run.mkdir()
    written(run, ROWS)
    page.write_text("precious")

    def call(*words):
        return CliRunner().invoke(main, ["inspect", str(run), "--html", *map(str, words)])

    assert call(page).exit_code == 1
    assert page.read_text() == "precious"
    assert call(page, "--overwrite").exit_code == 0
    assert next(tmp_path.glob(".page.html.*.replaced")).read_text() == "precious"
    assert call(page).exit_code == 0  # its own now
    ledger = run / "rollouts" / "step-000000.jsonl"
    before = ledger.read_text()
    assert call(ledger).exit_code == 1
    assert ledger.read_text() == before
