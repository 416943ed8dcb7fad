import json

import numpy as np
import pytest

from tools_scorer.config.scorer import ScorerEvaluateConfig, TrainConfig
from tools_scorer.evaluate import evaluate
from tools_scorer.evaluation.report import distinct
from tools_scorer.states.folder import open_hidden
from tools_scorer.train import train
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError

HERE = Invocation("tools-scorer", "0.1.0")


def run(tmp_path, data, split="test", **more):
    config = TrainConfig(data=str(data), output_dir=str(tmp_path / "run"), config_name="demo", epochs=12, **more)
    train(config, HERE)
    judged = ScorerEvaluateConfig(
        scorer=str(tmp_path / "run"), data=str(data), output_dir=str(tmp_path / "eval"), split=split
    )
    evaluate(judged, HERE)
    return json.loads((tmp_path / "eval" / "results.json").read_text())


def test_without_signal_the_within_question_auroc_is_one_half(tmp_path, make_hidden):
    results = run(tmp_path, make_hidden(tmp_path / "h", n_questions=240, signal=0.0))
    assert results["within"]["low"] <= 0.5 <= results["within"]["high"]
    assert "does not tell right traces from wrong ones" in results["verdict"][0]
    assert "not shown to beat the majority" in results["verdict"][-1]


def test_the_same_data_split_by_step_claim_to_be_near_one(tmp_path, make_hidden):
    """What the known script does: steps of one trace on both sides of the split."""
    sklearn = pytest.importorskip("sklearn.neural_network")
    data = open_hidden(make_hidden(tmp_path / "h", n_questions=60, signal=0.0, size=64))
    x, y = [], []
    for trace, _, states in data:
        x.append(states[:, -1].numpy())
        y += [int(trace.is_correct)] * len(states)
    x, y = np.concatenate(x), np.array(y)
    order = np.random.default_rng(0).permutation(len(y))
    test, rest = order[: len(y) // 5], order[len(y) // 5 :]
    net = sklearn.MLPClassifier((512,), max_iter=60, random_state=0).fit(x[rest], y[rest])
    from tools_shared.stats.auroc import auroc

    assert auroc(y[test].astype(float), net.predict_proba(x[test])[:, 1]) > 0.95


def test_a_planted_signal_is_found_and_the_weighted_vote_beats_the_majority(tmp_path, make_hidden):
    results = run(tmp_path, make_hidden(tmp_path / "h", n_questions=200, n_traces=8, signal=2.5))
    assert results["within"]["low"] > 0.8
    last = results["selected"][-1]
    assert last["gain"]["weighted vote"]["low"] > 0
    assert results["calibration"]["ece_after"] < 0.1
    assert "beats the majority" in results["verdict"][-1]
    report = (tmp_path / "eval" / "report.html").read_text()
    assert "<script" not in report
    assert "http" not in report.replace("http-equiv", "").replace("http://www.w3.org", "")
    names = {p.stem for p in (tmp_path / "eval" / "plots" / "demo").iterdir()}
    assert {"roc", "reliability", "auroc_by_fraction", "trajectories", "savings", "best_of_n"} <= names


@pytest.mark.parametrize(("split", "said"), [("all", "trained on"), ("calibration", "were chosen on these questions")])
def test_questions_that_the_scorer_knows_are_said_to_be_so(tmp_path, make_hidden, split, said):
    results = run(tmp_path, make_hidden(tmp_path / "h", signal=0.5), split)
    assert said in results["verdict"][0]
    assert any("within-question AUROC" in sentence for sentence in results["verdict"])


def widths(found):
    """Of every interval in there."""
    if isinstance(found, dict) and {"estimate", "low", "high", "n"} == set(found):
        yield found["high"] - found["low"]
    elif isinstance(found, dict | list):
        for value in found.values() if isinstance(found, dict) else found:
            yield from widths(value)


@pytest.mark.parametrize(("n_questions", "n_traces"), [(12, 2), (16, 6), (30, 4)])
@pytest.mark.parametrize("signal", [0.0, 60.0])
def test_few_questions_have_no_certain_figures_and_are_said_to_be_few(
    tmp_path, make_hidden, n_questions, n_traces, signal, capsys
):
    data = make_hidden(tmp_path / "h", n_questions=n_questions, n_traces=n_traces, signal=signal)
    results = run(tmp_path, data, split="all" if n_questions < 16 else "test")
    found = list(widths(results))
    assert len(found) > 20
    assert min(found) > 0.02
    assert f"{results['n_questions']} questions" in capsys.readouterr().err
    assert "rough below 20" in " ".join(results["verdict"])
    assert "rough below 20" in (tmp_path / "eval" / "report.html").read_text()


def test_many_questions_are_not_called_few(tmp_path, make_hidden):
    results = run(tmp_path, make_hidden(tmp_path / "h", n_questions=240, signal=0.5))
    assert "rough below" not in " ".join(results["verdict"])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 0.54412, 0.54433, 0.9], ["0", "0.5441", "0.5443", "0.9"]),
        ([0.5, 0.5 + 2e-16, 0.25], ["0.5", "0.5", "0.25"]),
        ([1.0, 0.8, 0.6], ["1", "0.8", "0.6"]),
        ([], []),
    ],
)
def test_thresholds_that_differ_are_written_differently(values, texts):
    assert distinct(values) == texts


def test_states_of_another_reader_are_refused_naming_both(tmp_path, make_hidden):
    data, other = make_hidden(tmp_path / "h", signal=1.0), make_hidden(tmp_path / "o", size=16)
    train(TrainConfig(data=str(data), output_dir=str(tmp_path / "run"), config_name="demo", epochs=1), HERE)
    with pytest.raises(ToolError, match="hidden_size 24 and 16"):
        evaluate(
            ScorerEvaluateConfig(scorer=str(tmp_path / "run"), data=str(other), output_dir=str(tmp_path / "e")), HERE
        )


def test_one_class_in_the_split_cannot_be_judged(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", signal=1.0)
    train(TrainConfig(data=str(data), output_dir=str(tmp_path / "run"), config_name="demo", epochs=1), HERE)
    one = make_hidden(tmp_path / "one", pass_rate=1.1)
    with pytest.raises(ToolError, match="all 90 traces are right"):
        evaluate(
            ScorerEvaluateConfig(scorer=str(tmp_path / "run"), data=str(one), output_dir=str(tmp_path / "e")), HERE
        )
