"""Evaluating a model on problems with checkable answers: the same way after training and from `tools-bench`.

Strict accuracy asks for the right answer inside the profile's tags; lenient accuracy for the right answer anywhere.
Every rate carries its 95 % Wilson interval and its n.
"""

from tools_shared.evaluation.files import (
    COLUMNS,
    READ,
    read_csv,
    write_csv,
)
from tools_shared.evaluation.graded import (
    RATES,
    Graded,
    describe,
    grade,
    opened,
    rates,
)
from tools_shared.evaluation.options import (
    DEMO_TEST,
    EvalConfig,
    read_test_problems,
    sampling_params,
    tests_beside,
)
from tools_shared.evaluation.run import (
    Evaluation,
    evaluate,
    evaluate_in_run,
    write_evaluation,
)

__all__ = [
    "COLUMNS",
    "DEMO_TEST",
    "RATES",
    "READ",
    "EvalConfig",
    "Evaluation",
    "Graded",
    "describe",
    "evaluate",
    "evaluate_in_run",
    "grade",
    "opened",
    "rates",
    "read_csv",
    "read_test_problems",
    "sampling_params",
    "tests_beside",
    "write_csv",
    "write_evaluation",
]
