"""What every engine takes and returns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tools_shared.addresses import ADDRESS, BODY, VARIABLE
from tools_shared.config import option
from tools_shared.engines.stream import OnDraw, Take
from tools_shared.errors import ToolError
from tools_shared.models import ModelConfig, ModelRef
from tools_shared.prompts import Profile, Prompt, check_written, render_question
from tools_shared.prompts.ends import stop_ids
from tools_shared.records import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tools_shared.engines.http.chat import Extras

FinishReason = Literal["stop", "length"]


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
    top-k, top-p and min-p. `states` (on request) is the file of its hidden states: `tools_shared.states.vllm.taken`.
    `n_told` is how many tokens a server counted, which sends no token ids.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[float, ...] | None = None
    states: Path | None = None
    n_told: int | None = None

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
        )


class Engine(Protocol):
    """Samples completions. `tokenizer` is the one that prompts have to be made with, None where a server does that from
    the messages; `context_length` the most tokens, prompt and completion together, None when not known."""

    tokenizer: PreTrainedTokenizerBase | None
    context_length: int | None

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


@dataclass(frozen=True)
class LocalEngineConfig(ModelConfig):
    """The options of every command that samples from a model that is here."""

    engine: Literal["transformers", "vllm"] = option("transformers", "What draws the completions.", identity=False)
    tensor_parallel: int = option(
        1, "GPUs that share one copy of the model, for --engine vllm.", minimum=1, identity=False
    )
    data_parallel: int = option(1, "Copies of the model, for --engine vllm.", minimum=1, identity=False)
    max_model_len: int | None = option(
        None,
        "Most tokens of prompt and completion together, for --engine vllm. Default: the model's own.",
        minimum=16,
        identity=False,
    )
    gpu_memory_utilization: float = option(
        0.9, "Share of the GPU's memory that --engine vllm may take.", minimum=0.05, maximum=1.0, identity=False
    )


@dataclass(frozen=True)
class EngineConfig(LocalEngineConfig):
    """The options of every command that samples, be it from a server."""

    engine: Literal["transformers", "vllm", "http"] = option(
        "transformers", "What draws the completions.", identity=False
    )
    endpoint: str | None = option(
        None,
        "Address of an OpenAI-compatible server (http://host:8000/v1), for --engine http.",
        identity=False,
        secret=ADDRESS,
    )
    model_name: str | None = option(None, "The model's name on that server.")
    api_key_env: str | None = option(
        None,
        "Environment variable that holds the server's key; the key itself is never written.",
        identity=False,
        secret=VARIABLE,
    )
    timeout: float = option(300.0, "Seconds that a server may take for one try.", minimum=0.01, identity=False)
    max_retries: int = option(4, "Further tries of a server after a failure that may pass.", minimum=0, identity=False)
    rate_limit: float | None = option(None, "Requests a second to a server, at most.", minimum=0.001, identity=False)
    stop: tuple[str, ...] = option(
        (), "Text that ends a server's reply, and what follows it is not read; \\n is a line end. Repeatable."
    )
    extra_body: str | None = option(
        None,
        "JSON object merged into every request to a server, such as '{\"top_k\": 20}'; it wins over the tool's own.",
        secret=BODY,
    )
    drop: tuple[str, ...] = option((), "Key left out of every request, for servers that refuse it. Repeatable.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_address(self.endpoint)
        if self.endpoint is None and (self.stop or self.extra_body is not None or self.drop):
            raise ToolError("--stop, --extra-body and --drop are about requests to a server; give --endpoint too")
        extras_of(self)


def check_served(config: EngineConfig) -> None:
    """Raises ToolError unless --engine http and --endpoint are given both or neither, for commands where --engine says
    which of a model that is here and a server it is."""
    if config.engine == "http" and config.endpoint is None:
        raise ToolError("--engine http needs --endpoint, such as http://localhost:8000/v1")
    if config.engine != "http" and config.endpoint is not None:
        raise ToolError(f"--endpoint {config.shown('endpoint')}: is asked with --engine http only; add it")


def extras_of(config: EngineConfig) -> Extras:
    """What the options add to every request; raises ToolError for what cannot be added."""
    from tools_shared.engines.http.chat import Extras

    return Extras.parse(config.stop, config.extra_body, config.drop)


def check_address(endpoint: str | None) -> None:
    """Raises ToolError for a server's address that is none, or that would bring a password into the run's files."""
    if endpoint is not None:
        from tools_shared.engines.http.address import address_parts

        address_parts(endpoint)


def open_engine(ref: ModelRef, config: LocalEngineConfig) -> Engine:
    """Load a model for sampling, or address the server that has it (of `ref` then only what ends a completion is read,
    where its files are here)."""
    if isinstance(config, EngineConfig) and config.engine == "http":
        return _http_engine(ref, config)
    if config.engine == "vllm":
        from tools_shared.engines.vllm.engine import open_vllm

        return open_vllm(ref, config)
    from tools_shared.engines.local.engine import TransformersEngine
    from tools_shared.models import load

    loaded = load(ref, config.dtype, config.device)
    return TransformersEngine(loaded.model, loaded.tokenizer)


def check_engine(config: LocalEngineConfig) -> None:
    """Raises ToolError, before anything is loaded, when the engine's package is missing or another version."""
    if config.engine == "vllm":
        from tools_shared.engines.vllm.engine import check_version

        check_version()


def _http_engine(ref: ModelRef | None, config: EngineConfig) -> Engine:
    from tools_shared.cli import say
    from tools_shared.engines.http.address import chat_url, read_api_key
    from tools_shared.engines.http.chat import HttpEngine
    from tools_shared.engines.http.habits import Habits
    from tools_shared.engines.http.transport import Server

    if config.endpoint is None:
        raise ToolError("--engine http needs --endpoint, such as http://localhost:8000/v1")
    server = Server(
        chat_url(config.endpoint),
        read_api_key(config.api_key_env),
        timeout=config.timeout,
        max_retries=config.max_retries,
        rate_limit=config.rate_limit,
        habits=Habits(say),
    )
    return HttpEngine(server, config.model_name, extras=extras_of(config), stop_token_ids=_served_stop_ids(ref))


def _served_stop_ids(ref: ModelRef | None) -> tuple[int, ...]:
    """What ends a completion of a model that is served and was named too, from its files here; nothing for a hub id and
    for the demo, which is the default where none was named."""
    if ref is None or ref.spec == "demo" or not (ref.is_local or ref.adapter):
        return ()
    from tools_shared.models.load import load_tokenizer

    folders = [folder for folder in (ref.adapter, Path(ref.weights)) if folder is not None]
    files = [file for folder in folders if (file := folder / "generation_config.json").is_file()]
    configured = json.loads(files[0].read_bytes()).get("eos_token_id") if files else None
    return tuple(sorted(stop_ids(load_tokenizer(ref), configured)))


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
