"""The system call filter of the sandbox, as a classic BPF program. Run inside the jail: the standard library alone.

What is refused: new processes (threads are allowed), tracing and reading other processes' memory, mounts and
namespaces, kernel interfaces, and memory that no limit counts (shared segments, memory files). A refused call returns
EPERM; `clone3` returns ENOSYS, so that the C library falls back to `clone`, whose flags can be looked at.
Layout: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_CLONE_THREAD = 0x00010000
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_X32 = 0x40000000
"""Bit of the numbers of x86-64's second table of calls (x32), which repeats them all."""

_REFUSED = {
    # name: (x86_64, aarch64); None where the architecture lacks it
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fsconfig": (431, 431),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "personality": (135, 92),
    "landlock_create_ruleset": (444, 444),
    "seccomp": (317, 277),
    "socket": (41, 198),
}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}
"""The column of `_REFUSED`, the kernel's own number of the architecture, and the number of `clone`."""
_CLONE3 = 435


def filter_program(machine: str) -> bytes | None:
    """The filter as the kernel reads it, 8 bytes an instruction; None for a processor whose calls are not known."""
    if machine not in _ARCHITECTURES:
        return None
    column, arch, clone = _ARCHITECTURES[machine]
    numbers = sorted(n for row in _REFUSED.values() if (n := row[column]) is not None)
    lines = [
        _line(_LOAD, 0, 0, _ARCH_AT),
        _line(_EQUAL, 1, 0, arch),
        _line(_RETURN, 0, 0, _KILL),
        _line(_LOAD, 0, 0, _NUMBER_AT),
        _line(_AT_LEAST, 0, 1, _X32),
        _line(_RETURN, 0, 0, _KILL),
        _line(_EQUAL, 0, 1, _CLONE3),
        _line(_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        _line(_EQUAL, 0, 3, clone),
        _line(_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        _line(_ANY_BIT, len(numbers) + 1, 0, _CLONE_THREAD),
        _line(_RETURN, 0, 0, _ERRNO | errno.EPERM),
        *(_line(_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)),
        _line(_RETURN, 0, 0, _ALLOW),
        _line(_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    return b"".join(lines)


def _line(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def install_filter(libc: ctypes.CDLL) -> None:
    """Filter this process's calls from here on, for good. Needs no privilege after PR_SET_NO_NEW_PRIVS."""
    program = filter_program(os.uname().machine)
    if program is None:
        raise OSError(errno.ENOSYS, f"no system call filter is known for {os.uname().machine}")
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    number, mode, nothing = ctypes.c_ulong(22), ctypes.c_ulong(2), ctypes.c_ulong(0)
    if libc.prctl(
        number, mode, ctypes.create_string_buffer(header, len(header)), nothing, nothing
    ):  # PR_SET_SECCOMP, MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp")
