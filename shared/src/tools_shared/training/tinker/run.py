"""A run on a Tinker-compatible service from its beginning, or from where it was cut off, to what it leaves here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.evaluation import EvalConfig, evaluate_in_run
from tools_shared.models import load, resolve
from tools_shared.models.load import context_length, load_config
from tools_shared.models.resolve import ModelRef
from tools_shared.prompts import Profile
from tools_shared.prompts.ends import stop_ids
from tools_shared.records import Problem
from tools_shared.runs import Draft, read_metrics
from tools_shared.training.options import TrainingOptions
from tools_shared.training.outcome import merged, step_losses, why_nothing
from tools_shared.training.steps import StepPlan
from tools_shared.training.tinker.adapter import fetch, learned, save_beside, settle
from tools_shared.training.tinker.backend import TinkerBackend
from tools_shared.training.tinker.base import RECORD, RemoteBase
from tools_shared.training.tinker.service import Service, server_model
from tools_shared.training.trainable import LoraOptions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FINAL = "final"


def plan_of(config: TrainingOptions, n_steps: int) -> StepPlan:
    """The schedule of a run of `n_steps` steps, said on the screen."""
    names = "learning_rate lr_scheduler warmup_ratio weight_decay max_grad_norm logging_steps".split()
    plan = StepPlan(n_steps, **{name: getattr(config, name) for name in names})
    say(f"{n_steps} steps; peak learning rate {plan.learning_rate:g}, schedule {plan.lr_scheduler}")
    return plan


def open_backend(
    run: Draft, service: Service, base: RemoteBase, tokenizer: PreTrainedTokenizerBase, profile: Profile
) -> TinkerBackend:
    """The weights as they are after the last step that the service has of this run, or as they begin.

    Logged steps after that one are forgotten. Raises ToolError when the service does not train the base.
    """
    config = run.config
    rank = base.rank or config.lora_r
    if config.lora_r not in (rank, LoraOptions.lora_r):
        raise ToolError(
            f"--lora-r {config.lora_r} has no effect on the adapter of {base.ref.spec}, which is trained further with "
            f"rank {rank}; leave it out"
        )
    backend = TinkerBackend(
        service, run.path / RECORD, tokenizer, ends_of(base.ref, tokenizer), context_length(load_config(base.ref))
    )
    model = server_model(service, base.server_name)
    if backend.resume():
        say(f"{run.path}: resuming from step {backend.step}, whose state is on the service")
    else:
        backend.begin(model, rank, config.seed, base.start_from)
        backend.note(base=base.ref.weights_name, profile=profile.to_json())
    if run.resumed:
        run.rewind(backend.step)
    say(
        f"{service.url}: {model}, LoRA rank {rank} on the layers of attention and MLP; its scale (alpha) is that of "
        "the service"
    )
    return backend


def ends_of(ref: ModelRef, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a completion, with those of the base's generation config where it has one."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(ref.weights).eos_token_id
    except OSError:
        configured = None
    return stop_ids(tokenizer, configured)


def bring_home(run: Draft, backend: TinkerBackend, base: RemoteBase, profile: Profile) -> dict[str, Any]:
    """Save the trained weights for sampling; fetch and verify them, or say where they stay. Returns figures for the
    manifest."""
    address = backend.publish(FINAL)
    history = list(read_metrics(run.path))
    figures: dict[str, Any] = {"steps": backend.step, **step_losses(history)}
    figures["tokens_updated"] = sum(row["num_tokens"] for row in history)
    figures["tokens_sampled"] = sum(row.get("sampled_tokens", 0) for row in history)
    if run.config.tinker_weights == "keep":
        return figures | _kept(backend, address)
    fetch(backend.service, backend.export(FINAL, address), run.model_dir)
    figures |= settle(run.model_dir, base.ref)
    save_beside(run.model_dir, run.final / "model", base.ref, backend.tokenizer, backend.ends, profile)
    figures["weights_changed"] = learned(run.model_dir)
    say(
        f"fetched the adapter: {figures['adapter_tensors']} tensors, all placed; rank {figures['lora_r']}, alpha "
        f"{figures['lora_alpha']:g}"
    )
    if reasons := why_nothing(history):
        say(f"warning: this run was given nothing to learn ({'; '.join(reasons)})")
    if run.config.merge:
        figures |= merged(run, load(resolve(str(run.model_dir))), profile, figures)
    return figures


def _kept(backend: TinkerBackend, address: str) -> dict[str, Any]:
    """Where the weights stay, and the address under which a server speaks OpenAI's protocol for them, if one does."""
    endpoint = backend.openai_endpoint()
    backend.note(endpoint=endpoint)
    if endpoint is None:
        say(f"the weights stay at {backend.service.url} as {address}, which has no OpenAI-compatible endpoint for them")
    else:
        say(
            f"the weights stay on the service; ask them with: tools-bench run --endpoint {endpoint} --model-name "
            f"{address} --api-key-env TINKER_API_KEY"
        )
    return {"tinker_model": address, "endpoint": endpoint}


def before(
    run: Draft, backend: TinkerBackend, problems: Sequence[Problem], profile: Profile, config: EvalConfig
) -> dict[str, Any]:
    """The rates of the weights that the run begins with; a resumed run has them in its record."""
    if "before" not in backend.said:
        evaluation = evaluate_in_run(run, backend.engine(), problems, profile, config, "_before")
        backend.note(before=evaluation.metrics, correct_before=[graded.correct for graded in evaluation.graded])
    return backend.said["before"]
