"""The vectors of a run's texts, from the cache, from a file of `--save-embeddings`, or from the model itself.

The model is loaded only for texts that the cache does not hold; a run that finds all of them there needs torch for
nothing but to see whether there is a GPU, and with `--device cpu` not even for that.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_dedup.config import DedupConfig
from tools_dedup.lexical.words import text_digest
from tools_dedup.semantic.cache import ID_BYTES, VectorCache, as_ids, default_cache_dir
from tools_dedup.semantic.encode import Encoder, check_vectors, load_encoder, resolve_dtype
from tools_dedup.semantic.models import EncoderRef
from tools_dedup.semantic.workers import EncodedPart, encode_by_ray
from tools_shared.console import progress
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write

if TYPE_CHECKING:
    import numpy as np

UNIT_TEXTS = 2048
"""Texts that are encoded together: what a worker takes at once."""
PART_UNITS = 4
"""Units of one file of the cache."""
_VECTORS, _IDS = ("train_emb", "test_emb"), ("train_ids", "test_ids")


@dataclass(frozen=True)
class CachedVectors:
    """Vectors of texts by their number, gathered from the cache's files block by block."""

    cache: VectorCache
    places: np.ndarray
    n_truncated: int

    def __len__(self) -> int:
        return len(self.places)

    def block(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, dimensions) float32."""
        return self.cache.take(self.places[start:stop])

    def all(self) -> np.ndarray:
        return self.block(0, len(self))


@dataclass(frozen=True)
class LoadedVectors:
    """Vectors of texts by their number, held in memory."""

    vectors: np.ndarray
    n_truncated: int = 0

    def __len__(self) -> int:
        return len(self.vectors)

    def block(self, start: int, stop: int) -> np.ndarray:
        return self.vectors[start:stop]

    def all(self) -> np.ndarray:
        return self.vectors


Vectors = CachedVectors | LoadedVectors


def vector_key(model: EncoderRef, dtype: str) -> dict[str, Any]:
    """What vectors belong to. The fingerprint covers weights, pooling, prompts and the maximum length."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "kind": model.kind,
        "max_tokens": model.max_tokens,
        "prompt": "",
        "dtype": dtype,
    }


class Embedder:
    """Gives vectors for texts, encoding each distinct one at most once per cache."""

    def __init__(self, model: EncoderRef, config: DedupConfig) -> None:
        self._model, self._config = model, config
        self._dtype = "float32" if model.kind == "static" else resolve_dtype(config.dtype, config.device)
        self.key = vector_key(model, self._dtype)
        root = Path(config.cache_dir) if config.cache_dir else default_cache_dir()
        # The name is for people; the same weights under another name have the same vectors.
        self._cache = VectorCache(root, {k: v for k, v in self.key.items() if k != "model"})
        self._encoder: Encoder | None = None
        self.n_encoded = 0

    def vectors(self, texts: Sequence[str], label: str) -> CachedVectors:
        """Vectors of the texts in their order; new ones are kept in parts as they come."""
        import numpy as np

        ids = as_ids([text_digest(text) for text in texts])
        missing = np.flatnonzero(self._cache.find(ids) < 0)
        if len(missing):
            _, first = np.unique(ids[missing].view("S16"), return_index=True)
            self._encode(texts, ids, missing[np.sort(first)], label)
            self._cache.refresh()
        places = self._cache.find(ids)
        limit = self._model.max_tokens
        cut = 0 if limit is None else int((self._cache.tokens(places) > limit).sum())
        return CachedVectors(self._cache, places, cut)

    def _encode(self, texts: Sequence[str], ids: np.ndarray, missing: np.ndarray, label: str) -> None:
        """Encode what the cache does not hold, in units that are the same whoever encodes them, and keep each part."""
        import numpy as np

        units = [missing[start : start + UNIT_TEXTS] for start in range(0, len(missing), UNIT_TEXTS)]
        waiting: list[EncodedPart] = []
        with progress(total=len(missing), label=f"encoding {label}", unit="text") as bar:
            for n_done, encoded in enumerate(self._encoded([[texts[i] for i in unit] for unit in units]), start=1):
                waiting.append(encoded)
                self.n_encoded += len(encoded.vectors)
                bar.update(len(encoded.vectors))
                if len(waiting) == PART_UNITS or n_done == len(units):
                    tokens = np.concatenate([found.tokens for found in waiting])
                    vectors = np.concatenate([found.vectors for found in waiting])
                    self._cache.add(np.concatenate([ids[units[found.unit]] for found in waiting]), vectors, tokens)
                    waiting = []

    def _encoded(self, units: Sequence[Sequence[str]]) -> Iterator[EncodedPart]:
        if self._config.engine == "ray":
            yield from encode_by_ray(units, self._model, self._dtype, self._config)
            return
        if self._encoder is None:
            self._encoder = load_encoder(self._model, self._config.device, self._dtype, self._config.batch_size)
        for number, unit in enumerate(units):
            tokens = self._encoder.token_counts(unit)
            yield EncodedPart(number, check_vectors(self._encoder.encode(unit, tokens), unit), tokens)


def save_embeddings(
    path: str | Path, key: dict[str, Any], train: Vectors, train_rows: Sequence[int], train_texts: Sequence[str],
    tests: Vectors, test_rows: Sequence[int], test_texts: Sequence[str],
) -> None:  # fmt: skip
    """Write `train_emb` and `test_emb`, one vector a row, with the texts' hashes and the model they belong to."""
    import numpy as np

    arrays: dict[str, np.ndarray] = {}
    sides = (("train", train, train_rows, train_texts), ("test", tests, test_rows, test_texts))
    for side, vectors, rows, texts in sides:
        arrays[f"{side}_emb"] = vectors.all()[np.asarray(rows)]
        arrays[f"{side}_ids"] = as_ids([text_digest(texts[i]) for i in rows])
    arrays["key"] = np.array(json.dumps({**key, "arrays_sha256": _sha256(arrays)}))
    with atomic_write(path, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _sha256(arrays: Mapping[str, np.ndarray]) -> str:
    import numpy as np

    total = hashlib.sha256()
    for name in (*_VECTORS, *_IDS):
        total.update(np.ascontiguousarray(arrays[name]).view(np.uint8))
    return total.hexdigest()


@dataclass(frozen=True)
class SavedEmbeddings:
    """A file of `--save-embeddings`."""

    path: str
    key: dict[str, Any]
    train: np.ndarray
    tests: np.ndarray
    train_ids: np.ndarray
    test_ids: np.ndarray

    def for_rows(self, side: str, rows: Sequence[int], texts: Sequence[str]) -> LoadedVectors:
        """Vectors by text number. Raises ToolError when they were made from other rows."""
        import numpy as np

        vectors, ids = (self.train, self.train_ids) if side == "train" else (self.tests, self.test_ids)
        wanted = as_ids([text_digest(texts[i]) for i in rows])
        if len(wanted) != len(ids) or not (wanted == ids).all():
            raise ToolError(
                f"{self.path}: its vectors are of other {side} rows ({len(ids)} there, {len(wanted)} here, or other "
                "texts); run without --load-embeddings, the cache encodes only what is new"
            )
        by_text = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
        by_text[np.asarray(rows)] = vectors
        return LoadedVectors(by_text)


def _check_shapes(arrays: Mapping[str, np.ndarray], key: Any) -> None:
    """Raises ValueError for arrays or a key that `save_embeddings` does not write."""
    import numpy as np

    if not isinstance(key, dict) or not {"model", "fingerprint", "kind", "max_tokens"} <= key.keys():
        raise ValueError("the key names no model")
    for vectors, ids in zip(_VECTORS, _IDS, strict=True):
        of_floats = np.issubdtype(arrays[vectors].dtype, np.floating) and arrays[vectors].ndim == 2
        if not of_floats or arrays[ids].dtype != f"V{ID_BYTES}" or arrays[ids].shape != (len(arrays[vectors]),):
            raise ValueError(f"{vectors} are not vectors with one id each")
    if len({arrays[name].shape[1] for name in _VECTORS}) > 1:
        raise ValueError("the vectors of both sides have other widths")


def load_embeddings(path: str) -> SavedEmbeddings:
    """Raises ToolError for a file that this tool did not write, or with pickled objects or unusable vectors."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in ("key", *_VECTORS, *_IDS)}
        key = json.loads(str(arrays["key"]))
        _check_shapes(arrays, key)
        if key.pop("arrays_sha256", None) != _sha256(arrays):
            raise ToolError(f"{path}: its vectors are not those that were written; encode again with --save-embeddings")
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file; write one with --save-embeddings") from None
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ToolError(
            f"{path}: not a file of --save-embeddings (it says neither which model nor which texts its vectors are "
            "of, or contains pickled objects, which can run code when read); encode again with --save-embeddings"
        ) from error
    for name in _VECTORS:
        length = np.linalg.norm(arrays[name].astype(np.float64), axis=1)
        if not (np.abs(length - 1) < 0.05).all():
            raise ToolError(f"{path}: {name} contains a vector without direction (zero or NaN); encode again")
    return SavedEmbeddings(path, key, arrays["train_emb"], arrays["test_emb"], arrays["train_ids"], arrays["test_ids"])
