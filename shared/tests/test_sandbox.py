"""Programs that want out, or want to hold the machine up: each is contained, and none is taken for a success."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tools_shared.sandbox import SandboxLimits, run_program

pytestmark = pytest.mark.usefixtures("sandbox")

SMALL = SandboxLimits(seconds=1, memory=256 << 20, output=100_000, scratch=1 << 20, threads=8, patience=1.5)

OUTSIDE = {
    "passwords": "print(open('/etc/passwd').read())",
    "the host's files by way of a link": "import os\nos.symlink('/../../etc/passwd', 'p')\nprint(open('p').read())",
    "the host's root kept open": "print(open('/.old/etc/passwd').read())",
    "other processes": "import os\nprint(os.listdir('/proc'))",
    "a kernel's switch": "open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x')",
    "a system file": "open('/usr/lib/os-release', 'w').write('x')",
    "the standard library": "import json\nopen(json.__file__, 'a').write('import os')",
    "a new device": "import os\nos.mknod('/tmp/d', 0o60666, os.makedev(8, 0))\nopen('/tmp/d')",
    "a disk": "open('/dev/sda', 'rb').read(1) or open('/dev/vda', 'rb').read(1)",
    "becoming root": "import os\nos.setuid(0)",
    "a mount": "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "new namespaces": "import ctypes\nc = ctypes.CDLL(None)\nassert c.unshare(0x10000000) == 0",
    "a shell": "import os\nos.execv('/bin/sh', ['sh', '-c', 'id'])",
    "a child": "import os\nos.fork()",
    "a child by subprocess": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''], check=True)",
    "tracing its parent": "import ctypes, os\nassert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0",
    "a socket": "import socket\nsocket.socket()",
    "raising its limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    "memory": "x = bytearray(1 << 30)",
    "shared memory": "import ctypes\nassert ctypes.CDLL(None).shmget(0, 1 << 28, 0o1666) >= 0",
    "memory files": "import os\nos.memfd_create('x')",
    "a full disk": "with open('x', 'wb') as f:\n    for _ in range(64): f.write(bytes(1 << 16)); f.flush()",
    "too many files": "for i in range(5000): open(f'f{i}', 'w').close()",
    "too many open files": "files = [open('/dev/null') for _ in range(1000)]",
    "too many threads": "from threading import Timer\nfor _ in range(500): Timer(9, print).start()",
    "the run's secrets": "import os\nassert os.environ['SECRET_FOR_TEST']",
    "site-packages": "import numpy",
    "no memory for its own stack": "import sys\nsys.setrecursionlimit(10**9)\nf = lambda n: f(n + 1) + 1\nf(0)",
}
"""What each program tries ends it with an error of its own."""

HELD_UP = {
    "a loop": ("while True: pass", "time"),
    "waiting": ("import time\ntime.sleep(1000)", "time"),
    "waiting for input": ("import os\nr, w = os.pipe()\nos.read(r, 1)", "time"),
    "waiting with every signal ignored": (
        "import signal, time\nfor n in (2, 14, 15, 24): signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        "time",
    ),
    "stopping itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "time"),
    "a flood of output": ("while True: print('x' * 1000)", "output"),
    "a flood of errors": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output"),
    "a flood where results go": (
        "import os\nfor n in range(3, 20):\n    try:\n        while True: os.write(n, b'x' * 65536)\n"
        "    except OSError: pass",
        "output",
    ),
    "killing itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed"),
    "a crash": ("import ctypes\nctypes.string_at(0)", "killed"),
    "a large power": ("x = 9 ** 9 ** 9", "time"),
    "a regular expression": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "time"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_program_gets_nothing_from_outside(name, monkeypatch):
    monkeypatch.setenv("SECRET_FOR_TEST", "s3cret")

    found = run_program(OUTSIDE[name], limits=SMALL)

    assert not found.succeeded, found
    assert "root:" not in found.stdout
    assert "s3cret" not in found.stdout


@pytest.mark.parametrize("name", HELD_UP)
def test_a_program_that_does_not_end_is_ended(name):
    source, ending = HELD_UP[name]

    found = run_program(source, limits=SMALL)

    assert found.ending == ending
    assert not found.succeeded
    assert len(found.stdout) <= 2 * SMALL.output
    assert len(found.stderr) <= 2 * SMALL.output


def test_signals_reach_nobody_else():
    bystander = subprocess.Popen(["sleep", "60"])
    source = f"import os, signal\nfor pid in (1, {bystander.pid}, {os.getpid()}, -1):\n"
    source += "    try: os.kill(pid, signal.SIGKILL)\n    except OSError as e: print(pid, 'refused')\nprint('done')"

    found = run_program(source, limits=SMALL)

    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert f"{bystander.pid} refused" in found.stdout
    assert f"{os.getpid()} refused" in found.stdout


def test_a_server_of_this_machine_cannot_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = run_program(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)", limits=SMALL)
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()

    assert not found.succeeded


def test_nothing_is_left_of_a_program():
    first = run_program("open('/tmp/left', 'w').write('x')\nimport os\nprint(os.listdir('/tmp'))", limits=SMALL)
    second = run_program("import os\nprint(os.listdir('/tmp'))", limits=SMALL)

    assert first.stdout == "['left']\n"
    assert second.stdout == "[]\n"
    assert not Path("/tmp/left").exists()


def test_nothing_runs_on_after_a_program_was_ended():
    before = jails()
    run_program("import time\nwhile True: time.sleep(1)", limits=SMALL)
    for _ in range(100):
        if jails() <= before:
            break
        time.sleep(0.05)

    assert jails() <= before


def jails() -> set[str]:
    """The processes of sandboxes on this machine."""
    found = set()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"sandbox/jail.py" in line.read_bytes():
                found.add(line.parent.name)
    return found


def test_a_program_reads_and_writes_text_of_any_language():
    found = run_program("print(input()[::-1] + 'ß')", "größe 数\n", limits=SMALL)

    assert found.succeeded
    assert found.stdout == "数 eßörgß\n"


def test_input_larger_than_a_pipe_arrives_and_may_be_left_unread():
    lines = "\n".join(map(str, range(100_000)))

    read = run_program("import sys\nprint(sum(map(int, sys.stdin)))", lines, limits=SMALL)
    unread = run_program("print('no thanks')", lines, limits=SMALL)

    assert read.stdout == f"{sum(range(100_000))}\n"
    assert unread.stdout == "no thanks\n"


def test_values_come_out_as_what_they_are_and_checks_run_inside():
    source = "from collections import Counter\ndef f(x): return Counter(x)\nprint('f is here')"

    found = run_program(
        source, calls=["f('aab')", "f(1)", "(1, [2.5, None], {True})"], checks=["assert f('a')['a'] == 1"]
    )

    assert found.stdout == "f is here\n"
    assert found.values[0] == {"value": ["dict", [["a", 2], ["b", 1]]]}
    assert found.values[1]["error"].startswith("TypeError")
    assert found.values[2] == {"value": ["tuple", [1, ["list", [2.5, None]], ["set", [True]]]]}
    assert found.values[3] == {"ok": True}


def test_leaving_early_gives_no_values():
    for way in ("import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit"):
        assert run_program(f"def f(): return 1\n{way}", calls=["f()"]).values == ()


def test_results_that_a_program_writes_itself_are_not_taken():
    fake = 'import os\nfor n in range(3, 12):\n    try: os.write(n, b\'{"value": 42}\\n{"ok": true}\\n\')\n'
    fake += "    except OSError: pass\nos._exit(0)"

    assert run_program(fake, calls=["f()"], checks=["assert False"]).values == ()


def test_programs_run_side_by_side():
    found: list[str] = []

    def one(i: int) -> None:
        found.append(run_program(f"import time\ntime.sleep(0.2)\nprint({i} * {i})").stdout)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == sorted(f"{i * i}\n" for i in range(8))


def test_the_standard_library_works_with_what_it_is_linked_with():
    source = "import bz2, decimal, hashlib, lzma, math, random, sqlite3, ssl, statistics, zlib\n"
    source += "print(sqlite3.connect(':memory:').execute('select 6 * 7').fetchone(), hashlib.md5(b'a').hexdigest()[:4])"

    assert run_program(source).stdout == "(42,) 0cc1\n"


def test_threads_and_deep_recursion_as_solutions_use_them_work():
    source = (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(128 << 20)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
        "t = threading.Thread(target=lambda: print(f(50000)))\nt.start()\nt.join()"
    )

    assert run_program(source).stdout == "50000\n"


def _elsewhere(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program in the sandbox prints, run by another Python under `command`, or why there is no sandbox."""
    script = "from tools_shared.sandbox import *\nprint(run_program('import os\\nprint(os.getuid())').stdout)"
    return subprocess.run([*command, sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_where_no_sandbox_can_be_made_nothing_is_run():
    none_left = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'

    done = _elsewhere("unshare", "--user", "--map-root-user", "sh", "-c", none_left, "sh")

    assert "ToolError: no sandbox can be made here ([Errno 28] unshare: No space left on device)" in done.stderr
    assert "--security-opt" in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_root_without_the_right_to_mount_becomes_another_user_first():
    done = _elsewhere("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")

    assert done.stdout == "65534\n\n" or "Permission denied" in done.stderr  # where Python itself is root's alone


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_container_with_one_user_is_enough():
    assert _elsewhere("unshare", "--user", "--map-root-user").stdout == "65534\n\n"
