"""Whether a run learned anything: its weights against those that it began with, said at its end and in its manifest.

A run can end in order and have trained nothing: a learning rate of 0, rewards that are all alike, completions that are
all masked. What is evaluated is then the model that it began with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tools_shared import processes
from tools_shared.console import say
from tools_shared.models.load import Loaded
from tools_shared.prompts import Profile
from tools_shared.runs import Draft
from tools_shared.training.save import base_format, round_to, save, save_merged
from tools_shared.training.sharded import whole
from tools_shared.training.trainable import LoraOptions, saves_full_weights

if TYPE_CHECKING:
    import torch
    from torch import nn

LORA_A = (".lora_A.", ".lora_embedding_A.")
"""The half of an adapter that alone adds nothing: it counts as changed only together with the other one."""


class Start:
    """What the weights that are to be trained were, in eight bytes for each; they are not copied.

    Take it of a model on which nothing is sharded yet and no checkpoint has been loaded.
    """

    def __init__(self, model: nn.Module) -> None:
        self.sums = {name: bits(p) for name, p in model.named_parameters() if p.requires_grad}

    def changed(self, model: nn.Module) -> bool:
        """Whether the model computes anything else than it did: any weight has other bits, in an adapter one of those
        by which it adds something. A copy that `whole` put together has the same names."""
        now = dict(model.named_parameters())
        return any(bits(now[name]) != was for name, was in self.sums.items() if not any(a in name for a in LORA_A))


def bits(parameter: torch.Tensor) -> int:
    """The sum of a tensor's numbers read as integers: one that is changed has another, but for a chance of 2^-64."""
    import torch

    whole_numbers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    return int(parameter.detach().contiguous().view(whole_numbers).sum(dtype=torch.int64))


def outcome(history: Sequence[Mapping[str, Any]], start: Start, loaded: Loaded) -> dict[str, Any]:
    """The field `weights_changed` of a run's manifest, and a warning where it learned nothing or could not.

    `history` is what the trainer logged; of a sharded run `loaded` is its `whole`, which rank 0 has to hold.
    """
    changed = processes.share(start.changed(loaded.model) if processes.is_main() else None)
    reasons = why_nothing(history)
    if not changed:
        say(f"warning: this run has learned nothing, its weights are those it began with{_because(reasons)}")
    elif reasons:
        say(f"warning: this run's weights changed, but not by what it was given to learn{_because(reasons)}")
    return {"weights_changed": changed}


def saved(
    run: Draft,
    loaded: Loaded,
    profile: Profile,
    options: LoraOptions,
    start: Start,
    history: Sequence[Mapping[str, Any]],
    *,
    is_used: bool,
) -> tuple[Loaded, dict[str, Any]]:
    """The trained model, put together from its parts and saved in the draft by rank 0, and its `outcome`.

    `is_used`: the model is evaluated next, so every process needs it on its device.
    """
    loaded = whole(loaded, None if is_used else "cpu", keep=is_used or processes.is_main())
    learned = outcome(history, start, loaded)  # before an adapter is merged into what is saved
    if options.full_finetune and (is_used or processes.is_main()):
        round_to(loaded.model, base_format(loaded.ref))
    if processes.is_main():
        full_weights = saves_full_weights(loaded, options.adapter, options.full_finetune)
        save(loaded, run.model_dir, run.final / "model", profile, full_weights)
    return loaded, learned


def why_nothing(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why no logged step can have taught anything, most telling first; empty where one can have."""
    reasons = []
    if _always(history, "completions/clipped_ratio", 1) and _always(history, "grad_norm", 0):
        reasons.append("every completion was cut at the length limit: raise --max-completion-length")
    if _always(history, "frac_reward_zero_std", 1):
        reasons.append("no group of any step had completions of different rewards: take other problems or rewards")
    if _always(history, "learning_rate", 0):
        reasons.append("the learning rate was 0 at every step: raise --learning-rate")
    if _always(history, "grad_norm", 0) and not reasons:
        reasons.append("the gradient was 0 at every step")
    return reasons


def _always(history: Sequence[Mapping[str, Any]], key: str, value: float) -> bool:
    logged = [entry[key] for entry in history if key in entry]
    return bool(logged) and all(one == value for one in logged)


def _because(reasons: Sequence[str]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""


def step_losses(history: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The loss of the first and of the last optimiser step, however seldom one is logged."""
    losses = [entry["step_loss"] for entry in history if "step_loss" in entry]
    return {"first_loss": losses[0] if losses else None, "last_loss": losses[-1] if losses else None}


def merged(run: Draft, loaded: Loaded, profile: Profile, trained: Mapping[str, Any]) -> dict[str, float]:
    """Save the merged weights in the run's merged/, on rank 0; where nothing was learned say that they are not."""
    if not processes.is_main():
        return {}
    if not trained["weights_changed"]:
        say("warning: merged/ is not written: it would hold the model that this run began with")
        return {}
    return {"merge_difference": save_merged(loaded, run.path / "merged", profile)}
