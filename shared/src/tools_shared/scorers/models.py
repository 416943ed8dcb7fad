"""Whole models as scorers of text: `model:PATH`.

Three kinds, told by the architecture in the folder's config.json:

- a sequence classifier with one output is a reward model: its score at the end of the response, as a sigmoid;
- a token classifier with two outputs is a process reward model as TRL's PRMTrainer makes it: the probability of the
  second class at the separator after each step, a line each;
- a language model judges by its own confidence: the exponential of the response's mean token log-probability.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tools_shared.errors import ToolError
from tools_shared.models import ModelRef, choose_profile, load, resolve
from tools_shared.prompts import render_question
from tools_shared.scorers.responses import Scored, TextResponse
from tools_shared.scorers.scorer import MODEL, summarize
from tools_shared.states.reader import batches
from tools_shared.states.steps import LINE, step_ends

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEPARATOR = "\n"
"""TRL's default `step_separator`, after each step of a process reward model's input."""


@dataclass(frozen=True)
class _Tokens:
    """What the model reads, the positions in it whose outputs count, and the response's tokens up to each value."""

    token_ids: list[int]
    positions: list[int]
    ends: list[int]


class ModelScorer:
    """A whole model that scores text, as `TextScorer` does."""

    architecture: ClassVar[str]
    label: ClassVar[str]

    def __init__(self, ref: ModelRef, device: str = "auto", max_batch_tokens: int = 4096) -> None:
        from tools_shared.models.load import context_length

        self.ref = ref
        self._model, self.tokenizer = self._load(device)
        self._longest, self._budget = context_length(self._model.config), max_batch_tokens

    def score(self, responses: Sequence[TextResponse]) -> list[Scored]:
        """Each response scored, in order; what cannot be read is told with its reason, never raised."""
        made = [self._tokens(response) for response in responses]
        reasons = [self._unreadable(tokens) for tokens in made]
        values = self._values({i: tokens for i, tokens in enumerate(made) if reasons[i] is None})
        return [
            Scored(None, reason=reason) if reason else self._scored(values[i], tokens.ends)
            for i, (reason, tokens) in enumerate(zip(reasons, made, strict=True))
        ]

    def _unreadable(self, tokens: _Tokens) -> str | None:
        if not tokens.positions:
            return "the response is empty"
        n = len(tokens.token_ids)
        too_long = self._longest is not None and n > self._longest
        return f"{n} tokens are more than the model's {self._longest}" if too_long else None

    def _values(self, made: Mapping[int, _Tokens]) -> dict[int, list[float]]:
        """The model's numbers of each response, by its place; longest first, so that a lack of memory shows at once."""
        import torch

        order = list(made)
        found: dict[int, list[float]] = {}
        for batch in batches([len(made[i].token_ids) for i in order], self._budget):
            some = [made[order[at]] for at in batch]
            with torch.inference_mode():
                read = self._read(some)
            found |= {order[at]: values for at, values in zip(batch, read, strict=True)}
        return found

    def _scored(self, values: Sequence[float], ends: Sequence[int]) -> Scored:
        steps = self._probabilities(values)
        return Scored(summarize(steps), tuple(steps), tuple(ends))

    def _load(self, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """A classifier with its head; raises ToolError where the weights lack one, or are an adapter."""
        import torch
        import transformers

        from tools_shared.devices import pick_device
        from tools_shared.models.load import load_tokenizer

        if self.ref.adapter is not None:
            raise ToolError(f"model:{self.ref.spec}: is an adapter; merge it into its base and name that folder")
        tokenizer = load_tokenizer(self.ref)
        auto = getattr(transformers, f"AutoModelFor{self.architecture}")
        model = auto.from_pretrained(self.ref.weights, use_safetensors=True)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        return model.eval().to(torch.device(pick_device(device))), tokenizer

    def _encode(self, text: str, special: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]

    def _padded(self, some: Sequence[_Tokens]) -> dict[str, torch.Tensor]:
        """Padded on the right, with the mask that says so."""
        import torch

        lengths = torch.tensor([len(tokens.token_ids) for tokens in some])
        ids = torch.full((len(some), int(lengths.max())), self.tokenizer.pad_token_id or 0)
        for row, tokens in enumerate(some):
            ids[row, : len(tokens.token_ids)] = torch.tensor(tokens.token_ids)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        return {"input_ids": ids.to(self._model.device), "attention_mask": mask.to(self._model.device)}

    def _tokens(self, response: TextResponse) -> _Tokens:
        raise NotImplementedError

    def _read(self, some: Sequence[_Tokens]) -> Iterator[list[float]]:
        raise NotImplementedError

    def _probabilities(self, values: Sequence[float]) -> list[float]:
        raise NotImplementedError


class RewardModel(ModelScorer):
    """Question and reply through its own chat template, where it has one; one number at the end."""

    architecture, label = "SequenceClassification", "reward model"

    def raw(self, responses: Sequence[TextResponse]) -> list[float | None]:
        """Its scores without bounds; None for a response that is longer than the model's context."""
        made = [self._tokens(response) for response in responses]
        values = self._values({i: tokens for i, tokens in enumerate(made) if self._unreadable(tokens) is None})
        return [values[i][0] if i in values else None for i in range(len(made))]

    def _tokens(self, response: TextResponse) -> _Tokens:
        if self.tokenizer.chat_template is None:
            token_ids = self._encode(f"{response.question}\n\n{response.text}", special=True)
        else:
            turns = [{"role": "user", "content": response.question}, {"role": "assistant", "content": response.text}]
            token_ids = self._encode(self.tokenizer.apply_chat_template(turns, tokenize=False))
        return _Tokens(token_ids, [len(token_ids) - 1], [max(1, len(self._encode(response.text)))])

    def _read(self, some: Sequence[_Tokens]) -> Iterator[list[float]]:
        return iter(self._model(**self._padded(some)).logits[:, :1].float().tolist())

    def _probabilities(self, values: Sequence[float]) -> list[float]:
        return [0.5 * (1 + math.tanh(value / 2)) for value in values]


class ProcessRewardModel(ModelScorer):
    """The plain question, then each step with the separator after it."""

    architecture, label = "TokenClassification", "process reward model"

    def _tokens(self, response: TextResponse) -> _Tokens:
        bos = self.tokenizer.bos_token_id
        token_ids = [*([] if bos is None else [bos]), *self._encode(response.question)]
        separator, positions, ends, n = self._encode(SEPARATOR), [], [], 0
        for step in steps_of(response.text):
            own = self._encode(step) + separator
            token_ids += own
            n += len(own)
            positions.append(len(token_ids) - 1)
            ends.append(n)
        return _Tokens(token_ids, positions, ends)

    def _read(self, some: Sequence[_Tokens]) -> Iterator[list[float]]:
        right = self._model(**self._padded(some)).logits.float().softmax(-1)[..., 1]
        return iter([row[tokens.positions].tolist() for row, tokens in zip(right, some, strict=True)])

    def _probabilities(self, values: Sequence[float]) -> list[float]:
        return list(values)


class Confidence(ModelScorer):
    """A language model, with its adapter where it has one, after its own prompt."""

    architecture, label = "CausalLM", "mean log-probability under"

    def _load(self, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        loaded = load(self.ref, device=device)
        self._profile = choose_profile(self.ref, None)
        return loaded.model, loaded.tokenizer

    def _tokens(self, response: TextResponse) -> _Tokens:
        prompt = list(render_question(self.tokenizer, self._profile, response.question).token_ids)
        own = self._encode(response.text)
        return _Tokens([*prompt, *own], list(range(len(prompt), len(prompt) + len(own))), [len(own)])

    def _read(self, some: Sequence[_Tokens]) -> Iterator[list[float]]:
        logits = self._model(**self._padded(some)).logits
        for row, tokens in zip(logits, some, strict=True):
            before = [position - 1 for position in tokens.positions]
            wanted = [tokens.token_ids[position] for position in tokens.positions]
            chosen = row[before].float().log_softmax(-1)[range(len(wanted)), wanted]
            yield chosen.tolist()

    def _probabilities(self, values: Sequence[float]) -> list[float]:
        return [math.exp(math.fsum(values) / len(values))]


def steps_of(text: str) -> list[str]:
    """The lines of a response that are not blank, without their ends."""
    edges = [0, *step_ends(text, LINE), len(text)]
    pieces = [text[begin:end].strip("\r\n") for begin, end in itertools.pairwise(edges)]
    return [piece for piece in pieces if piece.strip()]


def open_model_scorer(spec: str, device: str = "auto", max_batch_tokens: int = 4096) -> ModelScorer:
    """Load what `model:PATH`, or PATH alone, names; raises ToolError where it is no model of the three kinds."""
    from tools_shared.models.load import load_config

    ref = resolve(spec.removeprefix(MODEL))
    config = load_config(ref)
    name = (getattr(config, "architectures", None) or ["none"])[0]
    if name.endswith("SequenceClassification") and config.num_labels == 1:
        return RewardModel(ref, device, max_batch_tokens)
    if name.endswith("TokenClassification") and config.num_labels == 2:
        return ProcessRewardModel(ref, device, max_batch_tokens)
    if name.endswith(("CausalLM", "LMHeadModel")):
        return Confidence(ref, device, max_batch_tokens)
    outputs = f" with {config.num_labels} outputs" if "Classification" in name else ""
    raise ToolError(
        f"{spec}: a {name}{outputs} is no scorer; give a sequence classifier with one output (a reward model), a token "
        "classifier with two (a process reward model), or a language model"
    )
