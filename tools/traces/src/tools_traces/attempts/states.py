"""Hidden states kept while a model generates: `--record-hidden`.

The ends of the steps are known when a completion is whole. Until then the states of all its tokens are kept: with
transformers beside its slot, with vLLM in its own cache, from which they come through a file. Then the rows of the
step ends are chosen, and stand in a part of their own before the attempt enters the journal: what a killed run has in
its journal it has the states of. An attempt whose part is missing all the same (a power cut) is sampled again. When all
is sampled the parts become the shards that `tools-scorer extract` would have written from the same tokens.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools_shared.console import say
from tools_shared.devices import pick_device, torch_dtype
from tools_shared.engines import Completion, Draw
from tools_shared.errors import ToolError, UnusableError
from tools_shared.files import atomic_write, sha256_file
from tools_shared.models import ModelRef
from tools_shared.models.load import sampled_in
from tools_shared.prompts import Profile, Prompt
from tools_shared.records import Problem
from tools_shared.states.reader import layer_indices, reader_sha256, tokenizer_sha256
from tools_shared.states.shards import (
    Rows,
    StatesManifest,
    TraceInfo,
    read_manifest,
    write_manifest,
    write_shard,
)
from tools_shared.states.splits import CALIBRATION_SHARE, TEST_SHARE, question_key, split_of
from tools_shared.states.steps import parse_delimiter, reasoning, sampled, step_tokens
from tools_shared.states.vllm import final_norm, taken
from tools_traces.attempts.journal import Attempt, Key
from tools_traces.config import TracesConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

SHARD_SIZE = 1000
Grade = Callable[[Problem, Prompt, Draw, Completion], Attempt]


def layers_of(config: TracesConfig, ref: ModelRef) -> tuple[int, ...]:
    """Indices of the asked hidden states.

    Raises ToolError for one that the model does not have, and for what an engine cannot keep: transformers the states
    of layers with a window or a state of their own; vLLM those of an adapter, and on a CPU those of any temperature
    above 0, where its speculative decoding loses the temperature and samples other tokens.
    """
    from tools_shared.models.load import load_config

    shape = load_config(ref)
    if config.engine == "transformers":
        _check_slots(ref, shape)
    elif ref.adapter is not None:
        raise ToolError(
            f"{ref.spec}: --engine vllm --record-hidden reads full weights; merge this adapter (--merge), or use "
            "--engine transformers"
        )
    elif config.temperature and pick_device(config.device) == "cpu":
        raise ToolError(
            f"--temperature {config.temperature}: on a CPU vLLM 0.31 records states at temperature 0 alone "
            "(otherwise it samples wrong tokens); use --engine transformers, or a GPU"
        )
    return layer_indices(config.layer_numbers, shape.get_text_config(), "--hidden-layers")


def _check_slots(ref: ModelRef, shape: PreTrainedConfig) -> None:
    from tools_shared.engines.local.continuous import has_slots

    if not has_slots(shape):
        raise ToolError(
            f"{ref.spec}: --record-hidden: its layers have a window or a state of their own; run `tools-scorer "
            "preprocess` and `tools-scorer extract` on the graded attempts"
        )


class Recorder:
    """Chooses and keeps the states of attempts, each in a part of its own, and makes shards of the parts."""

    def __init__(
        self, run: Path, config: TracesConfig, ref: ModelRef, profile: Profile, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        from tools_shared.models.load import load_config

        self._config, self._ref, self._profile, self._tokenizer = config, ref, profile, tokenizer
        self._layers, self._shape = layers_of(config, ref), load_config(ref).get_text_config()
        self._is_normed = self._layers[-1] == self._shape.num_hidden_layers
        # vLLM shows the states before the final norm, transformers those after it.
        self._norm = final_norm(ref) if self._is_normed and config.engine == "vllm" else None
        self._delimiter = parse_delimiter(config.hidden_delimiter)
        name = config.output_file.removesuffix(".jsonl")
        self.folder, self._parts = run / f"{name}-hidden", run / f"{name}-hidden.parts"
        self._graded = run / f"{name}.graded.jsonl"

    def holds(self, key: Key) -> bool:
        """Whether the states of an attempt are here. Shards are made last, of everything."""
        return self.folder.exists() or self._part(key).exists()

    def around(self, grade: Grade) -> Grade:
        """`grade`, which then also keeps the attempt's states."""

        def graded(problem: Problem, prompt: Prompt, draw: Draw, completion: Completion) -> Attempt:
            attempt = grade(problem, prompt, draw, completion)
            states = completion.states
            self._keep(problem, prompt, attempt, taken(states, self._norm) if isinstance(states, Path) else states)
            return attempt

        return graded

    def _keep(self, problem: Problem, prompt: Prompt, attempt: Attempt, states: torch.Tensor) -> None:
        """`states` [1 + n_tokens, n_layers, hidden]: those of the prompt's last token, then of the response's."""
        import torch
        from safetensors.torch import save

        try:
            marks, n_tokens = self._marks(prompt, attempt)
            facts = {"trace": _info(problem, attempt, len(prompt.token_ids), n_tokens).to_json()}
        except UnusableError as error:
            marks, facts = [], {"reason": str(error)}
        kept = states[[0, *(1 + mark for mark in marks)]].to(torch_dtype(self._config.hidden_dtype))
        if not torch.isfinite(kept).all():
            raise ToolError(
                f"{attempt.id}: a hidden state of attempt {attempt.sample + 1} is not finite in "
                f"{self._config.hidden_dtype}; choose --hidden-dtype bf16 or fp32"
            )
        positions = torch.tensor([len(prompt.token_ids) + mark for mark in marks], dtype=torch.int32)
        with atomic_write(self._part((attempt.id, attempt.sample)), "wb") as file:
            file.write(save({"states": kept.contiguous(), "positions": positions}, {"part": json.dumps(facts)}))

    def _marks(self, prompt: Prompt, attempt: Attempt) -> tuple[list[int], int]:
        """The tokens of the response at which its steps end, and how many its reasoning has."""
        if attempt.answer is None:
            raise UnusableError("no extracted answer")
        text = reasoning(attempt.response, self._profile, prompt)
        token_ids, ends = sampled(self._tokenizer, attempt.token_ids, text)
        marks = step_tokens(text, ends, self._delimiter)
        if not marks:
            raise UnusableError(f"no step ends in the reasoning (delimiter {self._config.hidden_delimiter!r})")
        return marks, len(token_ids)

    def _part(self, key: Key) -> Path:
        return self._parts / f"{hashlib.sha256(key[0].encode()).hexdigest()[:24]}-{key[1]}.safetensors"

    def finish(self, attempts: Sequence[Attempt]) -> int:
        """Make the shards of these attempts, in this order, and drop the parts; returns how many have states."""
        if not self.folder.exists():
            self._make(attempts)
        shutil.rmtree(self._parts, ignore_errors=True)
        n_traces = read_manifest(self.folder).n_input
        say(f"{self.folder.name}: hidden states of {n_traces} attempts")
        return n_traces

    def _make(self, attempts: Sequence[Attempt]) -> None:
        """Beside, and renamed when whole."""
        paths, reasons = [], Counter()
        for path in (self._part((attempt.id, attempt.sample)) for attempt in attempts):
            facts = _facts(path)
            if "trace" in facts:
                paths.append(path)
            else:
                reasons[facts["reason"]] += 1
        for reason, n in reasons.items():
            say(f"{n} of {len(attempts)} attempts have no hidden states: {reason}")
        beside = self.folder.with_name(f"{self.folder.name}.making")
        shutil.rmtree(beside, ignore_errors=True)
        write_manifest(beside, self._manifest(len(paths)))
        for start in range(0, len(paths), SHARD_SIZE):
            some = [_read(path) for path in paths[start : start + SHARD_SIZE]]
            write_shard(beside, start, start + len(some), [part.info for part in some], _rows(some))
        beside.rename(self.folder)

    def _manifest(self, n_traces: int) -> StatesManifest:
        return StatesManifest(
            model=self._config.model,
            reader_sha256=reader_sha256(self._ref),
            layers=self._layers,
            hidden_size=self._shape.hidden_size,
            norm="post" if self._is_normed else "pre",
            dtype=self._config.hidden_dtype,
            delimiter=self._delimiter,
            tokenizer=tokenizer_sha256(self._tokenizer),
            profile=self._profile.to_json(),
            input_sha256=sha256_file(self._graded),
            n_input=n_traces,
            shard_size=SHARD_SIZE,
            engine=self._config.engine,
            compute_dtype=sampled_in(self._ref, self._config.dtype, self._config.device),
        )


def _info(problem: Problem, attempt: Attempt, n_prompt: int, n_tokens: int) -> TraceInfo:
    """As `tools-scorer preprocess` has it by default, with its splits."""
    group = question_key(problem.question)
    return TraceInfo(
        trace_id=f"{problem.id}/{attempt.sample + 1}",
        question_id=problem.id,
        is_correct=attempt.verdict == "correct",
        split=split_of(group, 0, CALIBRATION_SHARE, TEST_SHARE),
        group=group,
        prompt_len=n_prompt,
        n_tokens=n_tokens,
        extracted_answer=attempt.answer,
        ground_truth=problem.answer,
    )


@dataclass(frozen=True)
class _Part:
    info: TraceInfo
    positions: torch.Tensor
    states: torch.Tensor


def _facts(path: Path) -> dict:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["part"])


def _read(path: Path) -> _Part:
    from safetensors.torch import load

    tensors = load(path.read_bytes())
    return _Part(TraceInfo.from_json(_facts(path)["trace"], str(path)), tensors["positions"], tensors["states"])


def _rows(parts: Sequence[_Part]) -> Rows:
    import torch

    steps = [(part.positions.tolist(), part.states[1:]) for part in parts]
    return Rows.join(steps, torch.stack([part.states[0] for part in parts]))
