"""Verified rows by static batches and by tools-traces, on any model, for `test_smollm2_speed.py`."""

from __future__ import annotations

import time

from tools_shared.answers import equal
from tools_shared.cli import Invocation
from tools_shared.models import choose_profile, load, resolve
from tools_shared.prompts import render_question
from tools_shared.sources import read_problems
from tools_traces.config import TracesConfig
from tools_traces.sample import sample

ATTEMPTS = 5
NEW_TOKENS = 96
BATCH = 32


def static(model: str, data: str, seed: int) -> dict[str, float]:
    """Every attempt for every prompt, in the order of the data, in the format that the library loads."""
    import torch

    began = time.process_time()
    torch.manual_seed(seed)
    ref = resolve(model)
    profile, loaded = choose_profile(ref, None), load(ref, "bf16", "cpu")
    problems = read_problems(data).items
    prompts = [render_question(loaded.tokenizer, profile, p.question) for p in problems for _ in range(ATTEMPTS)]
    texts: list[str] = []
    n_tokens, pad = 0, loaded.tokenizer.pad_token_id
    for start in range(0, len(prompts), BATCH):
        ids = [list(p.token_ids) for p in prompts[start : start + BATCH]]
        inputs = loaded.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.inference_mode():
            out = loaded.model.generate(
                **inputs, max_new_tokens=NEW_TOKENS, do_sample=True, temperature=0.8, top_k=0, top_p=1.0
            )
        new = out[:, inputs["input_ids"].shape[1] :]
        n_tokens += int((new != pad).sum())
        texts += loaded.tokenizer.batch_decode(new, skip_special_tokens=True)
    rows = 0
    for i, problem in enumerate(problems):
        parsed = [profile.parse(text) for text in texts[i * ATTEMPTS : (i + 1) * ATTEMPTS]]
        rows += any(p.well_formed and equal(problem.answer, p.answer or "").correct for p in parsed)
    return {"rows": rows, "tokens": n_tokens, "seconds": time.process_time() - began}


def tools_traces(model: str, data: str, seed: int, folder) -> dict[str, float]:
    began = time.process_time()
    config = TracesConfig(
        model=model, data=(data,), max_attempts=ATTEMPTS, max_new_tokens=NEW_TOKENS, temperature=0.8, seed=seed,
        device="cpu", fallback="skip", output_dir=str(folder), overwrite=True,
    )  # fmt: skip
    metrics = sample(config, Invocation("tools-traces", "benchmark")).metrics
    return {
        "rows": metrics["rows"],
        "tokens": metrics["tokens_last_session"],
        "seconds": time.process_time() - began,
    }
