"""What one writes without a tool: everything in memory, default batches, one chunked product.

`python dedup_straightforward.py TRAIN TEST OUT MODEL` for a sentence-transformers or a model2vec folder.
"""

import json
import sys
from pathlib import Path

import numpy as np


def encode(model_path: str, texts: list[str]) -> np.ndarray:
    if (Path(model_path) / "1_Pooling").is_dir():
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(model_path, device="cpu")
        return model.encode(texts, batch_size=64, convert_to_numpy=True, normalize_embeddings=True)
    from model2vec import StaticModel

    vectors = StaticModel.from_pretrained(model_path).encode(texts)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main(train_path: str, test_path: str, out: str, model_path: str) -> None:
    train, test = ([json.loads(line) for line in Path(p).read_text().splitlines()] for p in (train_path, test_path))
    texts = [[row["question"] for row in rows] for rows in (train, test)]
    train_emb, test_emb = (encode(model_path, t) for t in texts)
    best, score = np.zeros(len(train), dtype=np.int64), np.zeros(len(train), dtype=np.float32)
    for start in range(0, len(train), 5000):
        similar = train_emb[start : start + 5000] @ test_emb.T
        best[start : start + 5000], score[start : start + 5000] = similar.argmax(axis=1), similar.max(axis=1)
    with Path(out).open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row, s in zip(train, score, strict=True) if s < 0.65)
    with Path(out + ".matches").open("w") as file:
        for i, (j, s) in enumerate(zip(best.tolist(), score.tolist(), strict=True)):
            pair = {"train_idx": i, "train_goal": texts[0][i], "nearest_test_idx": j, "nearest_test_goal": texts[1][j]}
            file.write(json.dumps(pair | {"cosine_similarity": round(s, 6)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
