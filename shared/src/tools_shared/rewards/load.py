"""From the values of `--reward` to reward objects: names, presets, and functions in a user's own Python file."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError, UnusableError, brief
from tools_shared.prompts import Profile
from tools_shared.rewards.columns import PASSED
from tools_shared.rewards.inputs import Completion
from tools_shared.rewards.named import (
    DEFAULT_LENGTH_LIMIT,
    PRESETS,
    SCORES,
    NamedReward,
    Reward,
    Scores,
)

DEFAULT_REWARD = "verified"
AGREES = "agrees"


@dataclass(frozen=True)
class FileReward(Reward):
    """A function in a user's own Python file. Pickled by its path: the file is loaded again on the other side."""

    path: Path
    function_name: str
    _function: Callable[..., Scores] = field(repr=False, compare=False)

    @classmethod
    def load(cls, path: Path, function_name: str, weight: float) -> FileReward:
        return cls(function_name, weight, path, function_name, _load_function(path, function_name))

    @property
    def needs_answer(self) -> bool:
        return "answer" in self._wanted()

    def check_row(self, columns: Mapping[str, Any]) -> None:
        for name in self._wanted():
            if columns.get(name) is None:
                raise UnusableError(f"no column \"{name}\", which the reward '{self.name}' wants")

    def _wanted(self) -> list[str]:
        """The arguments that the function cannot do without, beyond the completions: columns of the row."""
        parameters = inspect.signature(self._function).parameters.values()
        plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return [p.name for p in parameters if p.kind in plain and p.default is p.empty and p.name not in PASSED]

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        returned = self._function(prompts=prompts, completions=completions, **columns)
        where = f"{self.path}:{self.function_name}"
        if isinstance(returned, str | bytes | dict) or not isinstance(returned, Iterable):
            raise ToolError(
                f"{where} returned {brief(returned, 60)}; return a list with one reward for each completion"
            )
        scores = [_number(value, where) for value in returned]
        if len(scores) != len(completions):
            raise ToolError(
                f"{self.path}:{self.function_name} returned {len(scores)} rewards for {len(completions)} completions; "
                "return one for each"
            )
        return scores

    def __reduce__(self) -> tuple[Any, ...]:
        return FileReward.load, (self.path, self.function_name, self.weight)


def _number(value: Any, where: str) -> float | None:
    """A reward as a number; numpy's and torch's are ones too."""
    if value is None:
        return None
    try:
        if not isinstance(value, str | bytes):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise ToolError(f"{where} returned {brief(value, 60)} as a reward; return a number for each completion, or None")


def load_rewards(specs: Sequence[str], profile: Profile, *, length_limit: int = DEFAULT_LENGTH_LIMIT) -> list[Reward]:
    """The rewards that `--reward` names: `NAME[:WEIGHT]` or `file.py:function[:WEIGHT]`, each.

    A preset becomes its parts, each with the preset's weight. `length_limit` is in tokens. Raises ToolError for an
    unknown name, a missing file or function, a weight that is not a number, and a name given twice.
    """
    rewards: list[Reward] = []
    for spec in specs:
        rewards += _load(spec, profile, length_limit)
    names = [reward.name for reward in rewards]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ToolError(f"the reward '{twice}' is given twice; give it once, with the sum of its weights")
    if not rewards:
        raise ToolError(f"no reward is given; use --reward {DEFAULT_REWARD}")
    return rewards


def _load(spec: str, profile: Profile, length_limit: int) -> list[Reward]:
    file, colon, rest = spec.partition(".py:")
    if colon:
        name, _, weight = rest.partition(":")
        return [FileReward.load(Path(file + ".py"), name, _weight(spec, weight))]
    kind, colon, rest = spec.partition(":")
    if colon and kind in ("judge", "model", "scorer", "code"):
        return [_opinion(spec, kind, rest, profile)]
    name, _, weight = spec.partition(":")
    if name == AGREES:
        from tools_shared.rewards.agrees import AgreesReward

        return [AgreesReward(name, _weight(spec, weight))]
    parts = PRESETS.get(name, (name,))
    if name not in PRESETS and name not in SCORES:
        known = ", ".join([*SCORES, *PRESETS, AGREES])
        raise ToolError(
            f"--reward {spec}: '{name}' is unknown; use one of {known}, judge:RUBRIC.yaml, model:PATH, scorer:RUN, "
            "code:python, or file.py:function"
        )
    return [NamedReward(part, _weight(spec, weight), profile, SCORES[part], length_limit) for part in parts]


def _opinion(spec: str, kind: str, rest: str, profile: Profile) -> Reward:
    """The rewards that ask another program: `judge:RUBRIC.yaml`, `model:PATH`, `scorer:RUN` and `code:python`, with a
    weight."""
    what, colon, last = rest.rpartition(":")
    is_weight = bool(colon) and (kind == "code" or _is_number(last))
    source, weight = (what, _weight(spec, last)) if is_weight else (rest, 1.0)
    if kind == "judge":
        from tools_shared.rewards.judged import JudgeReward

        return JudgeReward.load(Path(source), weight, profile)
    if kind == "model":
        from tools_shared.rewards.modelled import ModelReward

        return ModelReward(f"model:{source}", weight, source, profile)
    if kind == "scorer":
        from tools_shared.rewards.scored import ScorerReward

        return ScorerReward.load(source, weight, profile)
    if source != "python":
        raise ToolError(f"--reward {spec}: programs in '{source}' cannot be run; use code:python")
    from tools_shared.rewards.programs import CodeReward

    return CodeReward.load(weight, profile)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _weight(spec: str, text: str) -> float:
    if not text:
        return 1.0
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight) or weight == 0:
        raise ToolError(f"--reward {spec}: the weight '{text}' must be a number other than 0, as in verified:0.5")
    return weight


def _load_function(path: Path, name: str) -> Callable[..., Scores]:
    """A function of a Python file; what the file itself raises when it is loaded passes through."""
    if not path.is_file():
        beside = ", ".join(sorted(p.name for p in path.parent.glob("*.py"))[:8]) or "no Python file"
        raise ToolError(f"--reward {path}:{name}: the file does not exist; '{path.parent}' contains {beside}")
    spec = importlib.util.spec_from_file_location(f"reward_file_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ToolError(f"--reward {path}:{name}: not a Python file; name one that ends with .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {n: f for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__}
    if name not in found:
        raise ToolError(f"--reward {path}:{name}: no such function; {path.name} defines {', '.join(found) or 'none'}")
    if all(p.kind is not p.VAR_KEYWORD for p in inspect.signature(found[name]).parameters.values()):
        raise ToolError(f"--reward {path}:{name}: must accept (prompts, completions, **columns), as TRL's rewards do")
    return found[name]
