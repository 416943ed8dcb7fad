import json
from dataclasses import replace

import pytest

from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_traces.config import OutputConfig, TracesConfig
from tools_traces.sample import sample

HERE = Invocation("tools-traces", "0.1.0")


@pytest.fixture
def scorer(tmp_path):
    """A scorer that gives every step the same probability: 0.5."""
    torch = pytest.importorskip("torch")
    from tools_shared.demo import model_path
    from tools_shared.models import resolve
    from tools_shared.scorers.scorer import ScorerFacts, probe, save_scorer
    from tools_shared.states.reader import reader_sha256

    shape = json.loads((model_path() / "config.json").read_text())
    size, layers = shape["hidden_size"], (shape["num_hidden_layers"],)
    reader = {"model": "demo", "reader_sha256": reader_sha256(resolve("demo")), "norm": "post", "delimiter": "\n\n"}
    module = probe(size, ())
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    save_scorer(tmp_path / "scorer", ScorerFacts("demo", size, layers, reader, widths=()), module)
    return str(tmp_path / "scorer")


@pytest.mark.parametrize("least", [0.4, 0.6])
def test_verified_traces_below_the_score_become_no_rows(tmp_path, scorer, least, monkeypatch):
    """The untrained demo seldom solves a question, so what it writes is taken as verified here."""
    import tools_traces.sample as module

    grader = module.grader

    def lenient(*args):
        graded = grader(*args)
        return lambda *more: replace(graded(*more), verified=True, reasoning="r")

    monkeypatch.setattr(module, "grader", lenient)
    config = TracesConfig(
        num_samples=4, max_attempts=2, max_new_tokens=24, scorer=scorer, min_score=least, fallback="skip",
        output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    manifest = sample(config, HERE)
    rows = (tmp_path / "run" / "traces.jsonl").read_text().splitlines()
    scored = manifest.metrics["traces_scored"]
    assert scored == 8
    assert (len(rows), manifest.metrics["traces_below_min_score"]) == ((4, 0) if least < 0.5 else (0, 8))


def test_a_scorer_that_is_none_is_found_before_anything_is_drawn(tmp_path):
    with pytest.raises(ToolError, match="no such run directory"):
        sample(TracesConfig(scorer="nosuch", min_score=0.5, output_dir=str(tmp_path / "run")), HERE)
    assert list(tmp_path.iterdir()) == []


def test_scorer_and_min_score_belong_together():
    with pytest.raises(ToolError, match="belong together"):
        OutputConfig(min_score=0.5)
    assert OutputConfig(scorer="x", min_score=0.5).goal is None
