"""The process that shuts itself in, and then runs the program. Started by `run.py` as a script, with the standard
library alone and an empty environment.

Three processes: this one (outside, waits), the first of the new process namespace (waits, reports how the program
ended; when it ends, the kernel kills all others in there), and the program's own. Standard input begins with the job:
its length in 8 hexadecimal digits, then JSON; the rest is the program's standard input. The report goes to the file
whose number is the argument.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

_NEW_USER, _NEW_MOUNTS, _NEW_PIDS = 0x10000000, 0x00020000, 0x20000000
_OTHERS = 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000  # network, IPC, host name, cgroups
_READ_ONLY, _NO_SUID, _NO_DEV, _NO_EXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_NOBODY = 65534
_REPORT = int(sys.argv[1]) if len(sys.argv) > 1 else -1
_HELD = {
    os.ST_NODEV: _NO_DEV,
    os.ST_NOEXEC: _NO_EXEC,
    os.ST_NOATIME: 1024,
    os.ST_NODIRATIME: 2048,
    os.ST_RELATIME: 1 << 21,
}
"""Flags of a host's mount that may not be taken off in a user namespace: as statvfs tells them, as mount takes them."""
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {target}")


def _prctl(*arguments: int) -> int:
    return _libc.prctl(*map(ctypes.c_ulong, (*arguments, 0, 0, 0)))


def _die_with_parent() -> None:
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _leave_host(number: int) -> None:
    """New namespaces. Root makes the mounts as root and becomes another user afterwards; where it may not, and for
    others, a user namespace is what allows them."""
    if os.getuid() == 0 and _maps_many():
        if _libc.unshare(_NEW_MOUNTS | _NEW_PIDS | _OTHERS) == 0:
            return
        _become(number)
        _prctl(4, 1)  # PR_SET_DUMPABLE: else the maps below are root's
    uid, gid = os.getuid(), os.getgid()
    _checked(_libc.unshare(_NEW_USER | _NEW_MOUNTS | _NEW_PIDS | _OTHERS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{_NOBODY} {uid} 1"), ("gid_map", f"{_NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _maps_many() -> bool:
    """Whether there are other users here than this one, which a container may not have."""
    with open("/proc/self/uid_map") as file:
        return int(file.readline().split()[2]) > _NOBODY


def _become(number: int) -> None:
    """Another user, its own for each program, as the limit on threads counts a user's."""
    other = 20000 + number % 40000
    os.setgroups([])
    os.setresgid(other, other, other)
    os.setresuid(other, other, other)


def _build_root(root: str, visible: list[str], hidden: list[str], scratch: int) -> None:
    """A file system in memory that holds `visible` read only, an empty /tmp of `scratch` bytes, and nothing else."""
    _mount("none", "/", None, _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NO_SUID | _NO_DEV, "size=1m,mode=755")
    for path in visible:
        _show(root, path)
    for path in hidden:
        if os.path.isdir(root + path):
            _mount("tmpfs", root + path, "tmpfs", _READ_ONLY | _NO_SUID | _NO_DEV | _NO_EXEC, "size=4k")
    os.mkdir(f"{root}/tmp")
    options = f"size={scratch},nr_inodes=1000,mode=777"
    _mount("tmpfs", f"{root}/tmp", "tmpfs", _NO_SUID | _NO_DEV | _NO_EXEC, options)
    os.mkdir(f"{root}/.old")
    os.chdir(root)
    _checked(_libc.pivot_root(b".", b".old"), "pivot_root")
    os.chdir("/")
    _checked(_libc.umount2(b"/.old", _DETACH), "umount")
    os.rmdir("/.old")
    _mount("none", "/", None, _BIND | _REMOUNT | _READ_ONLY | _NO_SUID | _NO_DEV)
    os.chdir("/tmp")


def _show(root: str, path: str) -> None:
    """Bind a folder or file of the host into the new root, read only; links on the way are kept as links."""
    if os.path.islink(path):
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        if not os.path.lexists(root + path):
            os.symlink(os.readlink(path), root + path)
        return
    if not os.path.exists(path) or os.path.lexists(root + path):
        return
    if os.path.isdir(path):
        os.makedirs(root + path)
    else:
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        open(root + path, "w").close()
    _mount(path, root + path, None, _BIND)
    told = os.statvfs(path).f_flag
    held = sum(flag for told_as, flag in _HELD.items() if told & told_as)
    closed = 0 if path == "/dev/null" else _NO_DEV
    _mount("none", root + path, None, _BIND | _REMOUNT | _READ_ONLY | _NO_SUID | closed | held)


def _drop(limits: dict[str, int]) -> None:
    """No privileges, and the limits that the kernel keeps."""
    if os.getuid() == 0:
        _become(limits["number"])
    else:
        empty = ctypes.create_string_buffer(24)
        header = ctypes.create_string_buffer((0x20080522).to_bytes(4, sys.byteorder) + bytes(4), 8)
        _checked(_libc.capset(header, empty), "capset")
    _checked(_prctl(38, 1), "no_new_privs")
    for name, value in (
        ("RLIMIT_AS", limits["memory"]),
        ("RLIMIT_FSIZE", limits["scratch"]),
        ("RLIMIT_NPROC", limits["threads"]),
        ("RLIMIT_NOFILE", 64),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
    ):
        resource.setrlimit(getattr(resource, name), (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu"], limits["cpu"] + 1))


def _report(**facts: object) -> None:
    os.write(_REPORT, json.dumps(facts).encode())


def _first_process(job: dict) -> None:
    """Waits for the program in the new namespace and reports how it ended. It has dropped its privileges too: what the
    program could make of it is worth nothing, and signals from inside do not reach a namespace's first process."""
    _drop(job["limits"])
    _die_with_parent()
    _prctl(4, 0)  # PR_SET_DUMPABLE: nobody looks into this process
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
    signal.alarm(job["limits"]["clock"])  # where nobody outside is left to end this
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.close(_REPORT)
        _program(job, writing)
    os.close(writing)
    for number in (0, 1, 2):
        os.close(number)
    said = b""
    while (chunk := os.read(reading, 65536)) and len(said) <= job["limits"]["output"]:
        said += chunk
    flooded = bool(chunk)
    if flooded:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    _report(status=os.waitstatus_to_exitcode(status), flooded=flooded, said=said.decode("utf-8", "replace"))
    os._exit(0)


def _program(job: dict, results: int) -> None:
    """Put the filter on, then run the program in this interpreter."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        install_filter(_libc)
    except OSError as error:
        os.write(results, json.dumps({"refused": str(error)}).encode())
        os._exit(125)
    for name in ("seccomp", "ctypes", "_ctypes"):
        sys.modules.pop(name, None)
    sys.path = [path for path in sys.path if path != job["here"]]
    sys.argv = ["main.py"]
    code = 1
    try:
        run_job(job, results)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        if isinstance(ended.code, str):
            sys.stderr.write(ended.code)
    except BaseException:
        import traceback

        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = code or 1
    os._exit(code & 255)


def _read_job() -> dict:
    def exactly(n: int) -> bytes:
        data = b""
        while len(data) < n:
            chunk = os.read(0, n - len(data))
            if not chunk:
                os._exit(1)
            data += chunk
        return data

    return json.loads(exactly(int(exactly(8), 16)))


def main() -> None:
    _die_with_parent()
    os.setsid()
    os.umask(0o022)
    job = _read_job()
    try:
        _leave_host(job["limits"]["number"])
        pid = os.fork()
        if pid == 0:
            _build_root(job["root"], job["visible"], job["hidden"], job["limits"]["scratch"])
            _first_process(job)
    except OSError as error:
        _report(refused=str(error))
        os._exit(1)
    os.close(_REPORT)
    for number in (0, 1, 2):
        os.close(number)
    os.waitpid(pid, 0)
    os._exit(0)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from harness import run_job
    from seccomp import install_filter

    main()
