"""Rules with a number behind them: coefficients and thresholds, per model, with what they were measured on.

The table that ships with the tool (`calibrations.json`) was made by `tools-dedup calibrate`; the same command makes
one for any model and any data, to be given with `--calibration`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_dedup.lexical.evidence import FEATURES
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import numpy as np

LEXICAL = "lexical"


@dataclass(frozen=True)
class Calibration:
    """A logistic regression over FEATURES and the probability from which a row goes.

    `model` is a name for people; `fingerprint` that of the model's files (see `models`), or "lexical". `measured`
    says recall, flagged share and the data that they come from. `domain` and `profile` say for what texts it was made
    (see `domains`).
    """

    model: str
    fingerprint: str
    coefficients: Mapping[str, float]
    intercept: float
    threshold: float
    measured: Mapping[str, Any]
    domain: str = ""
    profile: Mapping[str, float] = field(default_factory=dict)

    def probability(self, features: np.ndarray) -> np.ndarray:
        """Of being a rewording, for (pairs, 5) features."""
        import numpy as np

        weights = np.array([self.coefficients[name] for name in FEATURES])
        return (1 / (1 + np.exp(-(features @ weights + self.intercept)))).round(6)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "coefficients": dict(self.coefficients),
            "intercept": self.intercept,
            "threshold": self.threshold,
            "measured": dict(self.measured),
            "domain": self.domain,
            "profile": dict(self.profile),
        }


def shipped(domain: str = "mathematics") -> dict[str, Calibration]:
    """The tool's own table for a domain, by fingerprint; a model without a rule for it has the one for mathematics."""
    text = (files("tools_dedup.decision") / "calibrations.json").read_text(encoding="utf-8")
    known = [_from_json(entry) for entry in json.loads(text)["calibrations"]]
    return {rule.fingerprint: rule for name in ("mathematics", domain) for rule in known if rule.domain == name}


def read_calibration(path: str | Path) -> Calibration:
    """A calibration from a file of `tools-dedup calibrate`. Raises ToolError when it is none."""
    try:
        return _from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ToolError(f"{path}: cannot be read ({error.strerror}); make it with tools-dedup calibrate") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(f"{path}: not a calibration ({error}); make it with tools-dedup calibrate") from error


def _from_json(entry: Mapping[str, Any]) -> Calibration:
    coefficients = {name: float(entry["coefficients"][name]) for name in FEATURES}
    numbers = float(entry["intercept"]), float(entry["threshold"])
    return Calibration(
        entry["model"],
        entry["fingerprint"],
        coefficients,
        *numbers,
        entry["measured"],
        entry.get("domain", ""),
        entry.get("profile", {}),
    )


def fit(features: np.ndarray, labels: np.ndarray, ridge: float = 0.05) -> tuple[np.ndarray, float]:
    """Logistic regression by Newton's method: coefficients (5,) and intercept, which maximise the log likelihood
    less ridge / 2 times the squared length of the coefficients (Hastie et al., Elements of Statistical Learning, 4.4).
    """
    import numpy as np

    design = np.hstack([features, np.ones((len(features), 1))])
    penalty = np.diag([ridge] * features.shape[1] + [0.0])
    weights = np.zeros(design.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (labels - p) - penalty @ weights
        hessian = (design * (p * (1 - p))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights[:-1], float(weights[-1])
