"""Model-free detectors for what has no gold answer. Each says how well it agrees with people, and on what."""

from tools_bench.grading.detectors.agreement import AGREEMENT, Agreement
from tools_bench.grading.detectors.level import reading_grade, suits_grade
from tools_bench.grading.detectors.refusal import refuses
from tools_bench.grading.detectors.reveal import reveals_answer
from tools_bench.grading.detectors.socratic import is_socratic

__all__ = ["AGREEMENT", "Agreement", "is_socratic", "reading_grade", "refuses", "reveals_answer", "suits_grade"]
