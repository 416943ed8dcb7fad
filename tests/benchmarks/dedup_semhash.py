"""SemHash on the same texts with the same static embeddings: `python dedup_semhash.py TRAIN TEST OUT MODEL`."""

import json
import sys
from pathlib import Path

from model2vec import StaticModel
from safetensors.numpy import load_file
from semhash import SemHash
from tokenizers import Tokenizer


def read_model(folder: Path) -> StaticModel:
    """The folder's model; `from_pretrained` wants the tensor `embeddings`, and sentence-transformers writes another."""
    tensors = load_file(folder / "model.safetensors")
    vectors = tensors.get("embeddings", tensors.get("embedding.weight"))
    return StaticModel(vectors, Tokenizer.from_file(str(folder / "tokenizer.json")))


def main(train_path: str, test_path: str, out: str, model_path: str) -> None:
    train, test = (
        [json.loads(line)["question"] for line in Path(p).read_text().splitlines()] for p in (train_path, test_path)
    )
    index = SemHash.from_records(records=test, model=read_model(Path(model_path)))
    result = index.deduplicate(records=train, threshold=0.9)
    Path(out).write_text("".join(json.dumps({"question": text}) + "\n" for text in result.selected))


if __name__ == "__main__":
    main(*sys.argv[1:])
