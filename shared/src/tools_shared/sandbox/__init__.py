"""Running programs that nobody has read: no network, no files, and limits on time, memory, threads and output.

A program runs as one process in Linux namespaces of its own (user, mount, process, network, IPC, host name). It sees
Python's standard library, read only, and an empty folder in memory; it has no capabilities, and a filter refuses the
system calls that start processes, that trace, mount or share memory. Where this cannot be made, nothing is run:
`check_sandbox` raises ToolError with the reason.
"""

from tools_shared.sandbox.run import SandboxLimits, SandboxOutcome, check_sandbox, run_program

__all__ = ["SandboxLimits", "SandboxOutcome", "check_sandbox", "run_program"]
