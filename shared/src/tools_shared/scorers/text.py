"""From text to a score: what a scorer's reader makes of the reasoning, and what the scorer makes of that.

Prompts, step ends and layers are those that the scorer was trained with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError, UnusableError
from tools_shared.files import sha256_file
from tools_shared.models import Loaded, ModelRef, load, local_path, resolve
from tools_shared.prompts import DEFAULT_PROFILE, PROFILES, Profile, render_question
from tools_shared.scorers.models import ModelScorer, open_model_scorer
from tools_shared.scorers.responses import Scored, TextResponse
from tools_shared.scorers.scorer import MODEL, WEIGHTS, Scorer, find_scorer, load_scorer, summarize
from tools_shared.states.reader import StateReader, reader_sha256
from tools_shared.states.steps import encode, reasoning, step_tokens

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Tokens:
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    n_prompt: int


class TextScorer:
    """A scorer with the model that it reads with."""

    def __init__(self, scorer: Scorer, loaded: Loaded, max_batch_tokens: int = 4096) -> None:
        from tools_shared.models.load import context_length

        self.scorer, self.tokenizer = scorer, loaded.tokenizer
        facts = scorer.facts.reader
        self.profile = Profile.from_json(facts["profile"]) if facts.get("profile") else PROFILES[DEFAULT_PROFILE]
        self._delimiter = facts["delimiter"]
        self._longest = context_length(loaded.model.config)
        # Read at the precision of the training's states; what they were stored in rounds them again.
        stored = str(facts.get("dtype", "fp32"))
        self._reader = StateReader(loaded, scorer.facts.layers, facts["norm"] == "post", stored, max_batch_tokens)

    def score(self, responses: Sequence[TextResponse]) -> list[Scored]:
        """Each response scored, in order; what cannot be read is told with its reason, never raised."""
        found: list[Scored | None] = [None] * len(responses)
        readable: list[tuple[int, _Tokens]] = []
        for i, response in enumerate(responses):
            try:
                readable.append((i, self._tokens(response)))
            except UnusableError as error:
                found[i] = Scored(None, reason=str(error))
        for at, states in self._reader.read([tokens for _, tokens in readable]):
            i, tokens = readable[at]
            found[i] = self._scored(tokens, states)
        return [scored for scored in found if scored is not None]

    def _scored(self, tokens: _Tokens, states: torch.Tensor) -> Scored:
        steps = self.scorer.probabilities(states)
        ends = tuple(position + 1 - tokens.n_prompt for position in tokens.positions)
        return Scored(summarize(steps), tuple(steps), ends)

    def _tokens(self, response: TextResponse) -> _Tokens:
        prompt = render_question(self.tokenizer, self.profile, response.question)
        text = reasoning(response.text, self.profile, prompt, whole=True)
        token_ids, ends = encode(self.tokenizer, text)
        marks = step_tokens(text, ends, self._delimiter)
        marks = marks[self.scorer.read_rows(0, len(marks))]
        if not marks:
            raise UnusableError("no step ends in the reasoning")
        n_prompt = len(prompt.token_ids)
        if self._longest is not None and n_prompt + len(token_ids) > self._longest:
            raise UnusableError(f"{n_prompt + len(token_ids)} tokens are more than the model's {self._longest}")
        return _Tokens((*prompt.token_ids, *token_ids), tuple(n_prompt + mark for mark in marks), n_prompt)


def open_text_scorer(
    spec: str, model_name: str | None = None, device: str = "auto", max_batch_tokens: int = 4096
) -> TextScorer | ModelScorer:
    """Load what scores text: a run of `tools-scorer train` or its checkpoint folder (`scorer:` may stand before it)
    with the model that it reads with (`model_name`, where that has moved), or `model:PATH`.

    Raises ToolError when either is missing, or the weights are not those that read for the training.
    """
    if spec.startswith(MODEL):
        return open_model_scorer(spec, device, max_batch_tokens)
    return open_probe(spec, model_name, device, max_batch_tokens)


def scorer_weights(spec: str) -> tuple[str, str]:
    """What `open_text_scorer` would load, without loading it: path and sha256 of the weights.

    Raises ToolError where there is nothing of that name.
    """
    if spec.startswith(MODEL):
        ref = resolve(spec.removeprefix(MODEL))
        return str(ref.adapter or ref.weights), reader_sha256(ref)
    path = find_scorer(spec) / WEIGHTS
    return str(path), sha256_file(path)


def open_probe(
    spec: str, model_name: str | None = None, device: str = "auto", max_batch_tokens: int = 4096
) -> TextScorer:
    """Load a scorer of hidden states and the model that it reads with (`model_name`, where that has moved).

    Raises ToolError when either is missing, or the weights are not those that read for the training.
    """
    scorer = load_scorer(spec)
    reader: Mapping[str, Any] = scorer.facts.reader
    ref = resolve(model_name) if model_name else _reader_of(scorer)
    sha256 = reader_sha256(ref)
    if sha256 != reader["reader_sha256"]:
        raise ToolError(
            f"{ref.spec}: other weights (sha256 {sha256[:16]}) than those that {spec} was trained to read "
            f"({reader['model']}, {str(reader['reader_sha256'])[:16]}); name those with --model-name"
        )
    compute = str(reader.get("compute_dtype", "auto"))
    return TextScorer(scorer, load(ref, compute, device), max_batch_tokens)


def _reader_of(scorer: Scorer) -> ModelRef:
    """The model that a scorer reads with: where it was, seen from the scorer, when that was trained, else by its name.

    Raises ToolError for a folder that is at neither place.
    """
    name, relative = str(scorer.facts.reader["model"]), scorer.facts.reader.get("relative")
    if relative is None:
        return resolve(name)
    beside = Path(os.path.normpath(scorer.path.resolve() / str(relative)))
    if beside.exists():
        return resolve(str(beside))
    if local_path(name) is None:
        raise ToolError(
            f"{scorer.path}: the model that it reads with, {name}, is not at {beside} any more; put it there, or name "
            "it with --model where the command has that option"
        )
    return resolve(name)
