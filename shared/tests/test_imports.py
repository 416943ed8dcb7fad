"""The core and every `--help` work without torch and answer at once."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "numpy", "pyarrow", "sympy", "matplotlib"}
TOOLS = ["dedup", "sft", "grpo", "traces", "scorer", "bench"]


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["tools_shared", "tools_shared.cli", "tools_shared.runs", "tools_shared.evaluation"])
def test_import_of_the_core_brings_nothing_heavy(module):
    assert not HEAVY & modules_after(f"import {module}")


@pytest.mark.parametrize("tool", TOOLS)
def test_help_brings_nothing_heavy(tool):
    call = f"from tools_{tool}.cli import main\nmain(['--help'], standalone_mode=False)"
    assert not HEAVY & modules_after(call)
