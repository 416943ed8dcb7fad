"""A tool's configuration: one frozen dataclass from which flags, environment names and YAML keys follow.

    @dataclass(frozen=True)
    class SftConfig(Config):
        TOOL: ClassVar[str] = "sft"
        epochs: float = option(1.0, "Passes over the training rows.", minimum=0)

The default and the help stand here once; `tools_shared.cli.config_options` turns each field into `--epochs`,
`TOOLS_SFT_EPOCHS` and the key `epochs` of a `--config` file.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from tools_shared.addresses import Secret, shown_text
from tools_shared.config.spellings import VALUES, aliases_of, other_name
from tools_shared.errors import ToolError, brief
from tools_shared.files import yaml_text
from tools_shared.names import did_you_mean as nearest


def option(
    default: Any,
    help: str,
    *,
    env: str | None = None,
    aliases: tuple[str, ...] = (),
    panel: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    identity: bool = True,
    flag_value: str | None = None,
    secret: Secret | None = None,
) -> Any:
    """A configuration field. `env` is a name that users already have, besides `TOOLS_<TOOL>_<OPTION>`; `aliases` are
    former names, which keep working; `panel` is where `--help` shows it, instead of in its class's `PANEL`;
    `flag_value` is the value of the bare flag. `identity=False` marks what does not change
    the result (where it is written, on which device), so that it is left out when two configurations are compared.
    `secret` says how a value that may hold one is written; every option for an address, a key or a body has it.
    """
    metadata = {
        "help": help,
        "env": env,
        "aliases": aliases,
        "panel": panel,
        "minimum": minimum,
        "maximum": maximum,
        "identity": identity,
        "flag_value": flag_value,
        "secret": secret,
    }
    return dataclasses.field(default=default, metadata=metadata)


class Sources(tuple[str, ...]):
    """Addresses whose rows are read one after another, in this order; as text they stand with commas between."""

    def __str__(self) -> str:
        return ", ".join(self)


def source_option(default: str | None, help: str, **more: Any) -> Any:
    """A repeatable option that names rows: `tuple[str, ...]`, its value always `Sources`. One address needs no list
    around it, in Python and YAML either."""
    given = Sources((default,) if default else ())
    field = option(given, f"{help} Repeatable: read one after another.", **more)
    return dataclasses.field(default=given, metadata={**field.metadata, "sources": True})


def _as_sources(field: dataclasses.Field[Any], value: Any) -> Sources:
    sources = Sources((value,) if isinstance(value, str) else value or ())
    if doubled := next((one for i, one in enumerate(sources) if one in sources[:i]), None):
        raise ToolError(f"{flag_of(field.name)} {doubled}: is given twice; name each source once")
    return sources


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every tool's configuration; checks each field's bounds and choices."""

    TOOL: ClassVar[str] = ""
    PANEL: ClassVar[str] = "Run"
    """Where `--help` shows the fields that a class declares."""
    FIRST: ClassVar[tuple[str, ...]] = ()
    """The fields that `--help` shows; the others follow in `--help-all`. Empty: all."""
    HIDDEN: ClassVar[tuple[str, ...]] = ()
    """Inherited fields that decide nothing in this command: still taken, shown nowhere."""
    READS_ROWS: ClassVar[bool] = True
    """Whether its data are rows, of which the longest can be limited."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if choices_of(self.hints()[field.name]):
                value = getattr(self, field.name)
                object.__setattr__(self, field.name, our_value(value))
            if field.metadata.get("sources"):
                object.__setattr__(self, field.name, _as_sources(field, getattr(self, field.name)))
            check_value(field, getattr(self, field.name), self.hints()[field.name])

    @classmethod
    @functools.cache
    def hints(cls) -> dict[str, Any]:
        """Each field's type; resolving them takes a millisecond, and every field asks."""
        return typing.get_type_hints(cls)

    @classmethod
    @functools.cache
    def aliases(cls) -> dict[str, str]:
        """Every other spelling of an option, with its name."""
        return aliases_of({f.name: f.metadata.get("aliases", ()) for f in dataclasses.fields(cls)})

    @classmethod
    def renamed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Stored options of an earlier version under the names and values that they have now."""
        return {cls.aliases().get(name, name): our_value(value) for name, value in values.items()}

    @classmethod
    def panel_of(cls, name: str) -> str:
        """The field's own panel, or that of the class which first declared the field."""
        given = cls.__dataclass_fields__[name].metadata.get("panel")
        declaring = [base for base in cls.__mro__ if name in inspect.get_annotations(base)]
        return given or vars(declaring[-1]).get("PANEL", Config.PANEL)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to `config.yaml`: without secrets; one source is its address alone."""
        return {f.name: _plain(self.shown(f.name)) for f in dataclasses.fields(self)}

    def shown(self, name: str) -> Any:
        """A field's value as it may be written and printed."""
        value, secret = getattr(self, name), self._secret(name)
        if secret is None or value is None:
            return value
        return tuple(map(secret.shown, value)) if isinstance(value, tuple) else secret.shown(value)

    def shown_words(self, words: Iterable[str]) -> tuple[str, ...]:
        """The words of a command line as they may be written."""
        hidden: dict[str, str] = {}
        for field in dataclasses.fields(self):
            value, shown = getattr(self, field.name), self.shown(field.name)
            if value != shown:
                both = zip(value, shown, strict=True) if isinstance(value, tuple) else [(value, shown)]
                hidden |= {v: s for v, s in both if v}
        pairs = sorted(hidden.items(), key=lambda pair: -len(pair[0]))
        return tuple(shown_text(functools.reduce(lambda word, pair: word.replace(*pair), pairs, w)) for w in words)

    def _secret(self, name: str) -> Secret | None:
        return self.__dataclass_fields__[name].metadata.get("secret")

    def idle(self) -> dict[str, str]:
        """Names of the fields that decide nothing with these values, and why: `with --max-steps`."""
        return {}

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result."""
        names = {f.name for f in dataclasses.fields(self) if f.metadata.get("identity", True)}
        return {name: value for name, value in self.to_dict().items() if name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Sources) and len(value) < 2:
        return value[0] if value else None
    return list(value) if isinstance(value, tuple) else value


def check_value(field: dataclasses.Field[Any], value: Any, hint: Any) -> None:
    """Raise ToolError naming the flag, the value and what is allowed."""
    if value is None:
        return
    flag = flag_of(field.name)
    choices = choices_of(hint)
    if choices and value not in choices:
        raise ToolError(f"{flag} must be one of {', '.join(choices)}, got {brief(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolError(f"{flag} must be a finite number, got {value}")
    for text in value if isinstance(value, tuple) else (value,):
        _check_text(flag, text)
        if secret := field.metadata.get("secret"):
            secret.check(flag, text)
    low, high = field.metadata.get("minimum"), field.metadata.get("maximum")
    if low is None and high is None:
        return
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = (
            f"at least {low}" if high is None else f"at most {high}" if low is None else f"between {low} and {high}"
        )
        raise ToolError(f"{flag} must be {bounds}, got {value}")


def _check_text(flag: str, value: Any) -> None:
    """No file can be named by, and no file holds, what is not Unicode text or has a zero byte in it."""
    if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
        raise ToolError(f"{flag}: {brief(value)} is not UTF-8 text, or holds a zero byte; write it otherwise")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def our_value(value: Any) -> Any:
    """The spelling that a choice has here."""
    return VALUES.get(value, value) if isinstance(value, str) else value


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def choices_of(hint: Any) -> tuple[str, ...]:
    inner = without_none(hint)
    return typing.get_args(inner) if typing.get_origin(inner) is Literal else ()


def without_none(hint: Any) -> Any:
    """`X` of `X | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def digest(value: Any) -> str:
    """sha256 of a plain value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_yaml(path: Path, config_class: type[Config]) -> dict[str, Any]:
    """Read a configuration file: flat keys, or nested in sections (`model: {base_model: ...}`). One value of an option
    that may be repeated needs no list around it.

    Raises ToolError naming file and line: of a syntax error, of an unknown key, with its nearest known one, of a key
    given twice, and of a value that is not of the option's kind.
    """
    import yaml

    if not path.exists():
        raise ToolError(f"{path}: no such configuration file")
    loader, root = yaml_text.compose(path)
    if not isinstance(root, yaml.MappingNode):
        raise ToolError(f"{path}: expected a mapping of option names to values")
    values: dict[str, Any] = {}
    for key, node in _leaves(loader, root, config_class, path):
        where = f"{path}:{node.start_mark.line + 1}"
        if key in values:
            raise ToolError(f"{where}: '{key}' is given twice")
        hint, value = config_class.hints()[key], yaml_text.construct(loader, node, path)
        if choices_of(hint):
            value = our_value(value)
        if typing.get_origin(without_none(hint)) is tuple and not isinstance(value, list | Mapping | None):
            value = [value]
        if value is None and hint is without_none(hint) and typing.get_origin(hint) is not tuple:
            raise ToolError(f"{where}: '{key}' must be {_kind(hint)}, got nothing; leave the key out for its default")
        if value is not None and not _is_of_kind(value, without_none(hint)):
            raise ToolError(f"{where}: '{key}' must be {_kind(without_none(hint))}, got {brief(value)}")
        values[key] = value
    return values


def _leaves(loader: Any, section: Any, config_class: type[Config], path: Path) -> Iterable[tuple[str, Any]]:
    """Option names and the YAML nodes of their values, those of nested sections among them."""
    import yaml

    known, aliases = {f.name for f in dataclasses.fields(config_class)}, config_class.aliases()
    yaml_text.flatten(loader, section, path)
    for key_node, node in section.value:
        raw_key = brief(key_node.value, quoted=False)
        key = raw_key.replace("-", "_")
        key = aliases.get(key, key)
        where = f"{path}:{key_node.start_mark.line + 1}"
        if key == "backend" and (node.value == "trl" or key not in known):
            _check_backend(node.value, where)
        elif key in known and not _is_section(node, {*known, *aliases}):
            yield key, node
        elif isinstance(node, yaml.MappingNode):
            yield from _leaves(loader, node, config_class, path)
        else:
            instead = other_name(key, set(map(flag_of, known)))
            meant = f" ({instead})" if instead else nearest(key, known) or nearest(key, aliases)
            raise ToolError(f"{where}: unknown key '{raw_key}'{meant}")


def _is_section(node: Any, names: Collection[str]) -> bool:
    """Whether a mapping under an option's name, such as `model` or `data`, is a section that holds options."""
    import yaml

    keys = [str(key.value).replace("-", "_") for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    return any(key in names for key in keys)


LARGEST = 2**63
"""Whole numbers from here on fit no machine integer, and far ones no float."""
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "one value"}


def _is_of_kind(value: Any, hint: Any) -> bool:
    """Whether a value read from YAML is one of the option's; numbers may be quoted, as YAML reads 1e-4 as text."""
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list) and all(_is_of_kind(one, typing.get_args(hint)[0]) for one in value)
    if choices := choices_of(hint):
        return value in choices
    if hint is bool:
        return isinstance(value, bool)
    if hint is str:
        return isinstance(value, str | int | float | datetime.date)
    if isinstance(value, str):
        return _reads_as(hint, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < LARGEST
    return hint is float and isinstance(value, float)


def _reads_as(number: type, text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return f"a list, each {_kind(typing.get_args(hint)[0])}"
    return f"one of {', '.join(choices)}" if (choices := choices_of(hint)) else KINDS[hint]


def _check_backend(value: Any, where: str) -> None:
    if value not in ("local", "trl"):
        raise ToolError(
            f"{where}: backend {brief(value)} is not available: this tool works on this machine; write 'local'"
        )


def parse_shard(text: str | None) -> tuple[int, int]:
    """(i, n) of `i/n`, which part of how many; (0, 1) for None, the whole. Raises ToolError for anything else."""
    if text is None:
        return 0, 1
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise ToolError(f"--shard is i/n with i from 0 to n-1, such as 0/4, got '{text}'")
    return int(match[1]), int(match[2])
