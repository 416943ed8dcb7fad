"""Sampling from vLLM's own server by tokens, as from one in this process: what a trainer needs and the chat API lacks.

Prompts go as token ids to `/v1/completions`, which vLLM answers with token ids and their log-probabilities. Adapters
are loaded while it runs, from a path that the server can read; for that it is started with `--enable-lora` and
VLLM_ALLOW_RUNTIME_LORA_UPDATING=1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.engines.http.exchange import Server
from tools_shared.engines.http.transport import Reply, Request, post_plain, post_stream
from tools_shared.engines.stream import StreamingEngine
from tools_shared.engines.types import Completion, OnDraw, SamplingParams, Take, check_fits, draw_key
from tools_shared.errors import Incomplete, ToolError
from tools_shared.prompts import Prompt
from tools_shared.prompts.ends import stop_ids, text_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STARTED = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve BASE --enable-lora"


class VllmServerEngine(StreamingEngine):
    """Samples completions from `adapter`, once it is loaded on vLLM's server. `server.url` is the base address,
    `http://host:8000/v1`; `end` what the model's generation config ends completions with."""

    def __init__(
        self,
        server: Server,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int | None,
        end: int | Sequence[int] | None = None,
    ) -> None:
        self.server, self.tokenizer, self.context_length = server, tokenizer, context_length
        self.stop_ids = stop_ids(tokenizer, end)
        self.adapter: str | None = None
        self.source = server.shown

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load the LoRA adapter in `folder` on the server as `name`, which it must not have had before: by name and
        path it finds keys and values of prompts that it has read. Raises ToolError when the server will not."""
        body = {"lora_name": name, "lora_path": str(folder.resolve())}
        status, text = post_plain(self._at("load_lora_adapter"), body)
        if status == 404 and "lora" not in text.lower():
            raise ToolError(f"{self.server.shown}: this server loads no adapters; start it with {STARTED}")
        if status != 200:
            raise ToolError(
                f"{self.server.shown}: {status} {text}; the server must serve the adapter's base with --max-lora-rank "
                f"as large as --lora-r, and read {folder.resolve()} on a shared disk"
            )

    def drop_adapter(self, name: str) -> None:
        post_plain(self._at("unload_lora_adapter"), {"lora_name": name})

    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = 32) -> None:
        """See `Engine.stream`; the server's concurrency and not `n_slots` decides how many are under way. Raises
        Incomplete at the first request that fails for good."""

        def next_request() -> Request | None:
            if (draw := take()) is None:
                return None
            check_fits([draw.prompt], [draw.key], self.context_length, params.max_new_tokens)
            return Request(draw, self._body(draw.prompt, params, draw.key, draw.sample))

        def on_reply(request: Request, reply: Reply) -> None:
            on_draw(request.key, self._completion(reply, params))

        post_stream(self._at("completions"), next_request, on_reply)

    def _at(self, path: str) -> Server:
        address, mark, query = self.server.url.partition("?")
        return replace(self.server, url=f"{address.rstrip('/')}/{path}{mark}{query}")

    def _body(self, prompt: Prompt, params: SamplingParams, key: str, sample: int) -> dict[str, Any]:
        return {
            "model": self.adapter,
            "prompt": list(prompt.token_ids),
            "max_tokens": params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "min_p": params.min_p,
            "repetition_penalty": 1.0,  # else what the model's generation config says
            "seed": draw_key(params.seed, key, sample) % 2**63,
            "stop_token_ids": sorted(self.stop_ids),
            "logprobs": 0 if params.logprobs else None,
            "return_token_ids": True,
        }

    def _completion(self, reply: Reply, params: SamplingParams) -> Completion:
        if reply.failure is not None:
            raise Incomplete(
                f"{self.server.shown}: {reply.failure.kind}: {reply.failure.message} (after {reply.attempts} tries); "
                "run the same command again to resume"
            )
        try:
            token_ids, logprobs, reason = read_choice(reply.data, params.logprobs)
        except ValueError as error:
            raise ToolError(f"{self.server.shown}: {error}; is this vLLM's own server, 0.31 or later?") from error
        text = text_of(self.tokenizer, token_ids, self.stop_ids)
        return Completion(text, token_ids, "length" if reason == "length" else "stop", logprobs)


def read_choice(data: Any, with_logprobs: bool) -> tuple[tuple[int, ...], tuple[float, ...] | None, str | None]:
    """Token ids, their log-probabilities and the finish reason; raises ValueError saying what is missing."""
    if not isinstance(data, Mapping) or not isinstance(choices := data.get("choices"), list) or not choices:
        raise ValueError("no 'choices' in the reply")
    choice = choices[0]
    if not isinstance(choice, Mapping) or not isinstance(token_ids := choice.get("token_ids"), list):
        raise ValueError("no 'token_ids' in the first choice")
    if not with_logprobs:
        return tuple(token_ids), None, choice.get("finish_reason")
    found = choice["logprobs"].get("token_logprobs") if isinstance(choice.get("logprobs"), Mapping) else None
    if not isinstance(found, list) or len(found) != len(token_ids) or None in found:
        raise ValueError("no log-probability for each token in the first choice")
    return tuple(token_ids), tuple(found), choice.get("finish_reason")
