"""A trainer leaves the process's environment alone: threads of other libraries read it meanwhile."""

import subprocess
import sys

import pytest

pytest.importorskip("accelerate", reason="accelerate is not installed (tools-shared[models])")

# What is taken out of the environment and put into it, while accelerate asks for a dataclass's defaults.
CODE = """
import os, sys
from accelerate.utils import GradientAccumulationPlugin
from tools_shared.training.trainer import keep_environment

changes, variables = [], dict(os.environ)
sys.addaudithook(lambda event, args: event in ("os.putenv", "os.unsetenv") and changes.append(args))
plugin = GradientAccumulationPlugin(num_steps=2)
if sys.argv[1] == "kept":
    keep_environment()
assert plugin.to_kwargs() == {"num_steps": 2}
assert dict(os.environ) == variables
print(len(changes))
"""


def n_changes(how):
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_accelerate_changes_nothing_in_the_environment():
    assert n_changes("kept") == 0


def test_without_it_accelerate_would():
    """When this fails, `keep_environment` has become superfluous."""
    assert n_changes("as accelerate does") > 0
