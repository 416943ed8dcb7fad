"""Distillation: the student learns a teacher's probabilities of all tokens, not only the token that the data has.

The divergence is TRL's (`GKDTrainer.generalized_jsd_loss`, after Agarwal et al. 2024, "On-Policy Distillation of
Language Models", equation 1), and data, masks, packing, checkpoints and resuming are those of SFT. TRL's own two
trainers leave out what is wanted here: `DistillationTrainer` cannot learn from given completions, `GKDTrainer` drops
the temperature from its loss, divides on-policy tokens by the number of those that they replaced, and refuses
vocabularies that differ by padding only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

# TRL says at every import of an experimental part that it is one; the version is pinned.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from trl.experimental.gkd import GKDTrainer

from tools_sft.config import SftConfig
from tools_sft.trainer import SftTrainer
from tools_shared import processes
from tools_shared.engines import SamplingParams
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.models import load, resolve
from tools_shared.models.load import Loaded
from tools_shared.prompts import Prompt
from tools_shared.training.sharded import whole

BETA = {"forward": 0.0, "jsd": 0.5, "reverse": 1.0}
"""TRL's interpolation coefficient: 0 is KL(teacher || student), 1 is KL(student || teacher)."""


def distillation_loss(
    student_N_V: torch.Tensor, teacher_N_V: torch.Tensor, labels_N: torch.Tensor, config: SftConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum over N tokens of alpha T^2 divergence + (1 - alpha) cross-entropy, and that of the divergence alone.

    The factor T^2 keeps the gradients' size when both distributions are softened by the temperature T (Hinton et al.
    2015, "Distilling the Knowledge in a Neural Network", section 2). Tokens beyond the shorter vocabulary are padding.
    """
    width = min(student_N_V.shape[-1], teacher_N_V.shape[-1])
    student, teacher = student_N_V[:, :width].float(), teacher_N_V[:, :width].float()
    divergence = GKDTrainer.generalized_jsd_loss(
        student, teacher, beta=BETA[config.divergence], temperature=config.temperature, reduction="sum"
    )
    loss = config.alpha * config.temperature**2 * divergence
    if config.alpha < 1:
        loss = loss + (1 - config.alpha) * torch.nn.functional.cross_entropy(student, labels_N, reduction="sum")
    return loss, divergence.detach()


class Distiller(SftTrainer):
    """TRL's SFTTrainer with the teacher beside the student, and the student's own completions where asked for."""

    def __init__(self, *, options: SftConfig, loaded: Loaded, **rest: Any) -> None:
        super().__init__(**rest)
        self.options, self.loaded = options, loaded
        teacher = load(resolve(options.teacher), options.dtype, options.device).model.requires_grad_(False)
        self.teacher = self.accelerator.prepare_model(teacher, evaluation_mode=True)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The loss per learned token of the whole step; only positions that are learned are compared."""
        labels = inputs["labels"][:, 1:]
        learned = labels != -100
        given = {name: value for name, value in inputs.items() if name != "labels"}
        student = model(**given, use_cache=False).logits[:, :-1][learned]
        with torch.no_grad():
            teacher = self.teacher(**given, use_cache=False).logits[:, :-1][learned]
        total, divergence = distillation_loss(student, teacher, labels[learned], self.options)
        self._note(divergence, student, labels[learned])
        if num_items_in_batch is None:
            return total / learned.sum().clamp(min=1)
        # The count is that of all processes, whose gradients are averaged.
        return total / num_items_in_batch * self.accelerator.num_processes

    def _note(self, divergence: torch.Tensor, student_N_V: torch.Tensor, labels_N: torch.Tensor) -> None:
        right = (student_N_V.argmax(-1) == labels_N).sum()
        local = torch.stack([divergence, right.float(), torch.tensor(float(len(labels_N)), device=right.device)])
        divergence_sum, n_right, n = self.accelerator.gather(local[None]).sum(0).tolist()
        self._metrics["train"]["divergence"].append(divergence_sum / max(n, 1))
        self._metrics["train"]["mean_token_accuracy"].append(n_right / max(n, 1))

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor | int | None]:
        """The batches of one optimiser step, with the student's own completions in place of the data's if asked for."""
        batches, n_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not self.options.on_policy:
            return batches, n_items
        batches = self._draw(batches)
        return batches, self._get_num_items_in_batch(batches, device)

    def _draw(self, batches: list[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        """Each sample depends on (seed, step, place in it) alone, so a resumed run, or one of more processes, samples
        what an unbroken one would."""
        prompts = [_prompt(batch, row) for batch in batches for row in range(len(batch["labels"]))]
        engine = TransformersEngine(whole(self.loaded).model, self.processing_class)
        params = SamplingParams(1.0, self.options.max_completion_length, seed=self.options.seed)
        drawn = engine.generate(prompts, params, keys=self._draw_names(batches))
        rows = [_row(prompt, found[0].token_ids) for prompt, found in zip(prompts, drawn, strict=True)]
        lengths = list(chain.from_iterable(processes.gather([len(found[0].token_ids) for found in drawn])))
        self._metrics["train"]["completion_length"].append(sum(lengths) / len(lengths))
        sizes = iter(rows)
        return [self.data_collator([next(sizes) for _ in batch["labels"]]) for batch in batches]

    def _draw_names(self, batches: list[dict[str, torch.Tensor]]) -> list[str]:
        """Of each row its place in the whole step, whose batches are dealt out to the processes one by one."""
        n, rank, size = processes.count(), processes.rank(), self.options.batch_size
        places = [(i * n + rank) * size + row for i, batch in enumerate(batches) for row in range(len(batch["labels"]))]
        return [f"step {self.state.global_step}, process 0, {place}" for place in places]


def _prompt(batch: dict[str, torch.Tensor], row: int) -> Prompt:
    """The tokens before the first one that is learned."""
    first = int((batch["labels"][row] != -100).int().argmax())
    return Prompt("", tuple(batch["input_ids"][row, :first].tolist()))


def _row(prompt: Prompt, completion: tuple[int, ...]) -> dict[str, list]:
    mask = [False] * len(prompt.token_ids) + [True] * len(completion)
    return {"token_ids": [[*prompt.token_ids, *completion]], "loss_mask": [mask]}
