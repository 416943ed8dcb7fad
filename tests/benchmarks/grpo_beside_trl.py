"""GRPO by stock TRL, with its own `generate`, and by tools-grpo: the same arguments, model, prompts and seed.

    python tests/benchmarks/grpo_beside_trl.py artifacts/prep_sft curves.jsonl --seeds 0 1 2

trains both ways for every seed and adds one line a run: the rewards of every completion, step by step.
"""

import argparse
import copy
import json
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tools_grpo.config import GrpoConfig
from tools_grpo.rollouts.policy import InProcess, rollout_dtype
from tools_grpo.rollouts.sampler import Sampler
from tools_shared.cli import Invocation
from tools_shared.models import load, resolve
from tools_shared.prompts import PROFILES, render_question
from tools_shared.rewards import load_rewards
from tools_shared.runs import draft
from tools_shared.sources import read_problems
from tools_shared.training.trainable import load_trainable

WAYS = ("stock", "tools-grpo")
PROFILE = PROFILES["gsm8k-tags"]


@dataclass
class Log:
    """What each step took, in seconds of wall and of processor, sampling apart; and what its completions earned."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    sampling_wall: list[float] = field(default_factory=list)
    sampling_processor: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    """Prompts, once for each completion, and completions."""
    prompts: list[list[str]] = field(default_factory=list)
    rewards: list[list[float]] = field(default_factory=list)


def options(model: str, steps: int, **more) -> GrpoConfig:
    """The demo's settings (configs/demo/grpo.yaml) unless told."""
    usual = {
        "num_generations": 8, "prompts_per_step": 16, "batch_size": 32, "learning_rate": 3e-4,
        "max_completion_length": 96, "save_steps": 10**6, "device": "cpu",
    }  # fmt: skip
    return GrpoConfig(base_model=model, max_steps=steps, **{**usual, **more})


def run(way: str, config: GrpoConfig) -> Log:
    """Train `config.max_steps` steps one of the two ways."""
    with (
        tempfile.TemporaryDirectory() as folder,
        draft(Path(folder) / "run", config, Invocation("tools-grpo", "0"), "grpo") as given,
    ):
        trainer = make(way, config, given)
        log = watch(trainer)
        trainer.train()
    log.tokens = [int(entry["num_tokens"]) for entry in trainer.state.log_history if "num_tokens" in entry]
    log.tokens = [after - before for before, after in zip([0, *log.tokens], log.tokens, strict=False)]
    return log


def make(way: str, config: GrpoConfig, given):
    """The trainer that tools-grpo makes; or TRL's with the same arguments, on weights that nothing was changed in."""
    import torch
    from datasets import Dataset
    from trl import GRPOTrainer

    from tools_grpo.trainer import make_trainer
    from tools_shared.training.callbacks import without_printer

    ref = resolve(config.base_model)
    problems = read_problems(config.data).items
    rewards = load_rewards(config.reward, PROFILE, length_limit=config.max_completion_length)
    torch.manual_seed(config.seed)
    loaded = load_trainable(ref, config)
    prompts = [render_question(loaded.tokenizer, PROFILE, problem.question) for problem in problems]
    pairs = list(zip(prompts, problems, strict=True))
    rows = [{"prompt": p.text, "answer": problem.answer, "opens_thinking": p.opens_thinking} for p, problem in pairs]
    in_process = InProcess(rollout_dtype(ref, config))
    sampler = Sampler({p.text: (problem.id, p) for p, problem in pairs}, config, in_process)
    ours = make_trainer(given, config, loaded, rows, rewards, sampler)
    if way == "tools-grpo":
        return ours
    torch.manual_seed(config.seed)
    stock = GRPOTrainer(
        model=load_trainable(ref, config).model,
        args=copy.deepcopy(ours.args),
        train_dataset=Dataset.from_list(rows),
        reward_funcs=list(rewards),
        processing_class=loaded.tokenizer,
    )
    return without_printer(stock)


def watch(trainer) -> Log:
    """Put a watch on each step, on the sampling of its completions and on their rewards."""
    from transformers import TrainerCallback

    log = Log()
    generate, score = trainer._generate, trainer._calculate_rewards
    began: list[tuple[float, float]] = []

    class Watch(TrainerCallback):
        def on_step_begin(self, *_, **__):
            began.append((time.perf_counter(), time.process_time()))

        def on_step_end(self, *_, **__):
            log.wall.append(time.perf_counter() - began[-1][0])
            log.processor.append(time.process_time() - began[-1][1])

    def timed(*given, **more):
        wall, processor = time.perf_counter(), time.process_time()
        drawn = generate(*given, **more)
        log.sampling_wall.append(time.perf_counter() - wall)
        log.sampling_processor.append(time.process_time() - processor)
        return drawn

    def scored(inputs, *given, **more):
        found = score(inputs, *given, **more)
        log.prompts.append([example["prompt"] for example in inputs])
        log.rewards.append(found[:, 0].tolist())
        return found

    trainer._generate, trainer._calculate_rewards = timed, scored
    trainer.add_callback(Watch())
    return log


def distinct(completions, completion_ids, **_):
    """A reward that random weights can earn, and that differs within every group: how many tokens are distinct."""
    return [len(set(ids)) / len(ids) for ids in completion_ids]


def save_random(folder: Path) -> Path:
    """A Qwen3 of 30.6 million random weights with the demo's tokenizer."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    demo = load(resolve("demo"), device="cpu")
    shape = {
        "hidden_size": 512, "num_hidden_layers": 9, "intermediate_size": 1664,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64,
    }  # fmt: skip
    torch.manual_seed(0)
    kept = {key: value for key, value in demo.model.config.to_dict().items() if key != "layer_types"}
    Qwen3ForCausalLM(Qwen3Config(**{**kept, **shape})).save_pretrained(folder)
    demo.tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    for seed in given.seeds:
        config = options(given.model, given.steps, seed=seed)
        for way in WAYS:
            line = json.dumps({"way": way, "seed": seed, **asdict(run(way, config))})
            with given.output.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
