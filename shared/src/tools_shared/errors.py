"""The errors a user can mend. Everything else is a bug and keeps its traceback."""


class ToolError(Exception):
    """Something the user can fix: the message names the place, the value and the remedy, in one line."""

    exit_code = 1


class Incomplete(ToolError):
    """The work stopped before its end but what is finished is kept; the same command goes on from there."""

    exit_code = 3
