"""`model:PATH`: the score of a reward model (a sequence classifier with one output) here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tools_shared.errors import ToolError
from tools_shared.prompts import Profile
from tools_shared.rewards.hacking import HackingWatch
from tools_shared.rewards.inputs import Completion, completion_text
from tools_shared.rewards.named import Reward, Scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_AT_ONCE = 8


@dataclass(frozen=True)
class ModelReward(Reward):
    """The model reads the question and the reply through its own chat template, where it has one. Its score is given as
    it is, without bounds."""

    source: str = field(default="")
    profile: Profile | None = None

    is_slow: ClassVar[bool] = True

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelReward, (self.name, self.weight, self.source, self.profile)

    @cached_property
    def _watch(self) -> HackingWatch:
        return HackingWatch(self.name, self.profile)

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        import torch
        from transformers import AutoModelForSequenceClassification

        from tools_shared.devices import pick_device
        from tools_shared.models import resolve
        from tools_shared.models.load import load_config, load_tokenizer

        ref = resolve(self.source)
        config = load_config(ref)
        kind = (getattr(config, "architectures", None) or ["none"])[0]
        if "SequenceClassification" not in kind or config.num_labels != 1:
            raise ToolError(
                f"--reward {self.name}: a {kind} with {config.num_labels} outputs is no reward model; give a sequence "
                "classifier with one output"
            )
        tokenizer = load_tokenizer(ref)
        model = AutoModelForSequenceClassification.from_pretrained(ref.weights, use_safetensors=True)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        return model.eval().to(torch.device(pick_device("auto"))), tokenizer

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        questions = columns.get("question") or [str(prompt) for prompt in prompts]
        texts = [self._text(q, completion_text(c)) for q, c in zip(questions, completions, strict=True)]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        scores: Scores = [None] * len(texts)
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            for i, score in zip(some, self._scores([texts[i] for i in some]), strict=True):
                scores[i] = score
        self._watch.note(scores, completions, columns)
        return scores

    def signs(self) -> dict[str, float]:
        """See `HackingWatch.signs`."""
        return self._watch.signs()

    def _text(self, question: str, reply: str) -> str:
        tokenizer = self._loaded[1]
        if tokenizer.chat_template is None:
            return f"{question}\n\n{reply}"
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        return tokenizer.apply_chat_template(turns, tokenize=False)

    def _scores(self, texts: Sequence[str]) -> list[float]:
        import torch

        model, tokenizer = self._loaded
        special = tokenizer.chat_template is None
        longest = getattr(model.config, "max_position_embeddings", None)
        batch = tokenizer(
            list(texts),
            return_tensors="pt",
            padding=True,
            truncation=longest is not None,
            max_length=longest,
            add_special_tokens=special,
        )
        batch.pop("token_type_ids", None)
        with torch.inference_mode():
            logits = model(**batch.to(model.device)).logits  # (texts, 1)
        return [float(value) for value in logits[:, 0].float()]
