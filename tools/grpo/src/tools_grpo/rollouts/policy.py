"""Rollout backends, and how each one gets the updated adapter.

transformers samples with the trained model itself, in bf16 where `--dtype auto` does. vLLM has weights of its own: the
base, loaded once, and on it the adapter as it is after each update, which is all that is handed over.

Whole weights are not: vLLM 0.31's `reload_weights`, tried on its CPU build, left log-probabilities 0.2 off after an
update of all weights, though it had taken those of the linear layers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from tools_grpo.config import GrpoConfig
from tools_shared import processes
from tools_shared.console import say
from tools_shared.devices import dtype_name, pick_device, pick_dtype
from tools_shared.engines import Engine, LocalEngineConfig
from tools_shared.errors import Incomplete, ToolError
from tools_shared.models import Loaded, ModelRef
from tools_shared.models.load import context_length, sampled_in, sampling_dtype
from tools_shared.runs import Draft
from tools_shared.training.sharded import whole

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from trl import GRPOTrainer

    from tools_shared.engines.vllm.engine import VllmEngine
    from tools_shared.engines.vllm.server import VllmServerEngine

UNDER_WAY = 256
"""Requests that a process has at the server at once."""
PATIENCE = 1800.0
"""Seconds that the server may take for one of them, its time in the queue included."""
FOLDER = "policy"
"""In a draft: what was handed to vLLM last. The run that is published has none."""


class Policy(Protocol):
    """What samples the rollouts of a run."""

    engine: Engine
    differs: bool
    """Whether it computes in other numbers than the trained model does."""

    def renew(self, trainer: GRPOTrainer) -> None:
        """Sample with the current weights from now on. Every process of the run calls it, at the same step."""
        ...

    def rest(self) -> None:
        """Nothing is sampled until `renew` is called again: its memory is free for training."""
        ...


class InProcess:
    """The trained model itself, by transformers; its weights are rounded to `dtype` while it samples."""

    engine: Engine

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self.dtype, self.differs = dtype, dtype is not None

    def renew(self, trainer: GRPOTrainer) -> None:
        from tools_shared.engines.local.engine import TransformersEngine

        model = trainer.accelerator.unwrap_model(trainer.model)
        self.engine = TransformersEngine(model, trainer.processing_class, self.dtype)

    def rest(self) -> None:
        pass


class Unsharded:
    """The trained model, whose weights are spread over the processes, put together for the samples of a step."""

    engine: Engine
    differs = False

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def renew(self, trainer: GRPOTrainer) -> None:
        from tools_shared.engines.local.engine import TransformersEngine

        together = whole(self.loaded, str(trainer.accelerator.device))
        self.engine = TransformersEngine(together.model, together.tokenizer)

    def rest(self) -> None:
        del self.engine


class ColocatedVllm:
    """vLLM beside the trainer, one for each process, on the same device."""

    differs = True

    def __init__(self, engine: VllmEngine, folder: Path) -> None:
        self.engine, self.handed = engine, AdapterHandoff(folder)

    def renew(self, trainer: GRPOTrainer) -> None:
        self.engine.wake()
        if (folder := self.handed.renewed(trainer)) is not None:
            self.engine.take_adapter(folder)
            self.handed.forget_before(folder)

    def rest(self) -> None:
        self.engine.sleep()


class RemoteVllm:
    """A vLLM server that any number of runs sample from, each from its own adapter; rank 0 hands it over."""

    differs = True

    def __init__(self, engine: VllmServerEngine, folder: Path) -> None:
        self.engine, self.handed = engine, AdapterHandoff(folder)
        # The same step of a run that is resumed is another adapter to the server.
        self.run = processes.share(uuid4().hex[:8])

    def renew(self, trainer: GRPOTrainer) -> None:
        name, before = f"tools-grpo-{self.run}-{trainer.state.global_step}", self.engine.adapter
        if name == before:
            return
        if processes.is_main():
            folder = self.handed.renewed(trainer)
            self.engine.load_adapter(name, folder)
            self._drop(before)
            self.handed.forget_before(folder)
        self.engine.adapter = processes.share(name)  # the others wait for it to be there

    def rest(self) -> None:
        pass

    def close(self) -> None:
        try:
            if processes.is_main():
                self._drop(self.engine.adapter)
        except Incomplete as error:
            say(f"the adapter {self.engine.adapter} stays on the server: {error}")

    def _drop(self, name: str | None) -> None:
        if name is not None:
            self.engine.drop_adapter(name)


class AdapterHandoff:
    """A process's folder with the weights that are handed over, each step's in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.step = folder, -1

    def renewed(self, trainer: GRPOTrainer) -> Path | None:
        """The folder with the current weights; None when they are those that it gave last."""
        step = trainer.state.global_step
        if step == self.step:
            return None
        self.step = step
        save_trained(trainer.accelerator.unwrap_model(trainer.model), self.folder / f"step-{step}")
        return self.folder / f"step-{step}"

    def forget_before(self, folder: Path) -> None:
        for other in self.folder.glob("step-*"):
            if other != folder:
                shutil.rmtree(other)


def save_trained(model: PeftModel, folder: Path) -> None:
    """The adapter alone, as peft writes it."""
    # "auto" would look for the base on the hub, only to learn that the vocabulary has not grown.
    model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)


@contextmanager
def open_policy(run: Draft, loaded: Loaded, config: GrpoConfig, longest: int) -> Iterator[Policy]:
    """What samples for a model that is going to be trained, as `--engine` says; `longest` is the most tokens of a
    prompt and its completion.

    Raises ToolError when vLLM does not start, or has no room beside the processes of this machine.
    """
    if config.engine == "transformers":
        yield Unsharded(loaded) if processes.sharded() else InProcess(rollout_dtype(loaded.ref, config))
        return
    if processes.sharded():  # as accelerate's configuration may say, which is not in the options
        raise ToolError("vLLM is handed whole adapters; do not shard the model, or take --engine transformers")
    folder = run.path / FOLDER / f"rank-{processes.rank()}"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    opened = (
        _served(loaded, config.api_key_env, config.endpoint, folder)
        if config.engine == "http"
        else _colocated(loaded, config, longest, folder)
    )
    try:
        with opened as policy:
            yield policy
    finally:
        shutil.rmtree(folder)
    processes.gather(None)
    if processes.is_main():
        shutil.rmtree(folder.parent)


def rollout_dtype(ref: ModelRef, config: GrpoConfig) -> torch.dtype | None:
    """What rollouts are sampled in by the trained model itself, where that is not what it is trained in; None where it
    is, and where they could not be weighted for it."""
    dtype = sampling_dtype(ref, config.dtype, config.device)
    trained = pick_dtype(config.dtype, pick_device(config.device))
    return None if dtype == trained or not config.corrects else dtype


def rollouts_in(ref: ModelRef, config: GrpoConfig) -> str | None:
    """The name of the number format that rollouts are sampled in, for the run's record; None where a server decides."""
    if config.engine == "http":
        return None
    if config.engine == "vllm":
        return sampled_in(ref, config.dtype, config.device)
    if (dtype := rollout_dtype(ref, config)) is not None:
        return dtype_name(dtype)
    return "fp32" if config.full_finetune else dtype_name(pick_dtype(config.dtype, pick_device(config.device)))


@contextmanager
def _served(loaded: Loaded, api_key_env: str | None, endpoint: str | None, folder: Path) -> Iterator[Policy]:
    from tools_shared.engines.http.address import read_api_key
    from tools_shared.engines.http.transport import Server
    from tools_shared.engines.vllm.server import VllmServerEngine

    server = Server(endpoint, read_api_key(api_key_env), concurrency=UNDER_WAY, timeout=PATIENCE)
    model, end = loaded.model, loaded.model.generation_config.eos_token_id
    served = RemoteVllm(VllmServerEngine(server, loaded.tokenizer, context_length(model.config), end), folder)
    try:
        yield served
    finally:
        served.close()


@contextmanager
def _colocated(loaded: Loaded, config: GrpoConfig, longest: int, folder: Path) -> Iterator[Policy]:
    from tools_shared.engines.vllm.engine import open_vllm

    if processes.count() > 1 and config.tensor_parallel * config.data_parallel > 1:
        raise ToolError(
            "--tensor-parallel and --data-parallel need GPUs that each process of this run has not; leave them out"
        )
    engine = open_vllm(
        as_files(loaded, config.adapter, folder),
        replace(config, max_model_len=config.max_model_len or longest),
        **vllm_options(config),
    )
    try:
        yield ColocatedVllm(engine, folder)
    finally:
        engine.close()


def vllm_options(config: LocalEngineConfig) -> dict[str, Any]:
    """Options of vLLM's that sampling rollouts beside a trainer needs. Its memory can be given back on a GPU alone."""
    return {
        "enable_sleep_mode": pick_device(config.device) == "cuda",
        "logprobs_mode": "raw_logprobs" if config.temperature == 1 else "processed_logprobs",
    }


def as_files(loaded: Loaded, adapter: str, folder: Path) -> ModelRef:
    """The model that is to be trained as vLLM reads it: where its base is, and the adapter as it begins.

    A base that an adapter was merged into exists nowhere yet, and is written once.
    """
    ref, model = loaded.ref, loaded.model
    weights = ref.weights
    if ref.adapter is not None and adapter == "merge":
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
