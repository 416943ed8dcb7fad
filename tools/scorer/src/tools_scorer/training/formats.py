"""Scorers for other programs: ONNX, and the checkpoint that STEP's engine loads."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Literal

from tools_shared.errors import ToolError
from tools_shared.files import atomic_write
from tools_shared.scorers.scorer import Scorer, ScorerFacts

STEP_WIDTHS = (512,)
"""The one shape of network that STEP's engine builds (arXiv 2601.09093, its vllm/v1/hiddenstate/classifier.py)."""
ONNX_FILE, STEP_FILE = "scorer.onnx", "scorer_step.pt"


def export(scorer: Scorer, format_: Literal["onnx", "step-pt"], folder: Path) -> Path:
    """Write the scorer in that format into the folder; raises ToolError where the format cannot hold it."""
    check_exportable(scorer.facts, format_)
    return to_onnx(scorer, folder / ONNX_FILE) if format_ == "onnx" else to_step(scorer, folder / STEP_FILE)


def check_exportable(facts: ScorerFacts, format_: Literal["onnx", "step-pt"]) -> None:
    """Raises ToolError where the format cannot hold a scorer of these facts, or what writes it is not installed."""
    if format_ == "onnx" and importlib.util.find_spec("onnx") is None:  # torch's exporter asks for it late
        raise ToolError("--export onnx needs the package onnx; install tools-scorer[onnx]")
    plain = facts.widths == STEP_WIDTHS and len(facts.layers) == 1 and not facts.n_knots
    if format_ == "step-pt" and not (plain and facts.reader.get("norm") == "post"):
        raise ToolError(
            f"--export step-pt: STEP's engine builds one hidden layer of 512 on the last layer's normed states, "
            f"calibrated by temperature; this scorer has widths {list(facts.widths)}, layers {list(facts.layers)} with "
            f"norm '{facts.reader.get('norm')}', {'isotonic knots' if facts.n_knots else 'no isotonic knots'}"
        )


def to_onnx(scorer: Scorer, path: Path) -> Path:
    """Input `features` [n, input_size] float32, output `probability` [n]."""
    import io

    import torch

    class Probability(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = scorer.module

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return self.module.probability(features)

    content = io.BytesIO()
    # The exporter without dynamo: the other one brings three more packages for these two matrix products.
    torch.onnx.export(
        Probability().eval(),
        (torch.zeros(2, scorer.facts.input_size),),
        content,
        input_names=["features"],
        output_names=["probability"],
        dynamic_axes={"features": {0: "n"}, "probability": {0: "n"}},
        dynamo=False,
    )
    with atomic_write(path, "wb") as file:
        file.write(content.getvalue())
    return path


def to_step(scorer: Scorer, path: Path) -> Path:
    """A torch checkpoint with the state under `model_state_dict`, keys `net.0.weight` to `net.2.bias`, and nothing
    that `torch.load` with `weights_only=True` refuses.

    It means there what it means here (see `check_exportable`): STEP's engine builds one hidden layer of 512, gives it
    the state that its model returns (the last layer's, after the norm) in float32 when a token holding a blank line
    has been read, and takes the sigmoid (`load_hiddenstate_classifier` and `classify_hidden_states` of
    vllm/v1/worker/gpu_model_runner.py in Supercomputing-System-AI-Lab/STEP, commit 949e8c2).
    """
    import torch

    facts = scorer.facts
    checkpoint = {
        "model_state_dict": scorer.module.state_dict(),
        "epoch": facts.training.get("epoch"),
        "config_name": facts.config_name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(checkpoint, temporary)
    temporary.replace(path)
    return path
