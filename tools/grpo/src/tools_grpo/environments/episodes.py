"""Episodes: turns of the model and results of its tools, until a turn calls none.

`Episodes` is an engine, so rollouts and evaluation sample through it alike. A completion's `text` is the last turn
alone, which rewards and grading read: what a tool wrote is nowhere in it. Its tokens are those of all turns, and `mask`
has 1 for those that the model wrote and 0 for all that the environment did, where the loss is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tools_grpo.environments.calls import Frame, Wanted, calls_in
from tools_grpo.environments.load import World, told
from tools_grpo.environments.running import Call, LateError, Runner
from tools_shared.engines import Completion, Draw, SamplingParams
from tools_shared.errors import ToolError
from tools_shared.prompts import Profile, Prompt, render_prompt
from tools_shared.prompts.ends import end_of_turn_id, text_of
from tools_shared.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tools_shared.engines.local.engine import TransformersEngine


@dataclass(frozen=True)
class Turn:
    """One turn of the model: its text and number of tokens, the calls in it, and the tokens that their results took."""

    text: str
    n_tokens: int
    calls: tuple[Call, ...] = ()
    n_result_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Episode(Completion):
    """See the module. `prompt` is what it began with, `score` the environment's own reward, None where it has none."""

    prompt: Prompt | None = None
    mask: tuple[int, ...] = ()
    turns: tuple[Turn, ...] = ()
    score: float | None = None

    @property
    def own_ids(self) -> tuple[int, ...]:
        """The tokens that the model wrote."""
        return tuple(token for token, mine in zip(self.token_ids, self.mask, strict=True) if mine)


@dataclass
class _Open:
    """An episode under way."""

    index: int
    prompt: Prompt
    key: str
    environment: Any
    tools: Mapping[str, Callable[..., Any]]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    finish_reason: str = "stop"
    is_deaf: bool = False
    done: bool = False
    score: float | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.prompt.token_ids, *self.tokens)

    @cached_property
    def closed(self) -> Episode:
        """The same object each time: rewards know the completions that they were given ahead by their identity."""
        text = self.turns[-1].text if self.turns else ""
        return Episode(
            text,
            tuple(self.tokens),
            self.finish_reason,
            tuple(self.logprobs) or None,
            prompt=self.prompt,
            mask=tuple(self.mask),
            turns=tuple(self.turns),
            score=self.score,
        )


class Episodes:
    """An engine that samples episodes with another.

    Sample k of a prompt depends on (seed, key, k) alone, as far as the tools' results do. `rows` are the columns that
    an environment's `reset` gets, by the prompt's text. `params.max_new_tokens` holds for all turns of an episode, with
    the results.
    """

    def __init__(
        self,
        engine: TransformersEngine,
        world: World,
        profile: Profile,
        rows: Mapping[str, Mapping[str, Any]],
        *,
        max_turns: int,
        runner: Runner,
    ) -> None:
        self.engine, self.world, self.profile, self.rows = engine, world, profile, rows
        self.max_turns, self.runner = max_turns, runner
        self.tokenizer: PreTrainedTokenizerBase = engine.tokenizer
        self.context_length = engine.context_length
        self.sampled_in = engine.sampled_in
        self.frame = Frame.of(engine.tokenizer, profile, end_of_turn_id(engine.tokenizer))

    def count(self, draw: Draw, completion: Completion, is_first: bool = True) -> None:
        """See `Engine.count`; the turns of `generate` are counted by the engine beneath."""
        self.engine.count(draw, completion, is_first)

    def stream(self, *_: Any) -> None:
        raise ToolError("episodes are sampled step by step; take generate")

    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        keys: Sequence[str] | None = None,
        first_sample: int = 0,
        on_done: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.generate`; the completions are `Episode`s."""
        names = keys if keys is not None else [str(i) for i in range(len(prompts))]
        samples = range(first_sample, first_sample + params.n)
        every = [self._opened(i, prompt, f"{names[i]}/{k}") for i, prompt in enumerate(prompts) for k in samples]
        self._begin(every, params.max_new_tokens)
        told_of: set[int] = set()
        while under_way := [one for one in every if not one.done]:
            self._sample(under_way, params)
            self._answer([one for one in under_way if not one.done], params.max_new_tokens)
            self._score([one for one in under_way if one.done])
            if on_done is not None:
                self._tell(every, told_of, on_done)
        return [[one.closed for one in every if one.index == i] for i in range(len(prompts))]

    def _tell(
        self, every: Sequence[_Open], told_of: set[int], on_done: Callable[[int, list[Completion]], None]
    ) -> None:
        groups: dict[int, list[_Open]] = {}
        for one in every:
            groups.setdefault(one.index, []).append(one)
        for index, group in groups.items():
            if index not in told_of and all(one.done for one in group):
                told_of.add(index)
                on_done(index, [one.closed for one in group])

    def _opened(self, index: int, prompt: Prompt, key: str) -> _Open:
        if self.world.factory is None:
            return _Open(index, prompt, key, None, self.world.tools(None))
        try:
            environment = self.world.factory()
        except Exception as error:
            raise ToolError(f"--environment {self.world.name}: raised {told(error)}") from error
        return _Open(index, prompt, key, environment, self.world.tools(environment))

    def _begin(self, every: Sequence[_Open], new_tokens: int) -> None:
        """Reset each environment with its row; what it returns is added to the last message."""
        with_state = [one for one in every if one.environment is not None]
        resets = [_reset(one.environment, self.rows[one.prompt.text]) for one in with_state]
        for one, seen in zip(with_state, self.runner.all(resets), strict=True):
            if isinstance(seen, BaseException):
                raise ToolError(f"--environment {self.world.name}: reset raised {told(seen)}") from seen
            if seen is None:
                continue
            if not isinstance(seen, str):
                raise ToolError(f"--environment {self.world.name}: reset returned {type(seen).__name__}, not text")
            *before, last = one.prompt.messages
            one.prompt = render_prompt(self.tokenizer, self.profile, [*before, Message(last.role, last.content + seen)])
            if self.context_length is not None and len(one.prompt.token_ids) + new_tokens > self.context_length:
                raise ToolError(f"--environment {self.world.name}: what reset returned leaves no room for an episode")

    def _sample(self, under_way: Sequence[_Open], params: SamplingParams) -> None:
        """The next turn of each; those for which the longest turn of all would be too long go by themselves."""
        most = params.max_new_tokens
        left = max(most - len(one.tokens) for one in under_way)
        fits = [one for one in under_way if self.context_length is None or len(one.ids) + left <= self.context_length]
        drawn = self.engine.generate(
            [replace(one.prompt, token_ids=one.ids) for one in fits],
            replace(params, n=1, max_new_tokens=left),
            keys=[f"{one.key}/{len(one.turns)}" for one in fits],
        )
        for one, (completion,) in zip(fits, drawn, strict=True):
            self._take(one, completion, most - len(one.tokens))
        if others := [one for one in under_way if one not in fits]:
            self._sample(others, params)

    def _take(self, one: _Open, completion: Completion, room: int) -> None:
        ids, text = completion.token_ids, completion.text
        cut = len(ids) > room
        if cut:
            ids = ids[:room]
            text = text_of(self.tokenizer, ids, self.engine.stop_ids)
        one.tokens += ids
        one.mask += [1] * len(ids)
        one.logprobs += (completion.logprobs or ())[: len(ids)]
        one.turns.append(Turn(text, len(ids)))
        if cut or completion.finish_reason == "length":
            one.finish_reason, one.done = "length", True

    def _answer(self, under_way: Sequence[_Open], most: int) -> None:
        """Make the calls of each one's last turn; one without calls, or with no turn or room left, is done."""
        calling = []
        for one in under_way:
            wanted = calls_in(one.turns[-1].text, self.profile, self.world.schemas)
            if wanted and len(one.turns) < self.max_turns:
                calling.append((one, wanted))
            else:
                one.done = True
        answers: dict[int, list[Call]] = {id(one): [] for one, _ in calling}
        for step in range(max((len(wanted) for _, wanted in calling), default=0)):
            # One call of each episode at a time: those of one may depend on each other.
            now = [(one, wanted[step]) for one, wanted in calling if step < len(wanted)]
            found = self.runner.all([self._work(one, call) for one, call in now])
            for (one, call), result in zip(now, found, strict=True):
                one.is_deaf = one.is_deaf or isinstance(result, LateError)
                answers[id(one)].append(self.runner.answered(call, result))
        for one, _ in calling:
            self._show(one, answers[id(one)], most)

    def _work(self, one: _Open, wanted: Wanted) -> Callable[[], Any]:
        return _deaf if one.is_deaf else self.runner.call(wanted, one.tools)

    def _show(self, one: _Open, calls: Sequence[Call], most: int) -> None:
        """Append the results; where they leave no room for another token, the episode ends at its length."""
        ids = self.frame.tokens([call.result for call in calls])
        fits = len(one.tokens) + len(ids) < most
        one.turns[-1] = replace(one.turns[-1], calls=tuple(calls), n_result_tokens=len(ids) if fits else 0)
        if not fits:
            one.finish_reason, one.done = "length", True
            return
        one.tokens += ids
        one.mask += [0] * len(ids)
        if one.logprobs:
            one.logprobs += [0.0] * len(ids)

    def _score(self, done: Sequence[_Open]) -> None:
        if not self.world.has_reward:
            return
        able = [one for one in done if not one.is_deaf]
        for one, score in zip(able, self.runner.all([one.environment.get_reward for one in able]), strict=True):
            if isinstance(score, BaseException):
                raise ToolError(f"--environment {self.world.name}: get_reward raised {told(score)}") from score
            if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
                raise ToolError(f"--environment {self.world.name}: get_reward returned {type(score).__name__}")
            one.score = None if score is None else float(score)


def _reset(environment: Any, row: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: environment.reset(**row)


def _deaf() -> str:
    raise LateError("an earlier call has not returned, so the environment takes no more")
