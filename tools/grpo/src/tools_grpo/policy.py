"""Who draws the rollouts, and how it comes by the weights of now.

transformers draws with the trained model itself. vLLM has weights of its own: the base, loaded once, and on it the
adapter as it is after each update, which is all that is handed over. Whole weights are handed over only where whole
weights are trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tools_grpo.config import GrpoConfig
from tools_shared import processes
from tools_shared.engines import Engine
from tools_shared.engines.base import LocalEngineConfig
from tools_shared.errors import ToolError
from tools_shared.models import Loaded, ModelRef
from tools_shared.prompts import Prompt
from tools_shared.runs import Draft

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel
    from trl import GRPOTrainer

    from tools_shared.engines.vllm import VllmEngine

FOLDER = "policy"
"""In a draft: what was handed to vLLM last. The run that is published has none."""


class Policy(Protocol):
    """What draws the rollouts of a run."""

    def engine(self, trainer: GRPOTrainer) -> Engine:
        """What draws with the weights of now."""
        ...

    def rest(self) -> None:
        """Nothing is drawn until `engine` is asked for again: its memory is free for training."""
        ...


class Here:
    """The trained model itself, by transformers."""

    def engine(self, trainer: GRPOTrainer) -> Engine:
        from tools_shared.engines.transformers import TransformersEngine

        return TransformersEngine(trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class)

    def rest(self) -> None:
        pass


class Colocated:
    """vLLM beside the trainer, one for each process, on the same device."""

    def __init__(self, vllm: VllmEngine, handed: Handed) -> None:
        self.vllm, self.handed = vllm, handed

    def engine(self, trainer: GRPOTrainer) -> Engine:
        self.vllm.wake()
        if (folder := self.handed.renewed(trainer)) is not None:
            take = self.vllm.take_weights if self.vllm.lora is None else self.vllm.take_adapter
            take(folder)
        return self.vllm

    def rest(self) -> None:
        self.vllm.sleep()


class Handed:
    """A process's folder with the weights that are handed over: those of one step, those before deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.step = folder, -1

    def renewed(self, trainer: GRPOTrainer) -> Path | None:
        """The folder with the weights of now; None when they are those that it gave last."""
        step = trainer.state.global_step
        if step == self.step:
            return None
        path = self.folder / f"step-{step}"
        save_trained(trainer.accelerator.unwrap_model(trainer.model), path)
        if self.step >= 0:
            shutil.rmtree(self.folder / f"step-{self.step}")
        self.step = step
        return path


def save_trained(model: PreTrainedModel, folder: Path) -> None:
    """The adapter alone, as peft writes it; whole weights where there is none."""
    if _is_adapter(model):
        # "auto" would look for the base on the hub, only to learn that the vocabulary has not grown.
        model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    else:
        model.save_pretrained(folder)


def _is_adapter(model: PreTrainedModel) -> bool:
    from peft import PeftModel

    return isinstance(model, PeftModel)


@contextmanager
def open_policy(run: Draft, loaded: Loaded, config: GrpoConfig, prompts: Sequence[Prompt]) -> Iterator[Policy]:
    """What draws for a model that is going to be trained, as `--engine` says.

    Raises ToolError when vLLM does not start, or has no room beside the processes of this machine.
    """
    if config.engine == "transformers":
        yield Here()
        return
    folder = run.path / FOLDER / f"rank-{processes.rank()}"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        with _colocated(loaded, config, prompts, folder) as policy:
            yield policy
    finally:
        shutil.rmtree(folder)
        if processes.count() == 1:
            folder.parent.rmdir()


@contextmanager
def _colocated(loaded: Loaded, config: GrpoConfig, prompts: Sequence[Prompt], folder: Path) -> Iterator[Policy]:
    from tools_shared.engines.vllm import open_vllm

    if processes.count() > 1 and config.tensor_parallel * config.data_parallel > 1:
        raise ToolError(
            "--tensor-parallel and --data-parallel need GPUs that each process of this run has not; leave them out"
        )
    longest = max(len(prompt.token_ids) for prompt in prompts) + config.max_completion_length
    engine = open_vllm(
        as_files(loaded, config, folder),
        replace(config, max_model_len=config.max_model_len or longest),
        **vllm_options(config),
    )
    try:
        yield Colocated(engine, Handed(folder))
    finally:
        engine.close()


def vllm_options(config: LocalEngineConfig) -> dict[str, Any]:
    """Options of vLLM's that drawing rollouts beside a trainer needs. Its memory can be given back on a GPU alone."""
    from tools_shared.models.load import pick_device

    return {
        "enable_sleep_mode": pick_device(config.device) == "cuda",
        "logprobs_mode": "raw_logprobs" if config.temperature == 1 else "processed_logprobs",
    }


def as_files(loaded: Loaded, config: GrpoConfig, folder: Path) -> ModelRef:
    """The model that is to be trained as vLLM reads it: where its base stands, and the adapter as it begins.

    A base that an adapter was merged into stands nowhere yet, and is written once.
    """
    ref, model = loaded.ref, loaded.model
    if not _is_adapter(model):
        return replace(ref, adapter=None)
    weights = ref.weights
    if ref.adapter is not None and config.adapter == "merge":
        weights = str(folder / "base")
        _save_base(model, folder / "base")
    save_trained(model, folder / "first")
    model.config.save_pretrained(folder / "first")  # vLLM looks for one beside a tokenizer
    loaded.tokenizer.save_pretrained(folder / "first")
    return replace(ref, weights=weights, adapter=folder / "first", base_sha256=None)


def _save_base(model: PeftModel, folder: Path) -> None:
    """The frozen weights under an adapter, by the names that they have without it."""
    base = model.get_base_model()
    state = {name.replace(".base_layer.", "."): v for name, v in base.state_dict().items() if ".lora_" not in name}
    base.save_pretrained(folder, state_dict=state)
