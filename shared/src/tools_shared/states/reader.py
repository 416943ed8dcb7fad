"""Hidden states of token sequences with transformers: one forward, no language-model head, only the asked rows kept.

Blocks after the last asked layer are taken out before anything runs. Sequences are padded on the right and no mask is
given: in a causal model nothing that comes later reaches an asked position, and attention without a mask is the fast
kind. Batches hold sequences of nearly one length, so little of them is padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tools_shared.devices import torch_dtype
from tools_shared.errors import ToolError
from tools_shared.models import Loaded, ModelRef, weights_sha256
from tools_shared.models.adapters import fold

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


class Readable(Protocol):
    """Tokens and the rising positions in them whose states are wanted, one at least."""

    @property
    def token_ids(self) -> Sequence[int]: ...

    @property
    def positions(self) -> Sequence[int]: ...


class StateReader:
    """The base model of what is loaded, cut after the last asked layer.

    `layers` are rising indices of hidden states from 0 (the embedding) up; `final_norm`: the last layer's is normed;
    `stored` is the number format of the rows, fp32, bf16 or fp16. An adapter is merged, and the model is cut for good.
    """

    def __init__(
        self,
        loaded: Loaded,
        layers: Sequence[int],
        final_norm: bool,
        stored: str = "fp32",
        max_batch_tokens: int = 4096,
    ) -> None:
        model = loaded.model
        if loaded.ref.adapter is not None:
            model, *_ = fold(model, loaded.tokenizer, loaded.ref.spec)
        self._name, self._model = loaded.ref.spec, model.base_model
        self._layers, self._final_norm, self._stored = tuple(layers), final_norm, stored
        self._max_batch_tokens = max_batch_tokens
        self._device = self._model.device
        self._n_layers = self._model.config.num_hidden_layers
        self._kept: dict[int, torch.Tensor] = {}
        self._at: tuple[torch.Tensor, torch.Tensor] | None = None
        self._prepare()

    def read(self, traces: Sequence[Readable]) -> Iterator[tuple[int, torch.Tensor]]:
        """Each trace's index and its states [n_positions, n_layers, hidden], on the CPU, longest traces first.

        The same traces give the same batches, and so the same bits, on the same machine.
        """
        import torch

        lengths = [trace.positions[-1] + 1 for trace in traces]
        stored = torch_dtype(self._stored)
        for batch in batches(lengths, self._max_batch_tokens):
            with torch.inference_mode():
                rows = self._rows([traces[i] for i in batch], [lengths[i] for i in batch]).to(stored).cpu()
            counts = [len(traces[i].positions) for i in batch]
            yield from zip(batch, rows.split(counts), strict=True)

    def _rows(self, traces: Sequence[Readable], lengths: Sequence[int]) -> torch.Tensor:
        """[asked positions of all traces, n_layers, hidden]"""
        import torch

        token_ids = torch.zeros(len(traces), max(lengths), dtype=torch.long)
        for row, (trace, length) in enumerate(zip(traces, lengths, strict=True)):
            token_ids[row, :length] = torch.tensor(trace.token_ids[:length])
        at_row = torch.tensor([row for row, trace in enumerate(traces) for _ in trace.positions])
        at_token = torch.tensor([position for trace in traces for position in trace.positions])
        self._at = (at_row.to(self._device), at_token.to(self._device))
        output = self._model(input_ids=token_ids.to(self._device), use_cache=False)
        self._kept[self._layers[-1]] = output.last_hidden_state[self._at]
        rows = torch.stack([self._kept[layer] for layer in self._layers], dim=1)
        self._kept.clear()
        return rows

    def _prepare(self) -> None:
        """Cut the model and listen at the blocks whose input is asked for."""
        *earlier, last = self._layers
        if not earlier and last == self._n_layers and self._final_norm:
            return
        from torch import nn

        blocks = self._part("layers", nn.ModuleList)
        self._part("norm", nn.Module)
        for layer in earlier:
            blocks[layer].register_forward_pre_hook(self._listener(layer), with_kwargs=True)
        if not (last == self._n_layers and self._final_norm):
            self._model.norm = nn.Identity()
        self._model.layers = blocks[:last]
        self._model.config.num_hidden_layers = last

    def _listener(self, layer: int) -> Callable[..., None]:
        def listen(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states = args[0] if args else kwargs["hidden_states"]
            self._kept[layer] = states[self._at]

        return listen

    def _part(self, name: str, kind: type[nn.Module]) -> nn.Module:
        part = dict(self._model.named_children()).get(name)
        if not isinstance(part, kind):
            raise ToolError(
                f"{self._name}: a {type(self._model).__name__} has no '{name}' as Llama and Qwen do; "
                "only --layers -1 --norm post works for it"
            )
        return part


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in batches of at most `budget` tokens, padding included, longest first; a longer one is alone.

    The longest come first so that what does not fit into the memory shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    made: list[list[int]] = []
    for i in order:
        if made and (len(made[-1]) + 1) * lengths[made[-1][0]] <= budget:
            made[-1].append(i)
        else:
            made.append([i])
    return made


def reader_sha256(ref: ModelRef) -> str:
    """One hash over the weights that read: the base's, and the adapter's where there is one."""
    sha256 = weights_sha256(ref.weights)
    if ref.adapter is None:
        return sha256
    return hashlib.sha256(f"{sha256}{weights_sha256(str(ref.adapter))}".encode()).hexdigest()


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """One hash over what decides tokens and prompts: the vocabulary with its rules, and the chat template."""
    total = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    total.update((tokenizer.chat_template or "").encode())
    return total.hexdigest()


def layer_indices(asked: Sequence[int], shape: PreTrainedConfig, flag: str) -> tuple[int, ...]:
    """Indices from 0 (embedding) to n (the last block's output), rising; raises ToolError for one that is not there."""
    n = shape.num_hidden_layers
    if bad := [layer for layer in asked if not -n - 1 <= layer <= n]:
        raise ToolError(f"{flag} {bad[0]}: the model has hidden states 0 to {n} (or -1 to {-n - 1} from the last)")
    return tuple(sorted({layer if layer >= 0 else n + 1 + layer for layer in asked}))
