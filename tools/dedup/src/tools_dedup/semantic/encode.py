"""Texts to vectors of unit length.

The texts of a batch are padded to one multiple of 16 tokens and the batch holds a fixed budget of tokens, so that
short texts go by the hundred; a text's vector does not depend on which texts it was encoded with, beyond what
floating point leaves.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tools_dedup.semantic.models import EncoderRef
from tools_shared.console import say
from tools_shared.devices import DTYPES
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import numpy as np

BUDGET_PER_TEXT = 128
_MULTIPLE = 16
_TOKENISE_AT_ONCE = 1024


class Encoder(Protocol):
    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before it is cut."""

    def encode(self, texts: Sequence[str], counts: Sequence[int]) -> np.ndarray:
        """Vectors (texts, dimensions) of unit length, float32; `counts` from `token_counts`."""


def resolve_dtype(dtype: str, device: str) -> str:
    """torch's name of `--dtype`: `auto` is bfloat16 where the processor multiplies it natively, else float32."""
    if dtype != "auto":
        return DTYPES[dtype]
    if resolve_device(device) == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if "amx_bf16" in _cpu_flags() else "float32"


def _cpu_flags() -> set[str]:
    from pathlib import Path

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def resolve_device(device: str) -> str:
    """`auto` and a `cuda` that is not there become the processor, the latter with a warning."""
    if device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        say("warning: --device cuda: there is no CUDA device here; the processor is used")
    return "cpu"


def load_encoder(ref: EncoderRef, device: str, dtype: str, batch_size: int) -> Encoder:
    """The encoder for a kind of model, its weights loaded."""
    if ref.kind == "static":
        from tools_dedup.semantic.static import StaticEncoder

        return StaticEncoder(ref)
    return SentenceEncoder(ref, device, dtype, batch_size)


class SentenceEncoder:
    """A sentence-transformers model in inference mode; no code from the model's folder is run."""

    def __init__(self, ref: EncoderRef, device: str, dtype: str, batch_size: int) -> None:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._ref, self._budget = ref, batch_size * BUDGET_PER_TEXT
        self._model = SentenceTransformer(
            str(ref.folder),
            device=resolve_device(device),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
        ).eval()

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(texts), _TOKENISE_AT_ONCE):
            part = list(texts[start : start + _TOKENISE_AT_ONCE])
            counts += [len(ids) for ids in self._model.tokenizer(part, truncation=False, verbose=False)["input_ids"]]
        return counts

    def encode(self, texts: Sequence[str], counts: Sequence[int]) -> np.ndarray:
        import numpy as np
        import torch

        limit = self._model.max_seq_length or max(counts)
        result = None
        with torch.inference_mode():
            for chosen, width in batches([min(c, limit) for c in counts], self._budget):
                features = self._features([texts[i] for i in chosen], width)
                vectors = self._model(features)["sentence_embedding"].float()
                vectors = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
                if result is None:
                    result = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
                result[chosen] = vectors
        gc.collect()
        return result

    def _features(self, texts: list[str], width: int) -> dict[str, Any]:
        """The model's inputs, padded to `width` on the side that its tokenizer pads."""
        import torch

        features = self._model.preprocess(texts)
        missing = width - features["input_ids"].shape[1]
        left = self._model.tokenizer.padding_side == "left"
        fill = {"input_ids": self._model.tokenizer.pad_token_id or 0}
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            if name in features and missing > 0:
                sides = (missing, 0) if left else (0, missing)
                features[name] = torch.nn.functional.pad(features[name], sides, value=fill.get(name, 0))
        return {k: v.to(self._model.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}


def batches(lengths: Sequence[int], budget: int) -> Iterator[tuple[list[int], int]]:
    """Indices of texts that go together and the width they are padded to: at most `budget` tokens a batch, or one
    text. All texts of a batch round up to the same width, so no text's arithmetic depends on its neighbours."""
    widths = [-(-max(n, 1) // _MULTIPLE) * _MULTIPLE for n in lengths]
    order = sorted(range(len(lengths)), key=lambda i: (widths[i], i))
    chosen: list[int] = []
    for i in order:
        if chosen and (widths[i] != widths[chosen[0]] or (len(chosen) + 1) * widths[i] > budget):
            yield chosen, widths[chosen[0]]
            chosen = []
        chosen.append(i)
    if chosen:
        yield chosen, widths[chosen[0]]


def check_vectors(vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """The vectors as they are. Raises ToolError for one that is no direction: its row would be kept unseen."""
    import numpy as np

    length = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~(np.abs(length - 1) < 0.05))
    if len(bad):
        raise ToolError(
            f"the model gave no usable vector for {len(bad)} texts, the first being {texts[int(bad[0])][:60]!r}; "
            "try --dtype fp32, or reject such rows beforehand"
        )
    return vectors
