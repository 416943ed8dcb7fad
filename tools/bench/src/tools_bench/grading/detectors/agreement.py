"""How far each detector agrees with human labels. `tests/test_detectors_real.py` measures these figures again.

Each rule is the best of a family on one half of the labelled dialogues, by a hash; the other half judged it. The
families were written by people who had read the files, so the held-out figures may still flatter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Balanced accuracy in percent on labelled texts: on all, on the half that the rule was chosen on, and on the other
    (`held_out`, with its 95 % bootstrap interval over dialogues and its n)."""

    labels: str
    n: int
    balanced_accuracy: float
    chosen_on: float
    held_out: float
    interval: tuple[float, float]
    n_held_out: int

    def text(self) -> str:
        low, high = self.interval
        return (
            f"{self.held_out:.1f} % balanced accuracy [{low:.1f}, {high:.1f}] on {self.n_held_out} held-out texts of "
            f"{self.labels}; {self.balanced_accuracy:.1f} on all {self.n}"
        )


AGREEMENT = {
    "reveal": Agreement("MRBench v2 (first 100 dialogues)", 831, 88.2, 88.5, 87.8, (79.4, 94.2), 401),
    "socratic": Agreement(
        "MathDial test (first 300 dialogues), focus and probing against telling",
        1437,
        78.2,
        77.6,
        78.5,
        (75.0, 82.0),
        765,
    ),
    "refusal": Agreement(
        "XSTest v2, Mistral-instruct's replies, full or partial refusal against compliance",
        450,
        91.9,
        91.9,
        92.0,
        (86.1, 96.5),
        202,
    ),
}
