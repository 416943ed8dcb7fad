"""The little of numpy that the tests of HumanEval+ and MBPP+ use, for the sandbox: it has the standard library alone.

Without it every program would fail those tests at their first line, `import numpy as np`.
"""

from __future__ import annotations

import re

_IMPORTS = re.compile(r"^\s*(?:import|from)\s+numpy\b", re.MULTILINE)

SOURCE = """
def _stand_in():
    import sys, types

    def flat(x):
        return [v for one in x for v in flat(one)] if isinstance(x, (list, tuple)) else [x]

    def isclose(a, b, rtol=1e-05, atol=1e-08):
        return a == b or abs(a - b) <= atol + rtol * abs(b)

    def allclose(a, b, rtol=1e-05, atol=1e-08):
        one, other = flat(a), flat(b)
        if len(one) != len(other):
            one, other = (one * len(other), other) if len(one) == 1 else (one, other * len(one))
        if len(one) != len(other):
            raise ValueError("operands could not be broadcast together")
        return all(isclose(x, y, rtol, atol) for x, y in zip(one, other))

    module = types.ModuleType("numpy")
    module.ndarray = type("ndarray", (), {})
    module.float32 = module.float64 = type("float64", (float,), {})
    module.isclose, module.allclose = isclose, allclose
    sys.modules.setdefault("numpy", module)


_stand_in()
del _stand_in
"""


def stand_in_for(tests: str) -> str:
    """What has to run before tests that import numpy; nothing for others."""
    return SOURCE if _IMPORTS.search(tests) else ""
