"""Search by numpy and by faiss: the same rows and cosines, and what the approximate search may and may not do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tools_dedup.config import DedupConfig
from tools_dedup.semantic.search import nearest, searchable
from tools_shared.errors import ToolError

from .conftest import LEXICAL, TRAIN, read_rows, write_rows


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss", reason="faiss is not installed (extra: faiss)")


def unit_vectors(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    values = rng.normal(size=(n, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def tied(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries and a corpus in which many more vectors are equal, or nearly so, than candidates are taken."""
    rng = np.random.default_rng(seed)
    queries, corpus = unit_vectors(rng, 120, 48), unit_vectors(rng, 400, 48)
    corpus[rng.permutation(400)[:60]] = queries[0]
    corpus[rng.permutation(400)[:30]] = queries[1]
    corpus[100:140] = corpus[100] + rng.normal(scale=1e-8, size=(40, 48))
    return queries, corpus


def by_definition(queries: np.ndarray, corpus: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    cosines = (queries.astype(float) @ corpus.T.astype(float)).round(6)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, 1)


@pytest.mark.parametrize("search", ["blocked", "faiss"])
@pytest.mark.parametrize("k", [1, 5, 40, 397, 1000])
def test_search_is_exact_whatever_the_library_the_block_and_the_ties(search, k, request):
    if search == "faiss":
        request.getfixturevalue("faiss")
    queries, corpus = tied(k)
    truth, cosines = by_definition(queries, corpus, k)
    index = searchable(corpus, search)
    for block in (1, 7, 5000):
        found = nearest(lambda a, b: queries[a:b], len(queries), index, k, block)
        assert (found[0] == truth).all()
        assert found[1] == pytest.approx(cosines, abs=1e-6)


@pytest.mark.parametrize("first", ["torch", "faiss"])
def test_faiss_and_torch_share_a_process(faiss, minilm, folder, first):
    """Each brings an OpenMP of its own; whichever is loaded first, both must work, on two threads, and agree."""
    code = (
        f"import {first}; from tools_dedup.run import decontaminate; from tools_dedup.config import DedupConfig\n"
        "def run(search):\n"
        f"    c = DedupConfig(model={minilm!r}, threshold=0.6, search=search, within=True)\n"
        "    return decontaminate('train.jsonl', 'test.jsonl', c)\n"
        "runs = [run(s) for s in ('faiss', 'blocked', 'approximate')]\n"
        "assert runs[0].metrics['n_encoded'] and runs[0].matches == runs[1].matches\n"
        "assert runs[2].kept == runs[1].kept\n"
        "import torch, sys; torch.ones(512, 512) @ torch.ones(512, 512); assert 'faiss' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_an_exact_run_without_faiss_does_not_import_it(folder):
    code = (
        "import sys; from tools_dedup.run import decontaminate; from tools_dedup.config import DedupConfig;"
        "decontaminate('train.jsonl', 'test.jsonl', DedupConfig(method=('exact', 'lexical'), within=True));"
        "sys.exit('faiss' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=folder).returncode == 0


def test_cells_hold_what_was_added_and_rescore_it(faiss):
    from tools_dedup.semantic.cells import N_NEAREST, Cells

    rng = np.random.default_rng(3)
    space = unit_vectors(rng, 900, 32)
    space[450:] = space[:450] + rng.normal(scale=0.02, size=(450, 32))
    space /= np.linalg.norm(space, axis=1, keepdims=True)
    cells = Cells(space)
    ids, cosines = cells.near(np.arange(3), -1.0)
    assert (ids == -1).all()
    assert np.isneginf(cosines).all()
    cells.add(np.arange(450))
    ids, cosines = cells.near(np.arange(450, 900), -1.0)

    assert ids.shape == (450, N_NEAREST)
    assert ids.max() < 450
    assert np.mean([i in row for i, row in enumerate(ids)]) > 0.99
    truth = space[450:].astype(float) @ space[:450].T.astype(float)
    truth = np.take_along_axis(truth, ids, 1)
    assert cosines == pytest.approx(truth, abs=1e-6)
    above = cells.near(np.arange(450, 900), 0.9)[1]
    assert np.isneginf(above[truth < 0.89]).all()
    assert above[truth >= 0.9] == pytest.approx(truth[truth >= 0.9], abs=1e-6)


def test_approximate_within_keeps_the_rows_of_the_exact_one(dedup, folder, faiss, minilm):
    more = [{"goal": row["goal"] + word, "steps": row["steps"]} for row in TRAIN for word in ("", " today", " at home")]
    write_rows(folder / "train.jsonl", more)
    words = ("--model", minilm, "--threshold", "0.95", "--within", "--within-threshold", "0.8")
    for search in ("blocked", "approximate"):
        result = dedup(*words, "--search", search, output=f"{search}.jsonl")
        assert result.exit_code == 0, result.output

    assert 0 < len(read_rows(folder / "blocked.jsonl")) < 9
    assert (folder / "blocked.jsonl").read_bytes() == (folder / "approximate.jsonl").read_bytes()
    exact, other = (read_rows(folder / f"{search}.clusters.jsonl") for search in ("blocked", "approximate"))
    assert [cluster["kept"] for cluster in exact] == [cluster["kept"] for cluster in other]
    for ours, theirs in zip(exact, other, strict=True):
        assert [row["train_line"] for row in ours["removed"]] == [row["train_line"] for row in theirs["removed"]]
        scores = [row["score"] for row in theirs["removed"]]
        assert [row["score"] for row in ours["removed"]] == pytest.approx(scores, abs=1e-5)


def test_approximate_search_is_refused_where_it_would_do_nothing(dedup, faiss):
    with pytest.raises(ToolError, match="serves --within only"):
        DedupConfig(search="approximate")
    result = dedup(*LEXICAL, "--within", "--search", "approximate")

    assert result.exit_code == 1
    assert "compares a model's vectors" in result.output


def test_shards_of_both_exact_searches_belong_together(dedup, folder, faiss, minilm):
    from click.testing import CliRunner

    from tools_dedup.cli import main

    words = ("--model", minilm, "--threshold", "0.7")
    assert dedup(*words, output="whole.jsonl").exit_code == 0
    for i, search in enumerate(("blocked", "faiss")):
        assert dedup(*words, "--shard", f"{i}/2", "--search", search, output=f"s{i}.jsonl").exit_code == 0
    words = ["merge", "s0.run.json", "s1.run.json", "--output-path", "merged.jsonl"]
    merged = CliRunner().invoke(main, words, catch_exceptions=False)
    assert merged.exit_code == 0, merged.output
    assert (folder / "merged.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
