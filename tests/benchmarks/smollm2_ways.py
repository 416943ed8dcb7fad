"""A step of SFT by stock TRL and by tools-sft, and peak memory, for `test_smollm2_speed.py`."""

from __future__ import annotations

import ctypes
import gc
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools_sft.config import SftConfig
from tools_sft.data.encoding import encode
from tools_sft.train import make_trainer
from tools_shared.cli import Invocation
from tools_shared.models import resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts import PROFILES
from tools_shared.runs import draft
from tools_shared.sources import read_examples
from tools_shared.training.trainable import load_trainable

MIB = 2**20


@dataclass
class Taken:
    """Processor seconds of each step, the first included; peak memory over that of the loaded model, in bytes."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak: int = 0


def status(name: str) -> int:
    """A size in bytes from /proc/self/status, such as VmRSS or VmHWM."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def forget_peak() -> int:
    """Give freed memory back and begin counting the peak from here; returns what is resident now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def sft(way: str, model: str, data: str, steps: int, batch_size: int) -> Taken:
    """Train a LoRA adapter on the completions of `data` for `steps` steps, `stock` or `tools-sft`."""
    import torch
    from transformers import TrainerCallback

    config = SftConfig(
        base_model=model, data=(data,), profile="gsm8k-tags", max_steps=steps, batch_size=batch_size,
        gradient_accumulation=1, learning_rate=1e-4, epochs=1.0, logging_steps=1, save_steps=10**6, eval=False,
        device="cpu", lr_scheduler="constant",
    )  # fmt: skip
    ref, taken = resolve(model), Taken()
    examples = read_examples(config.data).items
    encoded = encode(load_tokenizer(ref), PROFILES["gsm8k-tags"], examples, config)

    class Watch(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began = time.process_time()

        def on_step_end(self, *_, **__):
            taken.seconds.append(time.process_time() - self.began)

    torch.manual_seed(0)
    loaded = load_trainable(ref, config)
    with (
        tempfile.TemporaryDirectory() as folder,
        draft(Path(folder) / "run", config, Invocation("tools-sft", "0"), "sft") as run,
    ):
        trainer = make_trainer(run, config, loaded, encoded)
        if way == "stock":
            trainer = stock_sft(trainer.args, loaded, encoded.examples)
        trainer.add_callback(Watch())
        before = forget_peak()
        trainer.train()
        taken.peak = status("VmHWM") - before
    taken.losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return taken


def stock_sft(args, loaded, examples):
    """TRL's trainer as it comes: its own collator, padding and loss, on the same tokens and masks."""
    import copy

    import torch
    from datasets import Dataset
    from trl import SFTTrainer

    from tools_shared.training.callbacks import without_printer

    rows = {
        "input_ids": [list(example.token_ids) for example in examples],
        "labels": [
            [token if learn else -100 for token, learn in zip(e.token_ids, e.loss_mask, strict=True)] for e in examples
        ],
    }
    torch.manual_seed(0)
    args = copy.deepcopy(args)
    # of the trainer whose arguments these are
    loaded.model.get_base_model().base_model._forward_hooks.clear()
    loaded.model.get_base_model().gradient_checkpointing_disable()
    return without_printer(
        SFTTrainer(
            model=loaded.model, args=args, train_dataset=Dataset.from_dict(rows), processing_class=loaded.tokenizer
        )
    )
