"""With a real model: the plain cosine rule as the reference has it, the cache, and vectors that can be trusted."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tools_dedup.decision.calibration import fit
from tools_dedup.semantic.cache import VectorCache, as_ids
from tools_dedup.semantic.encode import batches, check_vectors
from tools_dedup.semantic.models import find_model
from tools_dedup.semantic.static import StaticEncoder
from tools_shared.errors import ToolError

from .conftest import TRAIN, read_rows, write_rows


def test_the_plain_rule_gives_the_numbers_of_the_reference(dedup, folder, minilm):
    """Encode goal and numbered steps, normalise, take the largest dot product: computed here in three lines."""
    from sentence_transformers import SentenceTransformer

    assert dedup("--model", minilm, "--threshold", "0.65", "--dtype", "float32").exit_code == 0
    texts = [[r["goal"] + "\n" + "\n".join(f"{i + 1}. {s}" for i, s in enumerate(r["steps"])) for r in rows]
             for rows in (TRAIN, read_rows(folder / "test.jsonl"))]  # fmt: skip
    model = SentenceTransformer(minilm, device="cpu")
    train, test = (model.encode(t, normalize_embeddings=True, show_progress_bar=False) for t in texts)
    similar = train @ test.T
    matches = read_rows(folder / "clean.matches.jsonl")

    assert [m["nearest_test_idx"] for m in matches] == similar.argmax(axis=1).tolist()
    assert [m["cosine_similarity"] for m in matches] == pytest.approx(similar.max(axis=1), abs=2e-5)
    assert [bool(m["removed_by"]) for m in matches] == (similar.max(axis=1) >= 0.65).tolist()


def test_a_second_run_encodes_nothing_and_loads_no_torch(dedup, folder, minilm):
    first = dedup("--model", minilm, "--threshold", "0.9", "--json")
    assert json.loads(first.stdout)["metrics"]["n_encoded"] == 5  # five distinct texts in the two files
    before = (folder / "clean.matches.jsonl").read_bytes()
    code = (
        "import sys; from tools_dedup.run import decontaminate; from tools_dedup.config import DedupConfig;"
        f"c = DedupConfig(model={minilm!r}, threshold=0.9, device='cpu');"
        "n = decontaminate('train.jsonl', 'test.jsonl', c).metrics['n_encoded'];"
        "sys.exit(bool({'sentence_transformers', 'transformers', 'torch'} & set(sys.modules)) or n)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=folder).returncode == 0
    dedup("--model", minilm, "--threshold", "0.9")
    assert (folder / "clean.matches.jsonl").read_bytes() == before


def test_a_second_test_set_costs_only_its_own_encoding(dedup, folder, minilm):
    dedup("--model", minilm, "--threshold", "0.9")
    write_rows(folder / "more.jsonl", [{"goal": "Tie a bow tie", "steps": ["Cross the ends."]}])
    result = dedup("--model", minilm, "--threshold", "0.9", "--test-path", "more.jsonl", "--json")

    assert json.loads(result.stdout)["metrics"]["n_encoded"] == 1


def test_the_calibrated_rule_finds_a_rewording(dedup, folder, minilm):
    question = (
        "Janet's ducks lay 16 eggs per day. She eats three and sells the rest for $2 each. How much does she make?"
    )
    reworded = (
        "The ducks of Janet produce 16 eggs daily. She has 3 for breakfast, sells the others at 2 dollars. Her income?"
    )
    other = "A train leaves at 9 and travels 120 miles in 2 hours. What is its average speed in miles per hour?"
    write_rows(folder / "train.jsonl", [{"question": q, "answer": "#### 1"} for q in (reworded, other)])
    write_rows(folder / "test.jsonl", [{"question": question, "answer": "#### 26"}])
    result = dedup("--model", minilm)

    assert result.exit_code == 0, result.output
    (match,) = [m for m in read_rows(folder / "clean.matches.jsonl") if m["removed_by"]]
    assert match["train_line"] == 1
    assert set(match["features"]) == {"cosine", "numbers", "containment", "overlap", "length"}


def test_an_unknown_model_is_warned_about_loudly(dedup, minilm, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(minilm, other)
    config = json.loads((other / "sentence_bert_config.json").read_text())
    (other / "sentence_bert_config.json").write_text(json.dumps(config | {"max_seq_length": 64}))
    result = dedup("--model", str(other))

    assert "NOT CALIBRATED" in result.output
    assert result.exit_code == 0


def test_cut_texts_are_counted(dedup, folder, minilm):
    write_rows(folder / "train.jsonl", [{"goal": "word " * 600, "steps": ["end"]}])

    assert "1 texts are longer than the model's 256 tokens" in dedup("--model", minilm, "--threshold", "0.9").output


def test_an_interrupted_encoding_goes_on_where_it_stopped(tmp_path):
    ids = as_ids([bytes([i]) * 16 for i in range(6)])
    vectors = np.eye(6, 8, dtype=np.float32)
    cache = VectorCache(tmp_path, {"model": "m"})
    cache.add(ids[:4], vectors[:4], [1] * 4)
    (cache.folder / "000001-1-torn.vectors.npy").write_bytes(b"\x93NUMPY")  # its ids were never written
    again = VectorCache(tmp_path, {"model": "m"})

    assert again.find(ids).tolist() == [0, 1, 2, 3, -1, -1]
    again.add(ids[4:], vectors[4:], [2, 3])
    again.refresh()
    places = again.find(ids[::-1])
    assert (again.take(places) == vectors[::-1]).all()
    assert again.tokens(places).tolist() == [3, 2, 1, 1, 1, 1]
    assert VectorCache(tmp_path, {"model": "other"}).find(ids).tolist() == [-1] * 6


def flip(path, seed, n_bytes=1):
    """Other bytes in `n_bytes` places, the first kilobyte among them."""
    content = bytearray(path.read_bytes())
    for place in np.random.default_rng(seed).integers(0, len(content), n_bytes):
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("kind", ["vectors.npy", "ids.npy", "sums.json"])
@pytest.mark.parametrize("seed", range(5))
def test_a_part_with_a_changed_byte_is_not_read(tmp_path, capsys, kind, seed):
    ids = as_ids([bytes([i]) * 16 for i in range(6)])
    vectors = np.random.default_rng(0).normal(size=(6, 32)).astype(np.float32)
    cache = VectorCache(tmp_path, {"model": "m"})
    cache.add(ids[:3], vectors[:3], [1] * 3)
    cache.refresh()
    cache.add(ids[3:], vectors[3:], [1] * 3)
    flip(sorted(cache.folder.glob(f"*.{kind}"))[0], seed)
    again = VectorCache(tmp_path, {"model": "m"})

    places = again.find(ids)
    assert (places >= 0).tolist() == [False, False, False, True, True, True]
    assert (again.take(places[3:]) == vectors[3:]).all()
    assert "is not as it was written" in capsys.readouterr().err
    again.add(ids[:3], vectors[:3], [1] * 3)
    again.refresh()
    assert (again.take(places[3:]) == vectors[3:]).all()  # a place once given stays that text's
    assert (again.take(again.find(ids)) == vectors).all()
    assert len(list(cache.folder.glob("*.npy"))) == 4


@pytest.mark.parametrize("n_bytes", [1, 64, 4000])
def test_a_corrupted_cache_changes_no_result(dedup, folder, minilm, n_bytes):
    def rows():
        return (folder / "clean.jsonl").read_bytes(), (folder / "clean.matches.jsonl").read_bytes()

    words = ("--model", minilm, "--threshold", "0.65", "--dtype", "float32")
    assert dedup(*words).exit_code == 0
    before = rows()
    for path in folder.glob("cache/*/*/*.vectors.npy"):
        flip(path, n_bytes, n_bytes)
    result = dedup(*words)
    assert result.exit_code == 0
    assert "its texts are encoded again" in result.output
    assert rows() == before


@pytest.mark.parametrize("seed", range(8))
def test_saved_embeddings_with_a_changed_byte_are_refused(dedup, folder, minilm, seed):
    words = ("--model", minilm, "--threshold", "0.65", "--dtype", "float32")
    assert dedup(*words, "--save-embeddings", "v.npz").exit_code == 0
    flip(folder / "v.npz", seed, 40)
    result = dedup(*words, "--load-embeddings", "v.npz")
    assert result.exit_code == 1
    assert "v.npz" in result.output


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_an_error(bad):
    vectors = np.eye(3, dtype=np.float32)
    vectors[1] = bad
    with pytest.raises(ToolError, match="no usable vector for 1 texts, the first being 'b'"):
        check_vectors(vectors, ["a", "b", "c"])


def test_batches_hold_every_text_once_within_the_budget():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 300, 500).tolist()
    made = list(batches(lengths, 1024))

    assert sorted(i for chosen, _ in made for i in chosen) == list(range(500))
    for chosen, width in made:
        assert len(chosen) * width <= 1024
        assert all(width - 16 < lengths[i] <= width for i in chosen)


def test_fit_finds_the_coefficients_that_made_the_labels():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(40000, 3))
    weights = np.array([2.0, -1.0, 0.5])
    labels = rng.random(40000) < 1 / (1 + np.exp(-(features @ weights - 0.7)))
    found, intercept = fit(features, labels.astype(float), ridge=0.01)

    assert found == pytest.approx(weights, abs=0.08)
    assert intercept == pytest.approx(-0.7, abs=0.08)


def test_windows_find_what_stands_behind_the_limit(dedup, folder, minilm):
    question = (
        "Janet's ducks lay 16 eggs per day. She eats three and sells the rest for $2 each. How much does she make?"
    )
    filler = "The weather over the northern hills was calm and nobody spoke about it for a long while. " * 40
    write_rows(folder / "train.jsonl", [{"question": filler + question, "answer": "#### 26"}])
    write_rows(folder / "test.jsonl", [{"question": question, "answer": "#### 26"}])
    cosines = []
    for long in ("truncate", "chunk"):
        assert dedup("--model", minilm, "--threshold", "0.99", "--long", long).exit_code == 0
        cosines.append(read_rows(folder / "clean.matches.jsonl")[0]["cosine_similarity"])

    assert cosines[0] < 0.3 < cosines[1]


@pytest.mark.parametrize("quantised", [False, True])
def test_static_vectors_are_those_of_model2vec(tmp_path, quantised):
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed (extra: test)")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["[UNK]", *"the cat dog sat ran on mat hill and".split()]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    rng = np.random.default_rng(3)
    more = {}
    if quantised:
        mapping = rng.integers(0, 4, len(words))
        more = {"weights": rng.random(len(words)).astype(np.float32), "token_mapping": mapping}
    table = rng.normal(size=(4 if quantised else len(words), 8)).astype(np.float32)
    theirs = model2vec.StaticModel(table, tokenizer, normalize=True, **more)
    theirs.save_pretrained(tmp_path / "model")
    texts = ["the cat sat on the mat", "a dog ran", "hill", "the dog and the cat ran on the hill and sat"]
    ref = find_model(str(tmp_path / "model"))
    ours = StaticEncoder(ref).encode(texts, [0] * len(texts))

    assert ref.kind == "static"
    assert ours == pytest.approx(theirs.encode(texts), abs=1e-6)
    with pytest.raises(ToolError, match="no usable vector"):
        check_vectors(StaticEncoder(ref).encode(["zebra"], [0]), ["zebra"])
