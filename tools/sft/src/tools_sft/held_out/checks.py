"""What a model that trains makes of held-out rows: before, meanwhile and at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tools_sft.config import SftConfig
from tools_sft.held_out.rows import HeldOut, Part
from tools_sft.trainer import SftTrainer
from tools_shared import processes
from tools_shared.console import say
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.errors import Incomplete
from tools_shared.evaluation import evaluate, sampling_params
from tools_shared.models.load import Loaded, sampling_dtype
from tools_shared.prompts import Example, Profile
from tools_shared.runs import Draft
from tools_shared.runs.card import show_metric
from tools_shared.training.selection.figures import Figure, loss_figure
from tools_shared.training.selection.watch import Watch, report, undisturbed
from tools_shared.training.sharded import whole


class Checks:
    """The evaluations of one run on its held-out rows; make it before training, `settle` it after."""

    def __init__(
        self, trainer: SftTrainer, run: Draft, loaded: Loaded, held_out: HeldOut, profile: Profile, config: SftConfig
    ) -> None:
        self.trainer, self.loaded, self.held_out = trainer, loaded, held_out
        self.profile, self.config = profile, config
        self.watch: Watch | None = None
        self.before: dict[str, Figure] = {}
        if held_out.choosing is not None:
            measure = lambda: self._measured(held_out.choosing)  # noqa: E731
            self.watch = Watch(trainer, run, loaded, config, config.best_by, measure)
        elif not processes.sharded():  # the trainer shards the model when training begins
            figure = undisturbed(lambda: {"loss": self._loss(held_out.reporting.examples)})["loss"]
            say(f"held out loss before training: {show_metric(figure)}")
            self.before = {"heldout_loss_before": figure}

    def settle(self) -> dict[str, Any]:
        """Give the model its chosen weights; returns the manifest's figures about them."""
        facts = self.watch.settle() if self.watch else {}
        chose = {name.removeprefix("validation_"): value for name, value in facts.items() if "validation_" in name}
        reporting = undisturbed(lambda: self._measured(self.held_out.reporting))
        return facts | self.before | report(chose, reporting)

    def _measured(self, part: Part) -> Mapping[str, Figure]:
        """The loss, and with --best-by accuracy how many rows are answered rightly."""
        figures: dict[str, Figure] = {"loss": self._loss(part.examples)}
        if self.config.eval_steps and self.config.best_by == "accuracy":
            together = whole(self.loaded)
            dtype = sampling_dtype(self.loaded.ref, self.config.dtype, self.config.device)
            engine = TransformersEngine(together.model, together.tokenizer, dtype)
            params = sampling_params(self.config)
            found = evaluate(engine, part.problems, self.profile, params, "evaluating on held-out rows")
            figures["accuracy"] = found.metrics["accuracy"]
        return figures

    def _loss(self, examples: Sequence[Example]) -> Figure:
        """The loss per learned token; of several processes each computes its part."""
        rows = [{"token_ids": [one.token_ids], "loss_mask": [one.loss_mask]} for one in examples]
        rows.sort(key=lambda row: len(row["token_ids"][0]))
        size, n = self.config.batch_size, processes.count()
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        sums: list[tuple[float, int]] = []
        for i in range(processes.rank(), -(-len(batches) // n) * n, n):  # all make as many passes, the last for nothing
            found = self.trainer.loss_sums(batches[i] if i < len(batches) else batches[0])
            sums += found if i < len(batches) else []
        of_all = [pair for part in processes.gather(sums) for pair in part]
        if not all(math.isfinite(total) for total, _ in of_all):
            step = self.trainer.state.global_step
            raise Incomplete(
                f"the held-out loss after step {step} is not a finite number; start over with --resume never and a "
                f"lower --learning-rate than {self.config.learning_rate:g}"
            )
        return loss_figure(*zip(*of_all, strict=True))
