"""Reading YAML that somebody else may have written: bounded in size, depth and what aliases stand for, and every fault
one line with its place.

Only plain values are read (text, numbers, dates, lists, mappings). A mapping with a key twice is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError, brief

MAX_BYTES = 1 << 18
MAX_NODES = 20_000
MAX_DEPTH = 50
_Counted = dict[int, tuple[int, int]]


def load(path: Path) -> Any:
    """The value that a YAML file holds. Raises ToolError naming file and line of what cannot be read."""
    loader, root = compose(path)
    return None if root is None else construct(loader, root, path)


def compose(path: Path) -> tuple[Any, Any]:
    """A loader and the document's node, None for an empty file; for what needs the lines of values."""
    import yaml

    text = _read(path)
    try:
        loader = yaml.SafeLoader(text)
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader), path)
        root = loader.get_single_node()
        if root is not None:
            _measure(root, {}, path)
    except (yaml.YAMLError, ValueError) as error:
        raise _fault(error, path) from error
    return loader, root


def construct(loader: Any, node: Any, path: Path) -> Any:
    """The value of a node. Raises ToolError for a tag that is not plain YAML's, and for a value that is none."""
    import yaml

    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, AttributeError, LookupError) as error:
        raise _fault(error, path, node.start_mark.line + 1) from error


def flatten(loader: Any, node: Any, path: Path) -> None:
    """Put what `<<: *anchor` refers to into a mapping's node."""
    import yaml

    try:
        loader.flatten_mapping(node)
    except yaml.YAMLError as error:
        raise _fault(error, path, node.start_mark.line + 1) from error


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file") from None
    except OSError as error:
        raise ToolError(f"{path}: cannot be read ({error.strerror}); name a YAML file") from error
    if len(content) > MAX_BYTES:
        raise ToolError(f"{path}: larger than {MAX_BYTES >> 10} KiB, which no YAML file of settings is; is it data?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ToolError(f"{path}:{line}: not valid YAML: not UTF-8 (byte 0x{content[error.start]:02x})") from error


def _check_events(events: Any, path: Path) -> None:
    """Before anything is composed, which goes down by calling itself: the depth and the number of nodes."""
    import yaml

    depth = 0
    for number, event in enumerate(events):
        where = f"{path}:{event.start_mark.line + 1}"
        if number > 2 * MAX_NODES:
            raise ToolError(f"{where}: more than {MAX_NODES} values; a file of settings needs fewer")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ToolError(f"{where}: nested more than {MAX_DEPTH} deep")


def _measure(node: Any, counted: _Counted, path: Path) -> tuple[int, int]:
    """How many values a node is and how deep, aliases written out; each node is looked at once."""
    import yaml

    if id(node) in counted:
        return counted[id(node)]
    where = f"{path}:{node.start_mark.line + 1}"
    counted[id(node)] = (MAX_NODES, MAX_DEPTH)  # a node that holds itself has no end
    if isinstance(node, yaml.MappingNode):
        _refuse_twice(node, path)
        children = [child for pair in node.value for child in pair]
    else:
        children = node.value if isinstance(node, yaml.SequenceNode) else []
    found = [_measure(child, counted, path) for child in children]
    size, depth = 1 + sum(s for s, _ in found), 1 + max((d for _, d in found), default=0)
    if size > MAX_NODES or depth > MAX_DEPTH:
        raise ToolError(f"{where}: its aliases stand for more than {MAX_NODES} values or {MAX_DEPTH} levels")
    counted[id(node)] = size, depth
    return size, depth


def _refuse_twice(node: Any, path: Path) -> None:
    import yaml

    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if (key.tag, key.value) in seen:
            raise ToolError(f"{path}:{key.start_mark.line + 1}: '{key.value[:80]}' is given twice")
        seen.add((key.tag, key.value))


def _fault(error: Exception, path: Path, line: int | None = None) -> ToolError:
    """What is wrong, without the piece of the file that YAML's own message quotes: a key may stand in it."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else line
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    said = " ".join((f"{context}: {reason}" if context else str(reason)).split())
    return ToolError(f"{path}{f':{line}' if line else ''}: not valid YAML: {brief(said, quoted=False)}")
