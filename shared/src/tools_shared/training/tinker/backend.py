"""Weights on a Tinker-compatible service: updated, sampled from, and kept there after every step.

What a step costs is paid once. Forward and backward pass, optimiser step and the saving of the state are submitted
together, so a state that this process did not live to hear of is found again by its name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.engines import Engine
from tools_shared.errors import Incomplete, ToolError
from tools_shared.files import write_json
from tools_shared.training.backends import Loss, StepResult, TokenRow, Update
from tools_shared.training.tinker.engine import TinkerEngine
from tools_shared.training.tinker.service import Service, told

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEPT = 2
"""States of the newest steps that stay on the service."""
_STATE = re.compile(r"step-(\d{6})\Z")


class TinkerBackend:
    """See `Backend`."""

    def __init__(
        self,
        service: Service,
        record: Path,
        tokenizer: PreTrainedTokenizerBase,
        ends: frozenset[int],
        context: int | None,
    ) -> None:
        """`record` is the file that says what is on the service; `ends` and `context` are those of the sampler."""
        self.service, self.record, self.tokenizer, self.ends, self.context = service, record, tokenizer, ends, context
        self.said: dict[str, Any] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        self.step = 0
        self._client: Any = None
        self._sampler: tuple[int, Any] | None = None

    def begin(self, model: str, rank: int, seed: int, start_from: str | None) -> None:
        """A new adapter, or the weights of another run's state, with a new optimiser."""
        with told(self.service.url):
            if start_from is None:
                # The layers of "all-linear": the output layer, which may be tied to the embedding, stays as it is.
                self._client = self.service.client.create_lora_training_client(
                    base_model=model, rank=rank, seed=seed, train_unembed=False
                )
            else:
                self._client = self.service.client.create_training_client_from_state(start_from)
            run_id = self._client.get_info().model_id
        self.said = {"service": self.service.url, "base_model": model, "rank": rank, "training_runs": [str(run_id)]}
        self.note(step=0, state=start_from, states=[])

    def resume(self) -> bool:
        """Take up the newest state of the runs that the record names; False where there is none to take up."""
        if not self.said:
            return False
        if self.said["service"] != self.service.url:
            raise ToolError(
                f"{self.record.parent}: this run's weights are at {self.said['service']}, not at {self.service.url}; "
                "pass its --tinker-url, or begin again with --resume never"
            )
        step, path = self._newest()
        if path is None:
            return False
        with told(self.service.url):
            self._client = self.service.client.create_training_client_from_state_with_optimizer(path)
            self.said["training_runs"].append(str(self._client.get_info().model_id))
        self.step = step
        others = [state for state in self.said["states"] if state != path]
        self.note(step=step, state=path, states=[*others, path])
        return True

    def _newest(self) -> tuple[int, str | None]:
        """The latest state, be it one that was saved without our hearing of it."""
        found = (self.said["step"], self.said["state"] if self.said["step"] else None)
        rest = self.service.rest()
        with told(self.service.url):
            for run_id in self.said["training_runs"]:
                for one in rest.list_checkpoints(run_id).result().checkpoints:
                    name = _STATE.search(one.checkpoint_id)
                    if name and one.checkpoint_type == "training" and int(name[1]) > found[0]:
                        found = (int(name[1]), one.tinker_path)
        return found

    def update(self, rows: Sequence[TokenRow], loss: Loss, update: Update) -> StepResult:
        from tinker import types

        clip = {"clip_low_threshold": loss.low, "clip_high_threshold": loss.high} if loss.name == "ppo" else None
        adam = types.AdamParams(
            learning_rate=update.learning_rate,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=update.weight_decay,
            grad_clip_norm=update.max_grad_norm,
        )
        name = f"step-{self.step + 1:06d}"
        with told(self.service.url):
            passes = self._client.forward_backward([datum(row) for row in rows], loss.name, clip)
            moved = self._client.optim_step(adam)
            saved = self._client.save_state(name)
            output, metrics = passes.result(), moved.result().metrics or {}
            path = saved.result().path
        logprobs = [one["logprobs"].tolist() for one in output.loss_fn_outputs]
        norms = [value for key, value in metrics.items() if key.endswith("grad_norm")]
        if not all(map(math.isfinite, (*chain.from_iterable(logprobs), *norms))):
            self._drop(path)
            raise Incomplete(
                f"the numbers of step {self.step + 1} are not finite, and its state was dropped; start over with "
                f"--resume never and a lower --learning-rate than {update.learning_rate:g}"
            )
        self.step += 1
        states = [*self.said["states"], path]
        self.note(step=self.step, state=path, states=states[-KEPT:])
        for old in states[:-KEPT]:
            self._drop(old)
        return StepResult(logprobs, {"grad_norm": norms[0]} if norms else {})

    def _drop(self, state: str) -> None:
        """Delete a state that no resumption needs any more; a service that cannot, keeps it."""
        import tinker

        try:
            self.service.rest().delete_checkpoint_from_tinker_path(state).result()
        except tinker.TinkerError:
            return

    def engine(self) -> Engine:
        if self._sampler is None or self._sampler[0] != self.step:
            with told(self.service.url):
                self._sampler = (self.step, self._client.save_weights_and_get_sampling_client())
        return TinkerEngine(self._sampler[1], self.service.url, self.tokenizer, self.ends, self.context, self.source)

    @property
    def source(self) -> str:
        """See `Backend`."""
        return f"{self.service.url} {self.said['base_model']}"

    def publish(self, name: str) -> str:
        """Save the weights for sampling, to stay there; returns their address on the service."""
        with told(self.service.url):
            path = self._client.save_weights_for_sampler(name).result().path
        self.note(sampler=path)
        return path

    def export(self, name: str, sampler: str) -> str:
        """Where the weights can be downloaded from: an export, which newer clients and services have, else what was
        saved for sampling."""
        import tinker

        if not hasattr(self._client, "save_weights_external"):
            return sampler
        try:
            return self._client.save_weights_external(name).result().path
        except tinker.NotFoundError:  # a server of an earlier client
            return sampler

    def openai_endpoint(self) -> str | None:
        """Where the service speaks OpenAI's protocol for saved weights; None when it has no such address."""
        import httpx

        endpoint = f"{self.service.url}/oai/api/v1"
        try:
            return None if httpx.get(f"{endpoint}/models", timeout=20).status_code == 404 else endpoint
        except httpx.HTTPError:
            return None

    def note(self, **values: Any) -> None:
        """Keep in the record what the service holds."""
        self.said |= values
        write_json(self.record, self.said)


def datum(row: TokenRow) -> Any:
    """A row as the service takes it: the input is all but the last token, the targets all but the first."""
    import numpy as np
    from tinker import types

    inputs: dict[str, Any] = {"target_tokens": np.asarray(row.token_ids[1:], dtype=np.int64)}
    values = np.asarray(row.weights, dtype=np.float32)
    if row.logprobs is None:
        inputs["weights"] = values
    else:
        inputs["advantages"] = values
        inputs["logprobs"] = np.asarray(row.logprobs, dtype=np.float32)
    return types.Datum(model_input=types.ModelInput.from_ints(list(row.token_ids[:-1])), loss_fn_inputs=inputs)
