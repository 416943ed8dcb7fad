"""Train the demo model from scratch: PYTHONPATH=scripts python -m demo_model.pretrain --output-dir DIR

A Qwen3 of 1.1 million parameters reads batches of lessons (see `lessons`), none of them twice, with a linear warm-up
and a linear decay to zero. Lessons of like length share a batch, so little of it is padding, and padding on the right
needs no mask under causal attention. The loss is on the assistant's words; the rest counts `prompt_weight`:
enough to know the words and the tags of the prompts, too little to spend few parameters on guessing names.

The same configuration gives the same bytes on the same type of processor with the same torch. The command runs on one
thread: the order of sums, and so the weights, depends on the number of threads; and with tensors this
small a second thread gains less than it loses when the other core is busy. For the same reason it stays
in float32: bfloat16 products are faster, but most of the time goes to small element-wise operations.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import click

from demo_model.lessons import Lesson, lesson
from demo_model.tokenizer import VOCABULARY, train_tokenizer
from tools_shared.console import show, show_json
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM


@dataclass(frozen=True)
class PretrainConfig:
    """`tokens_per_step` counts padding; `drills` is the share of lessons without a story; `longest` is the most
    steps that a story has, fewer than the generator's, so that there is something left to learn.
    """

    steps: int = 1300
    tokens_per_step: int = 4096
    learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.05
    prompt_weight: float = 0.1
    drills: float = 0.2
    longest: int = 3
    tokenizer_lessons: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ToolError(f"steps must be 1 or more, got {self.steps}")
        if self.tokens_per_step < 512:
            raise ToolError(f"tokens_per_step must be 512 or more, to hold any lesson, got {self.tokens_per_step}")


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights, in the shape of the demo model."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=4096,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tokenizer(config: PretrainConfig) -> PreTrainedTokenizerFast:
    lessons = (lesson(-1 - i, config.drills, 6, config.seed) for i in range(config.tokenizer_lessons))
    return train_tokenizer(text for one in lessons for m in one.messages() for text in (m["role"] + "\n", m["content"]))


def encode(tokenizer: PreTrainedTokenizerFast, lessons: list[Lesson]) -> list[tuple[list[int], int]]:
    """Token ids of each lesson up to the end of the last turn, and where the assistant's words begin."""
    prompts = [
        tokenizer.apply_chat_template(one.messages()[:-1], tokenize=False, add_generation_prompt=True)
        for one in lessons
    ]
    heads = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    tails = tokenizer([one.assistant for one in lessons], add_special_tokens=False)["input_ids"]
    return [([*head, *tail, tokenizer.eos_token_id], len(head)) for head, tail in zip(heads, tails, strict=True)]


def batches(tokenizer: PreTrainedTokenizerFast, config: PretrainConfig) -> Iterator[list[tuple[list[int], int]]]:
    """Batches without end: a thousand lessons at a time are sorted by length, cut into batches, and these shuffled."""
    rng, index = Random(f"{config.seed}:batches"), 0
    while True:
        lessons = [lesson(index + i, config.drills, config.longest, config.seed) for i in range(1024)]
        index += len(lessons)
        encoded = sorted(encode(tokenizer, lessons), key=lambda pair: len(pair[0]))
        cut: list[list[tuple[list[int], int]]] = [[]]
        for pair in encoded:
            if (len(cut[-1]) + 1) * len(pair[0]) > config.tokens_per_step:
                cut.append([])
            cut[-1].append(pair)
        rng.shuffle(cut)
        yield from cut


def collate(batch: list[tuple[list[int], int]], pad: int, prompt_weight: float) -> tuple[Tensor, Tensor]:
    """`tokens_B_T`, padded on the right, and the weight in the loss of each token as a target, same shape."""
    import torch

    length = max(len(tokens) for tokens, _ in batch)
    rows = [tokens + [pad] * (length - len(tokens)) for tokens, _ in batch]
    weights = [
        [prompt_weight] * start + [1.0] * (len(tokens) - start) + [0.0] * (length - len(tokens))
        for tokens, start in batch
    ]
    return torch.tensor(rows), torch.tensor(weights)


def pretrain(
    config: PretrainConfig, report: Callable[[str], None] = print
) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """The trained model and its tokenizer; `report` gets a line every hundred steps."""
    import torch

    torch.manual_seed(config.seed)
    tokenizer = build_tokenizer(config)
    model = build_model(tokenizer).train()
    optimizers = _optimizers(model, config)
    started, total = time.monotonic(), 0.0
    for step, batch in zip(range(config.steps), batches(tokenizer, config), strict=False):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = config.learning_rate * _schedule(step, config)
        tokens_B_T, weights_B_T = collate(batch, tokenizer.pad_token_id, config.prompt_weight)
        loss = _loss(model, tokens_B_T, weights_B_T)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % 100 == 0:
            report(f"step {step + 1}/{config.steps}: loss {total / 100:.4f}, {time.monotonic() - started:.0f} s")
            total = 0.0
    return model.eval(), tokenizer


def _optimizers(model: Qwen3ForCausalLM, config: PretrainConfig) -> list[Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms.

    Muon (Jordan et al., 2024) orthogonalises the update, scaled as in Liu et al. (2025, "Muon is scalable for LLM
    training", section 2.2) to the size of AdamW's, so one learning rate serves both.
    """
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    shared = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    return [
        torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **shared),
        torch.optim.AdamW(others, betas=(0.9, 0.95), **shared),
    ]


def _schedule(step: int, config: PretrainConfig) -> float:
    return min((step + 1) / config.warmup, (config.steps - step) / max(1, config.steps - config.warmup), 1.0)


def _loss(model: Qwen3ForCausalLM, tokens_B_T: Tensor, weights_B_T: Tensor) -> Tensor:
    """Weighted cross-entropy of the next token. Padding is on the right, so causal attention never sees it."""
    import torch

    logits = model(input_ids=tokens_B_T[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens_B_T[:, 1:].flatten(), reduction="none")
    weights = weights_B_T[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


@click.command()
@click.option(
    "--output-dir",
    required=True,
    type=click.Path(path_type=Path),
    help="Where the model folder is written; files there are replaced.",
)
@click.option("--steps", default=PretrainConfig.steps, show_default=True, help="Batches to train on.")
@click.option("--seed", default=PretrainConfig.seed, show_default=True, help="Of the weights and of the lessons.")
def main(output_dir: Path, steps: int, seed: int) -> None:
    """Pretrain the demo model from nothing.

    \b
    PYTHONPATH=scripts python -m demo_model.pretrain --output-dir /tmp/demo
    """
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    config = PretrainConfig(steps=steps, seed=seed)
    show_json(asdict(config))
    model, tokenizer = pretrain(config, report=show)
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    weights = output_dir / "model.safetensors"
    weights.chmod(0o644)
    show(f"{weights}: {weights.stat().st_size} bytes, sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
