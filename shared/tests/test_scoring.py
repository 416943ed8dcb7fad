import json

import pytest

torch = pytest.importorskip("torch")

from tools_shared.errors import ToolError  # noqa: E402
from tools_shared.models import resolve  # noqa: E402
from tools_shared.scorers.scorer import ScorerFacts, load_scorer, probe, save_scorer  # noqa: E402
from tools_shared.scorers.text import TextResponse, open_text_scorer  # noqa: E402
from tools_shared.states.reader import reader_sha256  # noqa: E402

READER = {"model": "demo", "norm": "post", "delimiter": "\n\n", "dtype": "fp32", "compute_dtype": "fp32"}


def write_scorer(folder, **changes):
    """A scorer of random weights for the demo model."""
    torch.manual_seed(0)
    size = json.loads((resolve_demo() / "config.json").read_text())["hidden_size"]
    layers = (json.loads((resolve_demo() / "config.json").read_text())["num_hidden_layers"],)
    reader = READER | {"reader_sha256": reader_sha256(resolve("demo")), "layers": list(layers)} | changes
    save_scorer(folder, ScorerFacts("demo", size, layers, reader, widths=()), probe(size, ()))
    return folder


def resolve_demo():
    from tools_shared.demo import model_path

    return model_path()


def test_text_is_scored_alone_as_in_a_batch(tmp_path):
    scorer = open_text_scorer(str(write_scorer(tmp_path / "s")))
    responses = [
        TextResponse("What is 2 + 3?", "<start_working_out>2 + 3 = 5.\n\nSo 5.<end_working_out><SOLUTION>5</SOLUTION>"),
        TextResponse("What is 7 + 3?", "no tags\n\nat all"),
        TextResponse("What is 1 + 1?", ""),
    ]
    together = scorer.score(responses)
    assert [len(s.steps) for s in together] == [2, 2, 0]
    assert together[2].score is None
    assert "empty" in together[2].reason
    alone = scorer.score(responses[1:2])[0]
    assert alone.steps == pytest.approx(together[1].steps, abs=1e-4)


def test_other_weights_than_those_that_it_reads_with_are_refused(tmp_path):
    with pytest.raises(ToolError, match="other weights .* --model-name"):
        open_text_scorer(str(write_scorer(tmp_path / "s", reader_sha256="f" * 64)))


def test_torn_weights_and_missing_scorers_are_named(tmp_path):
    folder = write_scorer(tmp_path / "s")
    weights = folder / "scorer.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ToolError, match="scorer.safetensors: not the weights"):
        load_scorer(folder)
    with pytest.raises(ToolError, match="no scorer here"):
        load_scorer(tmp_path)
    with pytest.raises(ToolError, match="no such run directory"):
        load_scorer(tmp_path / "nothing")


def test_a_newer_format_is_refused(tmp_path):
    folder = write_scorer(tmp_path / "s")
    facts = json.loads((folder / "scorer.json").read_text())
    (folder / "scorer.json").write_text(json.dumps(facts | {"schema_version": 9}))
    with pytest.raises(ToolError, match="format 9"):
        load_scorer(folder)
