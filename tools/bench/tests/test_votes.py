import json

import pytest

from tools_bench.config import EvaluateConfig
from tools_bench.evaluate import run_evaluation
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError

HERE = Invocation("tools-bench", "0.1.0")


def evaluated(tmp_path, **options):
    config = EvaluateConfig(
        eval_samples=6, eval_max_new_tokens=48, samples=3, output_dir=str(tmp_path / "run"), **options
    )
    return run_evaluation(config, HERE)


@pytest.fixture
def scorer(tmp_path):
    """A scorer of random weights that reads with the demo model."""
    torch = pytest.importorskip("torch")
    from tools_shared.demo import model_path
    from tools_shared.models import resolve
    from tools_shared.scorers.scorer import ScorerFacts, probe, save_scorer
    from tools_shared.states.reader import reader_sha256

    torch.manual_seed(0)
    shape = json.loads((model_path() / "config.json").read_text())
    size, layers = shape["hidden_size"], (shape["num_hidden_layers"],)
    reader = {"model": "demo", "reader_sha256": reader_sha256(resolve("demo")), "norm": "post", "delimiter": "\n\n"}
    save_scorer(tmp_path / "scorer", ScorerFacts("demo", size, layers, reader, widths=()), probe(size, ()))
    return tmp_path / "scorer"


def test_samples_give_pass_and_majority(tmp_path):
    metrics = evaluated(tmp_path).metrics
    assert metrics["sample_accuracy"]["estimate"] <= metrics["pass@3"]["estimate"]
    assert "majority@3" in metrics
    assert "weighted_vote@3" not in metrics
    assert len((tmp_path / "run" / "samples.jsonl").read_text().splitlines()) == 18


def test_a_scorer_votes_beside_the_majority(tmp_path, scorer):
    manifest = evaluated(tmp_path, scorer=str(scorer))
    assert {"weighted_vote@3", "best_of_3", "weighted_vote_minus_majority"} <= set(manifest.metrics)
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert all(0 <= row["score"] <= 1 for row in rows)
    assert any(entry["name"] == "scorer" for entry in manifest.data["inputs"])


def test_a_scorer_without_samples_is_refused():
    with pytest.raises(ToolError, match="give --samples K"):
        EvaluateConfig(scorer="x")
