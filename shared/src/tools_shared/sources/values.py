"""Values of other formats as JSON has them, so that a row means the same wherever it was read."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any


def as_json(value: Any) -> Any:
    """The value with NaN and infinities as None, bytes as base64 text, and what JSON does not know as text.

    Bytes are never decoded as text: base64 gives them back whole.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return str(value)
