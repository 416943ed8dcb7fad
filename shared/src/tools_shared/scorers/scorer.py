"""A trained scorer: from hidden states to the probability that the trace they are from will be right.

`tools-scorer train` writes it, `tools-bench` votes with it and `tools-traces` filters with it, so its file format
is here: `scorer.safetensors` (weights with standardisation and calibration folded in) and `scorer.json` (what the
weights expect of their input). Key names of the weights are `net.0.weight`, `net.0.bias`, `net.2.weight`, ...
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, write_json
from tools_shared.runs.read import MANIFEST, check_unchanged, read_manifest

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
WEIGHTS, FACTS = "scorer.safetensors", "scorer.json"
NAMED, MODEL = "scorer:", "model:"
"""What a scorer's name may begin with: a run of `tools-scorer train`, and a whole model (`scorers/models.py`)."""
LAST = "last"
"""Subfolder of a checkpoint with the weights of the last epoch; those of the best stand in the checkpoint itself."""
Features = Literal["last", "middle", "layer_mean", "concat"]
ReadAt = Literal["steps", "end"]
Aggregate = Literal["mean", "last", "min", "ema"]
EMA_WEIGHT = 0.3
"""Weight of the newest step in the exponential moving average."""
_AT_ONCE = 8192


@dataclass(frozen=True)
class ScorerFacts:
    """What a scorer expects and how it was made.

    `reader` says which model's hidden states it reads: model, reader_sha256, norm, delimiter, layers and profile, as in
    the manifest of the hidden states; `relative` in it is the path from the scorer's folder to a model on this machine.
    `widths` are those of the hidden layers; none for a linear scorer. `features` is how the kept layers become one
    vector; `read_at` "end": the scorer reads the end of the reasoning alone, not each step's. `n_knots` is 0 unless the
    calibration is isotonic.
    """

    config_name: str
    hidden_size: int
    layers: tuple[int, ...]
    reader: Mapping[str, Any]
    widths: tuple[int, ...] = (512,)
    features: Features = "last"
    read_at: ReadAt = "steps"
    n_knots: int = 0
    calibration: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def input_size(self) -> int:
        return self.hidden_size * (len(self.layers) if self.features == "concat" else 1)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> ScorerFacts:
        """Raises ToolError naming `where` when keys are missing, unknown or of a newer format."""
        version = data.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise ToolError(f"{where}: format {version} is not one this tool reads ({SCHEMA_VERSION}); update the tool")
        try:
            return cls(**{**data, "layers": tuple(data["layers"]), "widths": tuple(data["widths"])})
        except (KeyError, TypeError) as error:
            raise ToolError(f"{where}: not a scorer's description ({error}); train it again") from error


def probe(input_size: int, widths: Sequence[int], n_knots: int = 0) -> torch.nn.Module:
    """The network: `net` gives logits [n]; `probability` gives the calibrated probability [n].

    With knots, the probability is the piecewise linear function of the logit through them, constant beyond both ends.
    """
    return _probe_class()(input_size, tuple(widths), n_knots)


def _probe_class() -> type:
    import torch
    from torch import nn

    class Probe(nn.Module):
        def __init__(self, input_size: int, widths: tuple[int, ...], n_knots: int) -> None:
            super().__init__()
            sizes = [input_size, *widths]
            hidden = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
            self.net = nn.Sequential(*hidden, nn.Linear(sizes[-1], 1))
            self.n_knots = n_knots
            if n_knots:
                self.register_buffer("knots_x", torch.linspace(-1, 1, n_knots))
                self.register_buffer("knots_y", torch.linspace(0, 1, n_knots))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x).squeeze(-1)

        def probability(self, x: torch.Tensor) -> torch.Tensor:
            logits = self(x)
            return piecewise(logits, self.knots_x, self.knots_y) if self.n_knots else torch.sigmoid(logits)

    return Probe


def piecewise(x: torch.Tensor, knots_x: torch.Tensor, knots_y: torch.Tensor) -> torch.Tensor:
    """The line through the knots (rising x), constant beyond them; plain operations only, so that ONNX has them."""
    import torch

    x = torch.clamp(x, knots_x[0], knots_x[-1])
    share = (x[..., None] - knots_x[:-1]) / (knots_x[1:] - knots_x[:-1])
    return knots_y[0] + (torch.clamp(share, 0.0, 1.0) * (knots_y[1:] - knots_y[:-1])).sum(-1)


def select_features(states: torch.Tensor, features: Features) -> torch.Tensor:
    """[n, n_layers, hidden] to [n, input_size] in the stored number format."""
    if features == "last":
        return states[:, -1]
    if features == "middle":
        return states[:, (states.shape[1] - 1) // 2]
    return states.float().mean(1) if features == "layer_mean" else states.flatten(1)


@dataclass(frozen=True)
class TraceScore:
    """A trace's step probabilities in one number: their mean, the last, the lowest, and a moving average that
    forgets."""

    mean: float
    last: float
    min: float
    ema: float

    def to_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)


def summarize(steps: Sequence[float], ema_weight: float = EMA_WEIGHT) -> TraceScore:
    """One trace's steps, in order, as one number each way. Raises ValueError when there is none."""
    if not steps:
        raise ValueError("a trace without steps has no score")
    ema = steps[0]
    for step in steps[1:]:
        ema += ema_weight * (step - ema)
    return TraceScore(math.fsum(steps) / len(steps), steps[-1], min(steps), ema)


class Scorer:
    """A scorer in memory."""

    def __init__(self, facts: ScorerFacts, module: torch.nn.Module, path: Path) -> None:
        self.facts, self.module, self.path = facts, module.eval(), path

    def probabilities(self, states: torch.Tensor) -> list[float]:
        """Of each row of [n, n_layers, hidden], in any float format.

        Raises ToolError when the dimensions are not those that it was trained on, or a value is not finite.
        """
        import torch

        expected = (len(self.facts.layers), self.facts.hidden_size)
        if tuple(states.shape[1:]) != expected:
            raise ToolError(
                f"{self.path}: reads states of (n_layers, hidden) {expected}, got {tuple(states.shape[1:])}; "
                f"read the traces with {self.facts.reader.get('model')}"
            )
        found: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(states), _AT_ONCE):
                x = select_features(states[start : start + _AT_ONCE], self.facts.features).float()
                probabilities = self.module.probability(x)
                if not torch.isfinite(probabilities).all():
                    raise ToolError("a hidden state is NaN or infinite; read the trace with --dtype bf16 or fp32")
                found += probabilities.tolist()
        return found

    def read_rows(self, begin: int, end: int) -> slice:
        """Which of a trace's rows `begin` to `end` it reads: all, or the last one."""
        return slice(max(begin, end - 1) if self.facts.read_at == "end" else begin, end)

    def check_reader(self, reader: Mapping[str, Any], where: str, fields: Sequence[str]) -> None:
        """Raise ToolError naming each field in which the states at `where` differ from those of the training."""
        mine = self.facts.reader
        different = [
            f"{name} {mine.get(name)!r} and {reader.get(name)!r}" for name in fields if mine.get(name) != reader[name]
        ]
        if different:
            raise ToolError(
                f"{self.path} and {where} do not fit: {'; '.join(different)}; extract the states as the scorer's were"
            )


def save_scorer(folder: Path, facts: ScorerFacts, module: torch.nn.Module) -> None:
    """Write both files, the description last."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().float().contiguous() for name, tensor in module.state_dict().items()}
    with atomic_write(folder / WEIGHTS, "wb") as file:
        file.write(save(tensors))
    write_json(folder / FACTS, json.loads(json.dumps(dataclasses.asdict(facts))))


def find_scorer(spec: str | Path) -> Path:
    """The checkpoint folder that a run directory of `tools-scorer train`, or a checkpoint folder, names; either may be
    written `scorer:PATH`, as among rewards."""
    if str(spec).startswith(MODEL):
        raise ToolError(f"{spec}: only a scorer of hidden states works here; give a run of tools-scorer train")
    path = Path(str(spec).removeprefix(NAMED))
    if (path / FACTS).exists():
        return path
    if (path / MANIFEST).exists():
        manifest = read_manifest(path)
        found = sorted(path.glob(f"checkpoints/*/{FACTS}"))
        if len(found) == 1:
            return found[0].parent
        raise ToolError(f"{path}: this {manifest.kind} run contains no scorer; name a run of tools-scorer train")
    if not path.exists():
        read_manifest(path)  # says whether it is unfinished or not there
    raise ToolError(f"{path}: no scorer here (no {FACTS}); name a run of tools-scorer train, or its checkpoint folder")


def load_scorer(spec: str | Path) -> Scorer:
    """Load a scorer; raises ToolError when there is none, or its weights are torn or not those that it describes."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = find_scorer(spec)
    for name in (FACTS, WEIGHTS):
        check_unchanged(folder / name)
    try:
        data = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ToolError(f"{folder / FACTS}: not valid JSON ({error}); train the scorer again") from error
    facts = ScorerFacts.from_json(data, str(folder / FACTS))
    module = probe(facts.input_size, facts.widths, facts.n_knots)
    try:
        module.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolError(f"{folder / WEIGHTS}: not the weights that {FACTS} describes ({reason})") from error
    return Scorer(facts, module, folder)
