"""What every engine takes and returns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tools_shared.errors import ToolError
from tools_shared.prompts import Profile, Prompt, check_written, render_question
from tools_shared.pruning.rules import Pruned
from tools_shared.records import Problem

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

FinishReason = Literal["stop", "length", "pruned"]


@dataclass(frozen=True)
class SamplingParams:
    """How completions are sampled.

    `temperature` 0 means greedy; `top_k` 0, `top_p` 1 and `min_p` 0 leave all tokens in. Sample k of the prompt with
    key p depends on (seed, p, k) alone, so a resumed or sharded run samples what an unbroken one would.
    """

    temperature: float = 0.0
    max_new_tokens: int = 512
    n: int = 1
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    logprobs: bool = False
    prune: bool = False
    """Whether the engine's rules of `--prune` may stop a sample."""

    def __post_init__(self) -> None:
        _require("temperature", self.temperature, self.temperature >= 0, "0 or more")
        _require("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "at least 1")
        _require("n", self.n, self.n >= 1, "at least 1")
        _require("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")
        _require("top_k", self.top_k, self.top_k >= 0, "0 or more")
        _require("min_p", self.min_p, 0 <= self.min_p <= 1, "between 0 and 1")


def _require(name: str, value: float, holds: bool, allowed: str) -> None:
    if not holds:
        raise ToolError(f"{name} must be {allowed}, got {value}")


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion. `token_ids` end with the stop token when there was one; `text` leaves special tokens out.

    `logprobs` (on request), one a token: under the model at the sampling temperature (1 when greedy), before
    top-k, top-p and min-p. `states` (on request) are the hidden states of the prompt's last token and of each of
    its own, [1 + n_tokens, n_layers, hidden], or with vLLM their file (`tools_shared.states.vllm.taken`).
    `n_told` is how many tokens a server counted, which sends no token ids. `pruned` says why a completion with the
    finish reason "pruned" was stopped; `steps` are the ends of its steps (tokens up to there) with the
    probabilities that a rule's scorer gave them, `confidence` its new lowest group confidences with the tokens up to
    there, each where a rule asks for it.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[float, ...] | None = None
    states: Path | torch.Tensor | None = None
    n_told: int | None = None
    pruned: Pruned | None = None
    steps: tuple[tuple[int, float], ...] | None = None
    confidence: tuple[tuple[int, float], ...] | None = None

    @property
    def n_tokens(self) -> int | None:
        """How many tokens it has, as a server counted them where it comes from one; None where that does not say."""
        return len(self.token_ids) if self.token_ids else self.n_told

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Completion:
        """What `asdict` and JSON made of a completion."""
        logprobs = values["logprobs"]
        return cls(
            values["text"],
            tuple(values["token_ids"]),
            values["finish_reason"],
            None if logprobs is None else tuple(logprobs),
            n_told=values.get("n_told"),
            pruned=Pruned(**pruned) if (pruned := values.get("pruned")) else None,
            steps=_pairs(values.get("steps")),
            confidence=_pairs(values.get("confidence")),
        )


def _pairs(found: Sequence[Sequence[Any]] | None) -> tuple[tuple[int, float], ...] | None:
    return None if found is None else tuple((n, value) for n, value in found)


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Draw:
    """One completion to be sampled: sample number `sample` of the prompt that `key` names. `index` is the caller's own.

    `is_wanted` is asked while it is sampled: a sample that is wanted no more may be dropped, and `on_draw` is not told.
    """

    prompt: Prompt
    key: str
    sample: int = 0
    index: int = 0
    is_wanted: Callable[[], bool] = _always


Take = Callable[[], Draw | None]
"""Asked whenever there is room for one more; None means that there is nothing now, which a later result may change."""
OnDraw = Callable[[Draw, Completion], None]
"""Told of each completion as soon as it is there, in no particular order."""


class Engine(Protocol):
    """Samples completions. `tokenizer` is the one that prompts have to be made with, None where a server does that from
    the messages; `context_length` the most tokens, prompt and completion together, None when not known; `sampled_in`
    the number format of the weights (fp32, bf16, fp16), None when not known."""

    tokenizer: PreTrainedTokenizerBase | None
    context_length: int | None
    sampled_in: str | None

    def count(self, draw: Draw, completion: Completion, is_first: bool = True) -> None:
        """Count a completion's tokens among the costs of the run; `generate` does it itself, who calls `stream` has to.
        `is_first`: the prompt was read for it."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        keys: Sequence[str] | None = None,
        first_sample: int = 0,
        on_done: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """`params.n` completions of each prompt, in the order of the prompts.

        `keys` name the prompts for the samples (default: their positions); `first_sample` is the number of the first
        sample; `on_done(i, completions)` is called as soon as those of prompt i are complete. Raises ToolError for a
        prompt that does not fit into the model's context.
        """
        ...

    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = 32) -> None:
        """Sample what `take` gives until it gives nothing and nothing is under way; `on_draw` may make it give more.

        At most `n_slots` completions are under way, where the engine and not a server decides that.
        """
        ...


def prompts_of(
    problems: Sequence[Problem],
    tokenizer: PreTrainedTokenizerBase | None,
    profile: Profile,
    context_length: int | None,
    new_tokens: int,
) -> list[Prompt]:
    """The prompt of each problem; raises ToolError for one that leaves no room for the new tokens."""
    if tokenizer is not None:
        check_written(tokenizer, profile)
    prompts = [render_question(tokenizer, profile, problem.question) for problem in problems]
    check_fits(prompts, [str(problem.origin or problem.id) for problem in problems], context_length, new_tokens)
    return prompts


def check_fits(prompts: Sequence[Prompt], names: Sequence[str], context_length: int | None, new_tokens: int) -> None:
    """Raise ToolError naming the first prompt that leaves no room for its completion."""
    for prompt, name in zip(prompts, names, strict=True):
        if context_length is not None and len(prompt.token_ids) + new_tokens > context_length:
            raise ToolError(
                f"{name}: the prompt has {len(prompt.token_ids)} tokens; with {new_tokens} new ones it exceeds "
                f"the model's {context_length}; lower the completion length or leave the row out"
            )


def draw_key(seed: int, key: str, sample: int) -> int:
    """The 128-bit number that one sample's random stream starts from."""
    return int.from_bytes(hashlib.sha256(f"{seed}\x1f{key}\x1f{sample}".encode()).digest()[:16])
