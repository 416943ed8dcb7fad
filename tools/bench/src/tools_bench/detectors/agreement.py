"""How far each detector agrees with human labels. `tests/test_detectors_real.py` measures these figures again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Balanced accuracy in percent on `n` labelled texts, on the rows that patterns were chosen on and on the others.

    `held_out` is None where all rows were looked at when the patterns were written.
    """

    labels: str
    n: int
    balanced_accuracy: float
    held_out: float | None
    note: str

    def text(self) -> str:
        held = f", {self.held_out:.1f} held out" if self.held_out is not None else ""
        return f"{self.balanced_accuracy:.1f} % balanced accuracy{held} on {self.n} texts of {self.labels}; {self.note}"


AGREEMENT = {
    "no_answer_reveal_rate": Agreement(
        "MRBench v2 (first 100 dialogues)",
        831,
        88.1,
        None,
        "patterns were chosen on these rows",
    ),
    "socratic_step_rate": Agreement(
        "MathDial test (first 300 dialogues), focus and probing against telling",
        1437,
        77.5,
        78.4,
        "chosen on even dialogues, held out: odd ones",
    ),
    "refusal_rate": Agreement(
        "XSTest v2, Mistral-instruct's replies, full or partial refusal against compliance",
        450,
        91.9,
        89.8,
        "fitted on even rows, held out: odd ones, whose refusals had been read before",
    ),
}
AGREEMENT["false_refusal_rate"] = AGREEMENT["refusal_rate"]
