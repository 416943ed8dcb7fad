"""What a process has started for vLLM ends with it, here with processes that do nothing."""

import os
import signal
import subprocess
import sys

import psutil

PARENT = """
import subprocess, sys, time
from tools_shared.engines.vllm.process import EndWithMe
child = subprocess.Popen(["sh", "-c", "sleep 600 & echo; wait"], stdout=subprocess.PIPE)
child.stdout.readline()
bond = EndWithMe([child.pid])
if sys.argv[1] == "release":
    bond.release()
print(child.pid, flush=True)
time.sleep(600)
"""


def started(how):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, how], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    return parent, [child, *child.children()]


def end(parent):
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()


def test_children_and_theirs_end_with_a_process_that_is_killed():
    parent, children = started("bond")
    assert len(children) == 2
    end(parent)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_what_was_released_is_left_alone():
    parent, children = started("release")
    end(parent)
    gone, alive = psutil.wait_procs(children, timeout=1)
    for child in alive:
        child.kill()
    assert not gone
