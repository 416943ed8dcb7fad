"""Read-outs: which part of the states is read, how the best is chosen, and what a number of questions can show."""

import json

import numpy as np
import pytest
import torch

from tools_scorer.config.scorer import ScorerEvaluateConfig, TrainConfig
from tools_scorer.evaluate import evaluate
from tools_scorer.evaluation.power import power
from tools_scorer.train import train
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.scorers.scorer import load_scorer, select_features, summarize

HERE = Invocation("tools-scorer", "0.1.0")


def results_of(tmp_path, data, **more):
    options = {"config_name": "linear", "epochs": 12, "dtype": "fp32"} | more
    manifest = train(TrainConfig(data=str(data), output_dir=str(tmp_path / "run"), **options), HERE)
    config = ScorerEvaluateConfig(
        scorer=str(tmp_path / "run"), data=str(data), output_dir=str(tmp_path / "eval"), resamples=200
    )
    evaluate(config, HERE)
    return manifest, json.loads((tmp_path / "eval" / "results.json").read_text())


def offset_by_question(states, question, trace):
    """Along the direction of the signal, questions lie much farther apart than right and wrong traces of one do."""
    generator = torch.Generator().manual_seed(1000 + question)
    direction = torch.nn.functional.normalize(torch.ones(states.shape[-1]), dim=0)
    return states + 30 * torch.randn(1, generator=generator).item() * direction


def plant(right_of):
    """The signal along one known direction, beneath the question's offset."""

    def change(states, question, trace):
        direction = torch.nn.functional.normalize(torch.ones(states.shape[-1]), dim=0)
        sign = 1 if right_of(question, trace) else -1
        return offset_by_question(states, question, trace) + 4 * sign * direction

    return change


def labelled(make_hidden, folder, **more):
    """Made twice with one seed: first to learn which traces are right, then with the signal planted there."""
    from tools_scorer.states.folder import open_hidden

    first = open_hidden(make_hidden(folder.with_name("plain"), **more))
    right = {info.trace_id: bool(info.is_correct) for info, _, _ in first}
    return make_hidden(folder, change=plant(lambda q, t: right[f"q{q}/{t}"]), **more)


def test_a_signal_that_exists_only_within_a_question_is_found_by_pairs(tmp_path, make_hidden):
    data = labelled(make_hidden, tmp_path / "h", n_questions=160)
    _, results = results_of(tmp_path, data, loss="pairwise")
    assert results["within"]["low"] > 0.9
    assert results["pooled"]["high"] < results["within"]["low"] - 0.1, "offsets drown it where questions are mixed"


def test_read_outs_are_compared_on_calibration_questions_and_one_is_kept(tmp_path, make_hidden, capsys):
    data = make_hidden(tmp_path / "h", n_questions=40, signal=2.0)
    manifest, results = results_of(tmp_path, data, select=True, epochs=2)
    table = json.loads((tmp_path / "run" / "readouts.json").read_text())
    assert len(table) == len({entry["name"] for entry in table}) == 8  # one layer was recorded
    best = max(table, key=lambda entry: entry["within_auroc"]["estimate"])
    assert manifest.metrics["readout"] == best["name"]
    facts = load_scorer(tmp_path / "run").facts
    assert (facts.read_at, list(facts.widths)) == (best["read_at"], best["hidden"])
    assert results["within"]["estimate"] > 0.7
    assert "evaluate it on the test questions" in capsys.readouterr().err


def test_a_selection_that_was_killed_ends_as_one_that_was_not(tmp_path, make_hidden, monkeypatch):
    import tools_scorer.train as module

    data = make_hidden(tmp_path / "h", n_questions=20, signal=1.0)
    config = {"data": str(data), "config_name": "linear", "epochs": 2, "dtype": "fp32", "select": True}
    train(TrainConfig(output_dir=str(tmp_path / "whole"), **config), HERE)
    measured, calls = module.measured, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measured(*args)

    monkeypatch.setattr(module, "measured", dies)
    with pytest.raises(KeyboardInterrupt):
        train(TrainConfig(output_dir=str(tmp_path / "cut"), **config), HERE)
    monkeypatch.undo()
    train(TrainConfig(output_dir=str(tmp_path / "cut"), **config), HERE)
    for name in ("readouts.json", "metrics.jsonl", "checkpoints/linear/scorer.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_a_scorer_of_the_end_reads_one_row_a_trace(tmp_path, make_hidden):
    from tools_scorer.evaluation.judged import judge
    from tools_scorer.states.folder import open_hidden

    data = make_hidden(tmp_path / "h", signal=2.0)
    config = TrainConfig(data=str(data), output_dir=str(tmp_path / "r"), config_name="linear", read_at="end", epochs=3)
    train(config, HERE)
    scorer, hidden = load_scorer(tmp_path / "r"), open_hidden(data)
    judged = {trace.info.trace_id: trace for trace in judge(hidden, scorer, "all")}
    for info, positions, states in hidden:
        own = judged[info.trace_id]
        assert own.steps == pytest.approx(scorer.probabilities(states[-1:]), abs=1e-6)
        assert own.ends == (int(positions[-1]) + 1 - info.prompt_len,)
        assert own.score == summarize(own.steps)


def test_the_middle_layer_is_the_middle_one_that_was_recorded():
    states = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    assert torch.equal(select_features(states, "middle"), states[:, 1])
    assert torch.equal(select_features(states[:, :1], "middle"), states[:, 0])
    assert torch.equal(select_features(states[:, :2], "middle"), states[:, 0])


def test_nothing_to_choose_by_is_said(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", n_questions=12, n_traces=1, pass_rate=0.5)
    with pytest.raises(ToolError, match="fewer than 2 calibration questions have both right and wrong traces"):
        train(TrainConfig(data=str(data), output_dir=str(tmp_path / "r"), select=True, epochs=1), HERE)


@pytest.mark.parametrize(("n_questions", "n_traces"), [(40, 8), (120, 4)])
def test_the_power_that_is_told_is_that_of_the_intervals(n_questions, n_traces):
    """Scores that are really worth 0.6 within a question: how often the interval of a mean lies above 0.5."""
    from tools_scorer.evaluation.metrics import question_aurocs

    rng = np.random.default_rng(0)
    shift = 0.2533 * np.sqrt(2)  # of two normals one deviation apart times this, the AUROC is 0.6
    seen, told = [], []
    for _ in range(200):
        questions = np.repeat(np.arange(n_questions), n_traces)
        labels = (rng.random(len(questions)) < 0.5).astype(float)
        scores = rng.normal(size=len(questions)) + shift * labels
        found = np.array(list(question_aurocs(labels, scores, questions).values()))
        seen.append(found.mean() - 1.96 * found.std(ddof=1) / np.sqrt(len(found)) > 0.5)
        told.append(power(labels, questions).chance)
    assert np.mean(seen) == pytest.approx(np.mean(told), abs=0.1)


def test_power_without_mixed_questions_is_none():
    found = power(np.array([1.0, 1.0, 0.0]), np.array([0, 0, 1]))
    assert (found.n, found.chance, found.smallest) == (0, 0.0, 1.0)
