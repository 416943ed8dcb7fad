"""Static embeddings in model2vec's format: a text's vector is the mean of its tokens' vectors, without torch.

Read here, not through model2vec, whose own loading takes longer than encoding GSM8K does; a test compares the two.
Format: `model.safetensors` with `embeddings` (or `embedding.weight`), and for quantised vocabularies `mapping` (token
to row) and `weights` (one a token); `tokenizer.json`. Source: https://github.com/MinishLab/model2vec
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tools_dedup.semantic.models import EncoderRef
from tools_dedup.semantic.word_tokens import WordTokens
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

_TEXTS_AT_ONCE = 256
_PARTS_AHEAD = 3


class StaticEncoder:
    """Every token counts, whatever the length of the text; unknown tokens do not."""

    def __init__(self, ref: EncoderRef) -> None:
        import numpy as np
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = next((f for f in (ref.folder, ref.folder / "0_StaticEmbedding") if _is_whole(f)), None)
        if folder is None:
            raise ToolError(f"--model {ref.name}: no model.safetensors with a tokenizer.json in {ref.folder}")
        tensors = load_file(folder / "model.safetensors")
        self._table = tensors.get("embeddings", tensors.get("embedding.weight")).astype(np.float32, copy=False)
        self._rows = tensors.get("mapping")
        self._weights = tensors.get("weights")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokens = WordTokens(tokenizer)
        self._unknown = _unknown_token(folder / "tokenizer.json", tokenizer)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Nothing is ever cut, so nothing needs to be counted."""
        return [0] * len(texts)

    def encode(self, texts: Sequence[str], counts: Sequence[int]) -> np.ndarray:
        """Vectors (texts, dimensions) of unit length; NaN for a text without known tokens."""
        import numpy as np

        result = np.empty((len(texts), self._table.shape[1]), dtype=np.float32)
        for number, found in enumerate(self._token_ids(texts)):
            start = number * _TEXTS_AT_ONCE
            result[start : start + len(found)] = self._sums(found)
        norms = np.linalg.norm(result, axis=1, keepdims=True)
        return result / np.where(norms > 0, norms, np.nan)

    def _token_ids(self, texts: Sequence[str]) -> Iterator[list[list[int]]]:
        """The texts' tokens, part by part; the next parts are tokenised while one is used, for it needs no interpreter.

        Only a few, since tokens take far more room than text.
        """

        waiting: deque[Future[list[list[int]]]] = deque()
        with ThreadPoolExecutor(1) as beside:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                waiting.append(beside.submit(self._tokens.ids, list(texts[start : start + _TEXTS_AT_ONCE])))
                if len(waiting) > _PARTS_AHEAD:
                    yield waiting.popleft().result()
            yield from (one.result() for one in waiting)

    def _sums(self, token_ids: Sequence[list[int]]) -> np.ndarray:
        """The sum has the direction of the mean."""
        import numpy as np

        sums = np.zeros((len(token_ids), self._table.shape[1]), dtype=np.float32)
        for i, own in enumerate(token_ids):
            ids = np.array(own, dtype=np.int64)
            ids = ids[ids != self._unknown] if self._unknown is not None else ids
            vectors = self._table.take(ids if self._rows is None else self._rows[ids], axis=0)
            sums[i] = vectors.sum(axis=0) if self._weights is None else self._weights[ids] @ vectors
        return sums


def _is_whole(folder: Path) -> bool:
    return (folder / "model.safetensors").exists() and (folder / "tokenizer.json").exists()


def _unknown_token(path: Path, tokenizer: Tokenizer) -> int | None:
    """The id of the unknown token, which word-level tokenizers give to whatever they do not know."""
    from tokenizers.models import BPE, WordLevel, WordPiece

    if isinstance(tokenizer.model, BPE | WordLevel | WordPiece):
        name = tokenizer.model.unk_token
        return tokenizer.token_to_id(name) if name else None
    return json.loads(path.read_text(encoding="utf-8"))["model"].get("unk_id")
