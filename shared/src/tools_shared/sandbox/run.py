"""The host's side of the sandbox: starts the jail, feeds it, reads what comes out up to a limit, and ends it."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import secrets
import selectors
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from tools_shared.errors import ToolError

Ending = Literal["ended", "time", "output", "killed"]
_REMEDY = (
    "programs are run in Linux namespaces alone; allow them (in a container: --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined, and --cap-add SYS_ADMIN where it runs as root; on Ubuntu: sysctl "
    "kernel.apparmor_restrict_unprivileged_userns=0)"
)
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu")


@dataclass(frozen=True)
class SandboxLimits:
    """What one program may use: processor seconds, bytes of memory (address space), of output and of files in memory,
    and threads. It may wait too: `patience` times its seconds pass on the clock before it is ended."""

    seconds: int = 5
    memory: int = 512 << 20
    output: int = 1 << 20
    scratch: int = 16 << 20
    threads: int = 16
    patience: float = 4.0


@dataclass(frozen=True)
class SandboxOutcome:
    """How a program ended. `ending`: it ended by itself with `exit_code`, or was ended: by a signal of the kernel
    (`killed`, `exit_code` is minus the signal), for `time`, or for too much `output`. `values` are what the calls and
    checks of the job gave, in order, as far as they came: `{"value": ...}` or `{"error": ...}`."""

    ending: Ending
    exit_code: int | None
    stdout: str
    stderr: str
    values: tuple[dict[str, Any], ...] = ()

    @property
    def succeeded(self) -> bool:
        return self.ending == "ended" and self.exit_code == 0


def run_program(
    source: str,
    stdin: str = "",
    *,
    calls: Sequence[str] = (),
    checks: Sequence[str] = (),
    limits: SandboxLimits | None = None,
) -> SandboxOutcome:
    """Run a Python program shut in (see the package), then evaluate `calls` (expressions) and run `checks` (statements)
    in its namespace. Raises ToolError where no sandbox can be made."""
    limits = limits or SandboxLimits()
    nonce = secrets.token_hex(16)
    job = {
        "source": source,
        "calls": list(calls),
        "checks": list(checks),
        "nonce": nonce,
        **_surroundings(),
        "limits": _numbers(limits),
    }
    encoded = json.dumps(job).encode()
    given = b"%08x" % len(encoded) + encoded + stdin.encode("utf-8", "replace")
    out, report, ending = _shut_in(given, limits)
    if "refused" in report:
        raise ToolError(f"no sandbox can be made here ({report['refused']}): {_REMEDY}")
    stdout, stderr = (out[n].decode("utf-8", "replace") for n in ("stdout", "stderr"))
    lines = _values(report.get("said", ""), nonce)
    if lines and "refused" in lines[0]:
        raise ToolError(f"no sandbox can be made here ({lines[0]['refused']}): {_REMEDY}")
    code = report.get("status")
    return SandboxOutcome(ending or _ending(code, report.get("flooded", False)), code, stdout, stderr, tuple(lines))


def _ending(code: int | None, flooded: bool) -> Ending:
    """From the status that the jail's first process saw; None where it has not lived to tell."""
    if flooded:
        return "output"
    if code == -signal.SIGXCPU:
        return "time"
    return "ended" if code is not None and code >= 0 else "killed"


@functools.cache
def check_sandbox() -> None:
    """Run a small program and see that it is shut in. Raises ToolError where no sandbox can be made."""
    found = run_program("import os, json\nprint(json.dumps([os.listdir('/'), os.getuid()]))")
    if not found.succeeded:
        raise ToolError(f"no sandbox can be made here ({found.ending}: {found.stderr[-200:].strip()}): {_REMEDY}")


def _numbers(limits: SandboxLimits) -> dict[str, int]:
    return {
        "memory": limits.memory,
        "cpu": limits.seconds,
        "scratch": limits.scratch,
        "threads": limits.threads,
        "output": limits.output,
        "clock": math.ceil(limits.seconds * limits.patience) + 5,
        "number": secrets.randbelow(1 << 30),
    }


@functools.cache
def _surroundings() -> dict[str, Any]:
    """What the jail shows of this machine: the standard library and what it is linked with, without site-packages."""
    if sys.platform != "linux":
        raise ToolError(f"no sandbox can be made on {sys.platform}: {_REMEDY}")
    base = {"base": sys.base_prefix, "installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    standard = {os.path.realpath(sysconfig.get_path(name, vars=base)) for name in ("stdlib", "platstdlib")}
    library = sysconfig.get_config_var("LIBDIR")
    shared = [str(p) for p in Path(library).glob("libpython*.so*")] if library and Path(library).is_dir() else []
    visible = [p for p in _LIBRARIES if Path(p).is_symlink() or Path(p).is_dir()]
    # An interpreter with libraries of its own (conda, pyenv) has them below its prefix, beside its standard library.
    own = [] if sys.base_prefix in ("/usr", "/usr/local") else [f"{os.path.realpath(sys.base_prefix)}/lib"]
    visible += [p for p in [*own, *sorted(standard), *shared] if not p.startswith(("/usr/lib/", "/lib/"))]
    hidden = sorted(f"{folder}/{name}" for folder in standard for name in ("site-packages", "dist-packages"))
    hidden += ["/usr/lib/python3/dist-packages"]
    here = str(Path(__file__).parent)
    return {"visible": [*visible, "/dev/null"], "hidden": hidden, "here": here, "root": _mount_point()}


@functools.cache
def _mount_point() -> str:
    """An empty folder to mount on; in a mount namespace of its own each time, so that programs can share it."""
    folder = Path(tempfile.gettempdir()) / f"tools-sandbox-{os.getuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ToolError(f"{folder}: belongs to somebody else; remove it, or set TMPDIR")
    return str(folder)


def _shut_in(given: bytes, limits: SandboxLimits) -> tuple[dict[str, bytes], dict[str, Any], Ending | None]:
    """What the jail writes, its report, and why it was ended from here, if it was."""
    reading, writing = os.pipe()
    jail = str(Path(__file__).parent / "jail.py")
    command = [os.path.realpath(sys.executable), "-s", "-P", "-S", "-B", jail, str(writing)]
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(writing,),
        env=environment,
        cwd="/",
    )
    os.close(writing)
    try:
        out, ending = _exchange(process, reading, given, limits)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        for file in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                if file is not None:
                    file.close()
        os.close(reading)
    try:
        return out, json.loads(out["report"]), ending
    except ValueError:
        return out, {}, ending


def _exchange(
    process: subprocess.Popen[bytes], report: int, given: bytes, limits: SandboxLimits
) -> tuple[dict[str, bytes], Ending | None]:
    """Feed the jail and read its three outputs to their ends, or until a limit is reached."""
    out = {"stdout": bytearray(), "stderr": bytearray(), "report": bytearray()}
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("the sandbox has no pipes")
    files = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr", report: "report"}
    end = time.monotonic() + limits.seconds * limits.patience
    into, view = process.stdin.fileno(), memoryview(given)
    os.set_blocking(into, False)
    ending: Ending | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        for number in files:
            selector.register(number, selectors.EVENT_READ)
        while ending is None and any(number in files for number in selector.get_map()):
            left = end - time.monotonic()
            if left <= 0:
                ending = "time"
                break
            for key, _ in selector.select(left):
                if key.fd == into:
                    view = _feed(selector, process.stdin, view)
                elif chunk := os.read(key.fd, 65536):
                    out[files[key.fd]] += chunk
                else:
                    selector.unregister(key.fd)
                longest = 2 * limits.output if files.get(key.fd) == "report" else limits.output
                if key.fd in files and len(out[files[key.fd]]) > longest:
                    ending = "output"
    return {name: bytes(data[: 2 * limits.output]) for name, data in out.items()}, ending


def _feed(selector: selectors.BaseSelector, stdin: IO[bytes], view: memoryview) -> memoryview:
    try:
        view = view[os.write(stdin.fileno(), view[:65536]) :]
    except BrokenPipeError:  # it ended, or reads no more
        view = view[len(view) :]
    if not view:
        selector.unregister(stdin)
        stdin.close()
    return view


def _values(said: str, nonce: str) -> list[dict[str, Any]]:
    """The lines that the harness wrote; what a program wrote in between is left out."""
    found = []
    for line in said.splitlines():
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict) and ("refused" in data or data.pop("nonce", None) == nonce):
            found.append(data)
    return found
