"""Keys and addresses of services: from the environment, else from `.env` in the current folder.

The file's values stay in this process: they are not put into the environment, where children and logs would find them.
"""

from __future__ import annotations

import os
from pathlib import Path

from tools_shared.errors import ToolError

FILE = ".env"


def secret(name: str) -> str | None:
    """The value of an environment variable, or of the same name in `.env`; None where neither has it.

    Raises ToolError for a file that is not text.
    """
    value = os.environ.get(name, "").strip()
    if value or not Path(FILE).is_file():
        return value or None
    from dotenv import dotenv_values

    try:
        return (dotenv_values(FILE, interpolate=False).get(name) or "").strip() or None
    except UnicodeDecodeError as error:
        raise ToolError(f"{FILE}: is not UTF-8 text; write lines such as {name}=...") from error
