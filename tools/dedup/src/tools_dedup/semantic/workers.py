"""Encoding spread over Ray's workers: each has the model, takes some texts and gives back their vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools_dedup.config import DedupConfig
from tools_dedup.semantic.encode import check_vectors, load_encoder
from tools_dedup.semantic.models import EncoderRef, find_model
from tools_shared.errors import ToolError
from tools_shared.processes.ray_map import map_parts

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class EncodedPart:
    """What became of one unit of texts: vectors (texts, dimensions), and tokens of each text before it is cut."""

    unit: int
    vectors: np.ndarray
    tokens: Sequence[int]


def encode_by_ray(
    units: Sequence[Sequence[str]], model: EncoderRef, dtype: str, config: DedupConfig
) -> Iterator[EncodedPart]:
    """Each unit encoded, in no particular order. Units are encoded as they are here, so their vectors are the same
    where processors and threads are the same."""
    name = str(Path(model.name).resolve()) if Path(model.name).exists() else model.name
    options = {
        "model": name,
        "fingerprint": model.fingerprint,
        "device": config.device,
        "dtype": dtype,
        "batch_size": config.batch_size,
    }
    for unit, columns in map_parts(EncodingWorker, options, [{"text": texts} for texts in units], config):
        yield EncodedPart(unit, columns["vector"], columns["tokens"])


class EncodingWorker:
    """One worker; the model is loaded once. Raises ToolError when it finds other weights than the run's."""

    def __init__(self, model: str, fingerprint: str, device: str, dtype: str, batch_size: int) -> None:
        ref = find_model(model)
        if ref.fingerprint != fingerprint:
            raise ToolError(f"--model {model}: a worker finds other weights there; give every machine the same model")
        self._encoder = load_encoder(ref, device, dtype, batch_size)

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, Sequence]:
        texts = [str(text) for text in columns["text"]]
        tokens = self._encoder.token_counts(texts)
        return {"vector": check_vectors(self._encoder.encode(texts, tokens), texts), "tokens": tokens}
