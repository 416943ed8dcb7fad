import json
import math

import pytest
import torch

from tools_scorer.config.scorer import TrainConfig
from tools_scorer.states.folder import open_hidden
from tools_scorer.train import train
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.scorers.scorer import load_scorer

HERE = Invocation("tools-scorer", "0.1.0")


def settings(data, out, **more) -> TrainConfig:
    options = {"config_name": "demo", "epochs": 4, "dtype": "fp32"} | more
    return TrainConfig(data=str(data), output_dir=str(out), **options)


def test_a_run_has_checkpoints_plots_and_an_identity(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", signal=1.0)
    manifest = train(settings(data, tmp_path / "run"), HERE)
    folder = tmp_path / "run" / "checkpoints" / "demo"
    assert {p.name for p in folder.iterdir()} == {"scorer.json", "scorer.safetensors", "last"}
    assert (tmp_path / "run" / "plots" / "demo" / "loss.png").stat().st_size > 1000
    assert not (tmp_path / "run" / "training").exists()
    assert manifest.metrics["n_questions"] == 30
    facts = json.loads((folder / "scorer.json").read_text())
    assert (facts["reader"]["model"], facts["hidden_size"], facts["layers"]) == ("made-up", 24, [2])


@pytest.mark.parametrize(("loss", "signal"), [("bce", 3.0), ("pairwise", 3.0), ("bce", 0.0)])
def test_the_metrics_of_validation_are_logged_and_drawn_by_epoch(tmp_path, make_hidden, loss, signal):
    from tools_scorer.evaluation.plots import plot_training

    data = make_hidden(tmp_path / "h", n_questions=120, signal=signal)
    train(settings(data, tmp_path / "run", loss=loss), HERE)
    epochs = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in epochs] == list(range(1, len(epochs) + 1))
    assert all(("validation_accuracy" in entry) == (loss == "bce") for entry in epochs)
    within, pooled = ([entry[f"validation_{name}"] for entry in epochs] for name in ("auroc_within", "auroc"))
    assert (max(within) > 0.8, max(pooled) > 0.8) == (signal > 0, signal > 0)
    plots = tmp_path / "run" / "plots" / "demo"
    assert {path.name for path in plots.iterdir()} == {"loss.png", "validation.png"}
    drawn = plot_training(epochs, tmp_path / "again").svg["validation"]
    assert ("accuracy" in drawn) == (loss == "bce")
    assert "AUROC within a question" in drawn


def test_same_seed_same_weights_and_a_killed_run_ends_with_them_too(tmp_path, make_hidden, monkeypatch):
    data = make_hidden(tmp_path / "h", signal=0.5)
    train(settings(data, tmp_path / "whole"), HERE)

    import tools_scorer.training.fit as fit

    save, calls = fit._save, []

    def dies(*args):
        save(*args)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit, "_save", dies)
    with pytest.raises(KeyboardInterrupt):
        train(settings(data, tmp_path / "cut"), HERE)
    monkeypatch.undo()
    train(settings(data, tmp_path / "cut"), HERE)
    for name in ("scorer.safetensors", "last/scorer.safetensors", "scorer.json"):
        whole, cut = (tmp_path / run / "checkpoints" / "demo" / name for run in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_a_buffer_smaller_than_the_data_learns_as_well(tmp_path, make_hidden):
    from tools_scorer.config.scorer import recipe
    from tools_scorer.training.rows import Feed, choose_rows, standardisation

    data = make_hidden(tmp_path / "h", n_questions=120, n_steps=20, signal=1.0)
    rows = choose_rows(open_hidden(data), "train", "last")
    feed = Feed(rows, standardisation(rows), torch.float32, memory_mb=0)
    seen = [at for _, at in feed.batches(100, (0, 0), together=False)]
    assert sorted(i for at in seen for i in at) == list(range(len(rows)))
    assert recipe(settings(data, tmp_path)).hidden == (64,)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("method", ["temperature", "isotonic", "none"])
def test_folded_weights_equal_the_network_they_are_folded_from(tmp_path, make_hidden, method, seed):
    from tools_scorer.config.scorer import recipe
    from tools_scorer.train import finish_module
    from tools_scorer.training.calibration import fit_isotonic, fit_line
    from tools_scorer.training.rows import choose_rows, standardisation
    from tools_shared.scorers.scorer import piecewise, probe

    data = make_hidden(tmp_path / "h", signal=0.5, seed=seed)
    config = settings(data, tmp_path / "run", calibration=method)
    rows = choose_rows(open_hidden(data), "calibration", "last", weighting="trace")
    scale = standardisation(rows)
    torch.manual_seed(seed)
    module = probe(24, (64,)).double()
    folded, _ = finish_module(module.float(), scale, rows, recipe(config))
    x = rows.read(torch.arange(len(rows)).numpy()).double()
    with torch.inference_mode():
        logits = module.double()((x - scale.mean) / scale.std)
        given = rows.label.astype("f8"), rows.weight.astype("f8")
        if method == "temperature":
            a, b = fit_line(logits.numpy(), *given)
            expected = torch.sigmoid(a * logits + b)
        elif method == "isotonic":
            expected = piecewise(logits, *map(torch.from_numpy, fit_isotonic(logits.numpy(), *given)))
        else:
            expected = torch.sigmoid(logits)
        found = folded.double().probability(x)
    assert (found - expected).abs().max() < 1e-6


def test_exports_give_the_calibrated_probabilities(tmp_path, make_hidden):
    onnxruntime = pytest.importorskip("onnxruntime")
    data = make_hidden(tmp_path / "h", signal=0.5)
    train(settings(data, tmp_path / "run", hidden="512", export=("onnx", "step-pt")), HERE)
    folder = tmp_path / "run" / "checkpoints" / "demo"
    scorer = load_scorer(tmp_path / "run")
    states = open_hidden(data).shards[0].states()[:50]
    expected = torch.tensor(scorer.probabilities(states))
    session = onnxruntime.InferenceSession(str(folder / "scorer.onnx"))
    (found,) = session.run(["probability"], {"features": states[:, -1].numpy()})
    assert (torch.from_numpy(found) - expected).abs().max() < 1e-6
    found = read_as_step(folder / "scorer_step.pt", states[:, -1])
    assert (torch.tensor(found) - expected).abs().max() < 1e-6


def read_as_step(path, states: torch.Tensor) -> list[float]:
    """What STEP's engine makes of a checkpoint, step by step as `to_step` names the place where it does."""
    network = torch.nn.Module()
    network.net = torch.nn.Sequential(torch.nn.Linear(states.shape[1], 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)  # as torch does by default from 2.6 on
    network.load_state_dict(checkpoint["model_state_dict"])  # strict: another key or shape is an error there
    network.eval()
    with torch.inference_mode():
        return torch.sigmoid(network.net(states.to(torch.float32))).flatten().tolist()


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_step_reads_what_its_model_returns_as_we_do(tmp_path, make_hidden, dtype):
    data = make_hidden(tmp_path / "h", signal=0.5, dtype=dtype)
    train(settings(data, tmp_path / "run", hidden="512", export=("step-pt",)), HERE)
    states = open_hidden(data).shards[0].states()[:50]
    found = read_as_step(tmp_path / "run" / "checkpoints" / "demo" / "scorer_step.pt", states[:, -1])
    assert found == pytest.approx(load_scorer(tmp_path / "run").probabilities(states), abs=1e-6)


def test_step_export_of_another_shape_says_what_fits(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", signal=0.5)
    with pytest.raises(ToolError, match=r"one hidden layer of 512.*widths \[64\]"):
        train(settings(data, tmp_path / "run", export=("step-pt",)), HERE)
    with pytest.raises(ToolError, match=", isotonic knots"):
        train(settings(data, tmp_path / "run", hidden="512", calibration="isotonic", export=("step-pt",)), HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["h"], "nothing is trained that could not be written"


@pytest.mark.parametrize("loss", ["bce", "pairwise"])
def test_a_planted_signal_is_learnt(tmp_path, make_hidden, loss):
    data = make_hidden(tmp_path / "h", signal=2.0)
    train(settings(data, tmp_path / "run", loss=loss, epochs=15), HERE)
    scorer = load_scorer(tmp_path / "run")
    right, wrong = [], []
    for trace, _, states in open_hidden(data):
        if trace.split == "test":
            (right if trace.is_correct else wrong).append(sum(scorer.probabilities(states)) / len(states))
    assert sum(right) / len(right) > sum(wrong) / len(wrong) + 0.3


def test_states_that_are_not_those_that_were_written_are_not_learnt_from(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", signal=0.5)
    shard = sorted(data.glob("*.safetensors"))[1]
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ToolError, match=f"{shard.name}: corrupt"):
        train(settings(data, tmp_path / "run"), HERE)


def test_one_class_is_refused_with_its_count(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", pass_rate=1.1)
    with pytest.raises(ToolError, match="all 900 steps of the train split are of right traces"):
        train(settings(data, tmp_path / "run"), HERE)
    assert not (tmp_path / "run.partial").exists()


def test_too_few_questions_are_refused(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", n_questions=2, pass_rate=0.5)
    with pytest.raises(ToolError, match="0 questions in the calibration split"):
        train(settings(data, tmp_path / "run"), HERE)


def test_states_that_are_not_finite_name_their_shard(tmp_path, make_hidden, monkeypatch):
    monkeypatch.setattr("tools_shared.states.shards._check_finite", lambda *_: None)
    data = make_hidden(tmp_path / "h", change=lambda s, q, t: s * (math.nan if (q, t) == (4, 1) else 1))
    with pytest.raises(ToolError, match=r"shard-000000-000100.safetensors: contains NaN"):
        train(settings(data, tmp_path / "run"), HERE)


def test_another_dimension_names_both(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", signal=0.5)
    train(settings(data, tmp_path / "run", epochs=1), HERE)
    scorer = load_scorer(tmp_path / "run")
    with pytest.raises(ToolError, match=r"\(1, 24\), got \(1, 12\).*made-up"):
        scorer.probabilities(torch.zeros(3, 1, 12))
    with pytest.raises(ToolError, match="norm 'post' and 'pre'"):
        scorer.check_reader({"norm": "pre"}, "other", ["norm"])


def test_unknown_settings_name_the_known(tmp_path, make_hidden):
    with pytest.raises(ToolError, match="demo, linear, qwen3_4b_default"):
        train(settings(tmp_path, tmp_path / "run", config_name="linaer"), HERE)


def test_the_known_files_are_trained_on_split_by_question(tmp_path):
    files = tmp_path / "pt"
    files.mkdir()
    generator = torch.Generator().manual_seed(0)
    for part in range(2):
        entries = [
            {
                "select_hidden_states": torch.randn(3, 8, generator=generator) + (i % 2) * 3,
                "full_input_ids": torch.arange(9),
                "full_forward_text": "x",
                "original_response": "x",
                "question": f"question {part} {i // 4}",
                "is_correct": i % 2 == 0,
            }
            for i in range(80)
        ]
        torch.save(entries, files / f"p_hiddenstates_{80 * part}_{80 * part + 80}.pt")
    manifest = train(settings(files, tmp_path / "run"), HERE)
    hidden = open_hidden(tmp_path / "run-hidden")
    assert hidden.n_traces == 160
    splits = {}
    for trace, _, _ in hidden:
        assert splits.setdefault(trace.question_id, trace.split) == trace.split
    assert manifest.metrics["n_questions"] == list(splits.values()).count("train")
    train(settings(files, tmp_path / "run"), HERE)  # finished already: says so and does nothing


def test_a_pickle_in_place_of_tensors_is_refused(tmp_path):
    import pickle

    (tmp_path / "x.pt").write_bytes(pickle.dumps(print))
    with pytest.raises(ToolError, match="x.pt: not a file of tensors"):
        train(settings(tmp_path, tmp_path / "run"), HERE)


def test_the_first_layer_by_hand_has_the_gradients_of_autograd():
    from tools_scorer.training.fit import _FirstLayer
    from tools_shared.scorers.scorer import probe

    torch.manual_seed(0)
    module, x = probe(12, (7,)), torch.randn(9, 12)
    module(x).square().sum().backward()
    expected = [p.grad.clone() for p in module.parameters()]
    for p in module.parameters():
        p.grad = None
    first = _FirstLayer(module.net[0], torch.float32)
    hidden = first.forward(x).requires_grad_()
    module.net[1:](hidden).squeeze(-1).square().sum().backward()
    first.backward(x, hidden.grad)
    for p, wanted in zip(module.parameters(), expected, strict=True):
        assert torch.allclose(p.grad, wanted, atol=1e-5)


def test_a_finished_run_of_other_states_is_refused(tmp_path, make_hidden):
    import shutil

    data = make_hidden(tmp_path / "h", signal=0.5)
    first = train(settings(data, tmp_path / "run", epochs=1), HERE)
    assert train(settings(data, tmp_path / "run", epochs=1), HERE).sha256 == first.sha256
    shutil.rmtree(data)
    make_hidden(data, signal=0.5, seed=1)
    with pytest.raises(ToolError, match="has changed since; pass --overwrite"):
        train(settings(data, tmp_path / "run", epochs=1), HERE)
