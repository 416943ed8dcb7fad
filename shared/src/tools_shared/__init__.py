"""The core that the six tools share: rows, prompts, answers, rewards, models, engines, runs, statistics.

Importing this package costs nothing: torch, transformers and every other heavy library are imported
inside the functions that need them, so that `--help` answers at once on any machine.
"""

from tools_shared.errors import Incomplete, ToolError

__version__ = "0.2.0"

__all__ = ["Incomplete", "ToolError", "__version__"]
