"""Read-outs: which recorded layers a scorer reads, where in the trace, by what network and with which loss.

They are compared by the AUROC within a question on the calibration questions, so the test questions stay untouched.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools_scorer.config.scorer import Recipe
from tools_scorer.evaluation.judged import columns, judge
from tools_scorer.evaluation.metrics import within_auroc
from tools_scorer.states.folder import Hidden
from tools_shared.errors import ToolError
from tools_shared.scorers.scorer import Features, Scorer
from tools_shared.stats import Interval

FILE = "readouts.json"
_SMALL = (64,)
"""Width of the network where the recipe is linear."""


@dataclass(frozen=True)
class Readout:
    """A read-out with its AUROC within a question, of a trace's mean probability, on the calibration questions."""

    recipe: Recipe
    within: Interval

    @property
    def name(self) -> str:
        return name_of(self.recipe)

    def to_json(self) -> dict[str, Any]:
        recipe = self.recipe
        how = {"features": recipe.features, "read_at": recipe.read_at, "hidden": list(recipe.hidden)}
        return {"name": self.name, **how, "loss": recipe.loss, "within_auroc": dataclasses.asdict(self.within)}


def name_of(recipe: Recipe) -> str:
    """Such as `middle layer, end, linear, pairwise`."""
    layers = {"last": "last layer", "middle": "middle layer", "concat": "layers joined", "layer_mean": "mean of layers"}
    network = "MLP" if recipe.hidden else "linear"
    return f"{layers[recipe.features]}, {recipe.read_at}, {network}, {recipe.loss}"


def candidates(settings: Recipe, n_layers: int) -> Iterator[Recipe]:
    """The read-outs that are compared, simpler ones first: 8 for one recorded layer, 24 for several."""
    layers: tuple[Features, ...] = ("last", "middle", "concat") if n_layers > 1 else ("last",)
    widths = ((), settings.hidden or _SMALL)
    for hidden, features, loss, read_at in itertools.product(widths, layers, ("bce", "pairwise"), ("steps", "end")):
        yield dataclasses.replace(settings, hidden=hidden, features=features, loss=loss, read_at=read_at)


def measured(recipe: Recipe, scorer: Scorer, hidden: Hidden, seed: int) -> Readout:
    """Raises ToolError when the calibration questions cannot tell read-outs apart."""
    import numpy as np

    traces = judge(hidden, scorer, "calibration", grouped=False)
    table = columns(traces)
    scores = np.array([trace.score.mean for trace in traces])
    within = within_auroc(table.labels, scores, table.questions, table.groups, seed=seed)
    if within is None:
        raise ToolError(
            f"{hidden.path}: fewer than 2 calibration questions have both right and wrong traces, so --select has "
            "nothing to choose by; sample more attempts a question, or train one read-out without --select"
        )
    return Readout(recipe, within)
