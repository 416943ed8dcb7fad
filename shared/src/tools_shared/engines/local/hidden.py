"""Hidden states of a running batch, from hooks on the decoder's blocks: for rules that score steps, and to be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tools_shared.errors import ToolError

Note = Callable[[int, torch.Tensor], None]
"""Takes a layer and its states [rows, tokens, hidden]."""


class KeptStates:
    """The states of the tokens that a batch feeds, and of the last token of each prompt that it reads by itself."""

    def __init__(self, layers: Sequence[int]) -> None:
        self._layers = layers
        self._last: dict[int, torch.Tensor] = {}
        self._prompts: dict[tuple[int, ...], torch.Tensor] = {}

    def note(self, layer: int, states: torch.Tensor) -> None:
        self._last[layer] = states[:, -1]

    def fed(self) -> torch.Tensor:
        """[rows, n_layers, hidden] of the last token of each row in the forward that has just run."""
        return torch.stack([self._last[layer] for layer in self._layers], dim=1)

    def keep_prompt(self, ids: tuple[int, ...], held: Sequence[tuple[int, ...]]) -> None:
        """A prompt has just been read; of others only those in `held` are still needed."""
        self._prompts = {key: states for key, states in self._prompts.items() if key in held}
        self._prompts[ids] = self.fed()[0].clone()

    def of_prompt(self, ids: tuple[int, ...]) -> torch.Tensor:
        """[n_layers, hidden]"""
        return self._prompts[ids]


@contextmanager
def keeping(model: nn.Module, layers: Sequence[int]) -> Iterator[KeptStates | None]:
    """What keeps the states of `layers` (0 is the embedding; the last is normed); None without layers."""
    if not layers:
        yield None
        return
    kept = KeptStates(layers)
    hooks = listen(model, layers, True, kept.note)
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def listen(model: nn.Module, layers: Sequence[int], final_norm: bool, note: Note) -> list[Any]:
    """Hooks that tell `note` of the states of `layers` in every forward; with `final_norm` the last layer's are those
    after it."""
    blocks, norm = _decoder(model)
    hooks = []
    for layer in layers:
        if layer == len(blocks) and final_norm:
            hooks.append(norm.register_forward_hook(_after(note, layer)))
        else:
            module = blocks[layer] if layer < len(blocks) else norm
            hooks.append(module.register_forward_pre_hook(_before(note, layer), with_kwargs=True))
    return hooks


def _before(note: Note, layer: int) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        note(layer, args[0] if args else kwargs["hidden_states"])

    return hook


def _after(note: Note, layer: int) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
        note(layer, output)

    return hook


def _decoder(model: nn.Module) -> tuple[nn.ModuleList, nn.Module]:
    """The blocks and the final norm, as Llama and Qwen have them; raises ToolError for a model without."""
    for module in model.modules():
        parts = dict(module.named_children())
        if isinstance(parts.get("layers"), nn.ModuleList) and "norm" in parts:
            return parts["layers"], parts["norm"]
    raise ToolError(f"hidden states: a {type(model).__name__} has no 'layers' and 'norm' as Llama and Qwen do")
