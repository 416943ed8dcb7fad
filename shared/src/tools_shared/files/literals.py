"""Values as models write them: literals of JSON or of Python, read without evaluating anything."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from tools_shared.errors import brief

WORDS = {"true": True, "false": False, "null": None}
ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
"""What reading a literal raises, whatever its text."""


def parsed(text: str) -> ast.expr:
    """The expression that a text is; raises one of ERRORS."""
    with warnings.catch_warnings(action="ignore"):  # about the escapes in a model's strings
        return ast.parse(text.strip(), mode="eval").body


def literal(node: ast.expr) -> Any:
    """The value of an expression of literals, with JSON's words; raises one of ERRORS for any other."""
    return ast.literal_eval(_Words().visit(node))


class _Words(ast.NodeTransformer):
    """JSON's words as Python's."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in WORDS:
            raise ValueError(f"{brief(node.id)} is no literal; put text in quotes")
        return ast.copy_location(ast.Constant(WORDS[node.id]), node)
