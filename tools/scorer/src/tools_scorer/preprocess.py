"""From attempts to what a model reads: prompt and reasoning as tokens, with the positions where steps end."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.config.states import PreprocessConfig
from tools_scorer.traces.attempts import AttemptKeys, TraceAttempt, read_attempts
from tools_scorer.traces.groups import read_groups
from tools_scorer.traces.stepwise import LabelledSteps
from tools_scorer.traces.thinking import fitting_profile, remedy
from tools_shared.answers import equal_many, readable
from tools_shared.cli import Invocation
from tools_shared.console import progress, say
from tools_shared.errors import ToolError, UnusableError
from tools_shared.files import write_jsonl
from tools_shared.models import ModelRef, resolve
from tools_shared.prompts import Profile, Prompt, render_question
from tools_shared.records import Origin, Rejected, Row
from tools_shared.runs import Manifest, default_output_dir, draft, finished
from tools_shared.sources import read_rows, source_sha256
from tools_shared.states.reader import tokenizer_sha256
from tools_shared.states.splits import question_key, split_of
from tools_shared.states.steps import (
    NoThinkingError,
    boundary_tokens,
    encode,
    parse_delimiter,
    reasoning,
    sampled,
    step_tokens,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AT_ONCE = 512
_RESERVED = ("rejected.jsonl", "metrics.jsonl")


def preprocess(config: PreprocessConfig, invocation: Invocation) -> Manifest:
    """Write DIR/NAME.jsonl, one trace a line, and the run around it; returns the manifest.

    Raises ToolError when the source cannot be opened or none of its rows is usable.
    """
    if config.data is None:
        raise ToolError("--data is missing: name the attempts, such as artifacts/traces/traces.graded.jsonl")
    output_dir = Path(config.output_dir or default_output_dir("scorer_data"))
    if done := finished(output_dir, config):
        return done
    name = output_name(config.data)
    if name in _RESERVED:
        raise ToolError(f"{config.data}: a run already has a file {name}; rename the input")
    ref = reader_of(config.model)
    rows = read_rows(config.data)
    profile, rows = fitting_profile(ref, config.profile, config.response_key, rows)
    parts = (config, ref, profile, _load_tokenizer(ref), _groups(config.groups, config.question_key))
    if config.data != "-":  # standard input can be read but once
        _check_usable(_Maker(*parts), rows)
        rows = read_rows(config.data)
    maker = _Maker(*parts)
    with draft(output_dir, config, invocation, "scorer_data") as run:
        run.add_input("attempts", config.data, source_sha256(config.data) or "")
        sha256 = tokenizer_sha256(maker.tokenizer)
        run.add_input("tokenizer", config.model, sha256, profile=maker.profile.to_json())
        write_jsonl(run.path / name, progress(maker.rows(rows), label="preprocessing", unit="trace"))
        if not maker.counts["n_traces"]:
            raise _nothing_usable(maker)
        run.reject(sorted(maker.rejected, key=lambda found: (found.origin.path, found.origin.line)))
        _warn(maker)
        return run.finish(_metrics(maker) | {"file": name}, seed=config.seed, profile=maker.profile.name)


def output_name(source: str) -> str:
    """The input's own name as .jsonl; `traces.jsonl` for what is no single file."""
    if source == "-" or "://" in source or any(c in source for c in "*?["):
        return "traces.jsonl"
    return re.sub(r"(\.(jsonl?|csv|tsv|parquet|arrow))?(\.(gz|zst))?$", "", Path(source).name) + ".jsonl"


def reader_of(spec: str) -> ModelRef:
    """What the spec names; a folder that holds a tokenizer and no model is enough here."""
    folder = Path(spec)
    holds_model = any((folder / name).exists() for name in ("config.json", "adapter_config.json", "run.json"))
    if (folder / "tokenizer_config.json").exists() and not holds_model:
        return ModelRef(spec, spec, str(folder.resolve()))
    return resolve(spec)


def _load_tokenizer(ref: ModelRef) -> PreTrainedTokenizerBase:
    from tools_shared.models.load import load_tokenizer

    return load_tokenizer(ref)


def _groups(groups: str | None, question_key: str) -> dict[str, str]:
    return read_groups(groups, question_key)


@dataclass
class _Maker:
    """Makes rows of attempts and counts them."""

    config: PreprocessConfig
    reader: ModelRef
    profile: Profile
    tokenizer: PreTrainedTokenizerBase
    groups: dict[str, str]
    rejected: list[Rejected] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    questions: dict[str, str] = field(default_factory=dict)
    _prompts: dict[str, Prompt] = field(default_factory=dict)
    _names: Counter = field(default_factory=Counter)

    def rows(self, source: Iterable[Row | Rejected]) -> Iterator[dict[str, Any]]:
        """The rows in the order of the attempts; what is left out lands in `rejected`."""
        config = self.config
        keys = AttemptKeys(config.question_key, config.response_key, config.ground_truth_key, config.answer_key)
        found = read_attempts(source, keys, self.profile, config.labelled)
        while chunk := list(itertools.islice(found, _AT_ONCE)):
            self.rejected += [item for item in chunk if isinstance(item, Rejected)]
            attempts = [item for item in chunk if isinstance(item, TraceAttempt)]
            for attempt, is_correct in zip(attempts, _grades(attempts), strict=True):
                try:
                    row = self._row(attempt, is_correct)
                except UnusableError as error:
                    self.rejected.append(Rejected(attempt.origin, str(error), attempt.response[:200]))
                    continue
                self._count(row)
                yield row

    def _row(self, attempt: TraceAttempt, is_correct: bool | None) -> dict[str, Any]:
        config, prompt = self.config, self._prompt(attempt.question)
        if attempt.steps is not None:
            return self._labelled_row(attempt, attempt.steps, prompt)
        if attempt.answer is None and config.unanswered == "reject":
            raise UnusableError("no extracted answer (--unanswered wrong keeps it as a wrong one)")
        text = self._reasoning(attempt.response, prompt)
        token_ids, ends = self._tokens(attempt, text, prompt)
        marks = step_tokens(text, ends, parse_delimiter(config.delimiter), config.last_token)
        if not marks:
            raise UnusableError(
                f"no step ends in the reasoning (delimiter {config.delimiter!r}); choose another --delimiter, or let "
                "--last-token end one"
            )
        row = self._made(attempt, prompt, text, token_ids, [ends[mark] for mark in marks], marks)
        row["is_correct"] = is_correct
        return row | ({"mean_logprob": attempt.mean_logprob} if attempt.mean_logprob is not None else {})

    def _labelled_row(self, attempt: TraceAttempt, steps: LabelledSteps, prompt: Prompt) -> dict[str, Any]:
        """Of process-reward data: its own steps, its own labels; right where all of them are."""
        text, char_ends = steps.joined(parse_delimiter(self.config.delimiter))
        token_ids, ends = encode(self.tokenizer, text)
        marks = boundary_tokens(ends, char_ends)
        if len(marks) != len(steps.labels):
            raise UnusableError(f"{len(steps.labels)} steps end in {len(marks)} tokens; join steps that are this short")
        row = self._made(attempt, prompt, text, token_ids, [ends[mark] for mark in marks], marks)
        return row | {"is_correct": all(steps.labels), "step_labels": list(steps.labels)}

    def _made(
        self,
        attempt: TraceAttempt,
        prompt: Prompt,
        text: str,
        token_ids: Sequence[int],
        char_ends: Sequence[int],
        marks: Sequence[int],
    ) -> dict[str, Any]:
        config, group, n_prompt = self.config, self._group(attempt.question), len(prompt.token_ids)
        return {
            "prompt": prompt.text,
            "question": attempt.question,
            "ground_truth": attempt.ground_truth,
            "extracted_answer": attempt.answer,
            "full_text": attempt.response,
            "forward_text": text,
            "segmented_text_list": _segments(prompt.text, text, char_ends),
            "extracted_position": [n_prompt + mark for mark in marks],
            "is_correct": None,
            "question_id": attempt.question_id,
            "trace_id": self._name(attempt),
            "prompt_len": n_prompt,
            "token_ids": [*prompt.token_ids, *token_ids],
            "group": group,
            "split": split_of(group, config.seed, config.calibration_share, config.test_share),
        }

    def _reasoning(self, response: str, prompt: Prompt) -> str:
        try:
            return reasoning(response, self.profile, prompt, whole=self.config.untagged == "whole")
        except NoThinkingError as error:
            raise UnusableError(f"{error}; {remedy(response, self.reader)}") from error

    def _prompt(self, question: str) -> Prompt:
        """Attempts at a question mostly follow one another, so the last prompts are enough."""
        if question not in self._prompts:
            if len(self._prompts) > _AT_ONCE:
                self._prompts.clear()
            self._prompts[question] = render_question(self.tokenizer, self.profile, question)
        return self._prompts[question]

    def _tokens(self, attempt: TraceAttempt, text: str, prompt: Prompt) -> tuple[list[int], list[int]]:
        """The reasoning's tokens and where each ends in `text`: those that were sampled, else the tokenizer's."""
        if attempt.token_ids is None:
            return encode(self.tokenizer, text)
        return sampled(self.tokenizer, attempt.token_ids, text)

    def _group(self, question: str) -> str:
        key = question_key(question)
        return self.groups.get(key, key)

    def _name(self, attempt: TraceAttempt) -> str:
        name = f"{attempt.question_id}/{attempt.name}".rstrip("/")
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}-{self._names[name]}"

    def _count(self, row: dict[str, Any]) -> None:
        self.questions[row["group"]] = row["split"]
        self.counts["n_traces"] += 1
        self.counts["n_steps"] += len(row["extracted_position"])
        self.counts["n_tokens"] += len(row["token_ids"])
        self.counts["n_unlabelled"] += row["is_correct"] is None
        self.counts["n_correct"] += bool(row["is_correct"])


def _grades(attempts: Sequence[TraceAttempt]) -> list[bool | None]:
    """Whether each is right; None where no ground truth is known or can be read. No answer is a wrong one."""
    golds = [a.ground_truth if a.ground_truth is not None and readable(a.ground_truth) else None for a in attempts]
    given = [(gold, a.answer) for gold, a in zip(golds, attempts, strict=True) if None not in (gold, a.answer)]
    verdicts = iter(equal_many(given))
    return [
        None if gold is None else next(verdicts).correct if a.answer is not None else False
        for gold, a in zip(golds, attempts, strict=True)
    ]


def _segments(prompt: str, text: str, ends: Sequence[int]) -> list[str]:
    """The text between the boundaries, the prompt before the first; joined they are what is read."""
    edges = [0, *ends, len(text)]
    parts = [text[begin:end] for begin, end in itertools.pairwise(edges)]
    return [prompt + parts[0], *parts[1:-1], *([parts[-1]] if parts[-1] else [])]


def _check_usable(maker: _Maker, rows: Iterable[Row | Rejected]) -> None:
    """Raise ToolError when no row is usable, before a draft is begun that the next try would stumble over."""
    if next(maker.rows(rows), None) is None:
        raise _nothing_usable(maker)


def _nothing_usable(maker: _Maker) -> ToolError:
    empty = Rejected(Origin(str(maker.config.data), 1), "the source is empty")
    first = min(maker.rejected, key=lambda found: (found.origin.path, found.origin.line), default=empty)
    return ToolError(f"{first.origin}: no usable trace ({len(maker.rejected)} rejected; first: {first.reason})")


def _warn(maker: _Maker) -> None:
    """Say how many attempts were left out, and what a training would refuse."""
    if n_rejected := len(maker.rejected):
        n_kept, first = maker.counts["n_traces"], maker.rejected[0]
        say(
            f"{n_kept + n_rejected} attempts: {n_kept} kept, {n_rejected} rejected "
            f"(rejected.jsonl; the first: {first.origin}: {first.reason})"
        )
    labelled = maker.counts["n_traces"] - maker.counts["n_unlabelled"]
    if labelled and maker.counts["n_correct"] in (0, labelled):
        kind = "right" if maker.counts["n_correct"] else "wrong"
        say(f"warning: all {labelled} traces are {kind}; a scorer needs both, `tools-scorer train` will refuse")
    empty = [split for split in ("train", "calibration", "test") if split not in maker.questions.values()]
    if empty:
        say(f"warning: no question falls into {', '.join(empty)}: {len(maker.questions)} questions are too few")


def _metrics(maker: _Maker) -> dict[str, Any]:
    splits = Counter(maker.questions.values())
    return {
        **maker.counts,
        "n_rejected": len(maker.rejected),
        "n_groups": len(maker.questions),
        **{f"n_groups_{split}": splits[split] for split in ("train", "calibration", "test")},
    }
