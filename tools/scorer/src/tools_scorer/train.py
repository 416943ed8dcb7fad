"""`tools-scorer train`: hidden states in, a calibrated scorer out."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.config.scorer import Recipe, TrainConfig, recipe
from tools_scorer.states.folder import Hidden
from tools_scorer.states.known_files import open_states
from tools_scorer.training.calibration import fit_isotonic, fit_line, fold_line, fold_scale, with_knots
from tools_scorer.training.fit import STATE, Fitted, fit, into_one, read_progress
from tools_scorer.training.formats import check_exportable, export
from tools_scorer.training.rows import Feed, RowSet, Scale, check_learnable, choose_rows, standardisation
from tools_shared.cli import Invocation
from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.scorers.scorer import LAST, ScorerFacts, load_scorer, save_scorer
from tools_shared.states.shards import READER_FIELDS, StatesManifest

if TYPE_CHECKING:
    import numpy as np
    import torch

WORK = "training"
"""In the draft: what a killed run resumes from."""


def train(config: TrainConfig, invocation: Invocation) -> Manifest:
    """Train, calibrate and publish the run; returns its manifest.

    Raises ToolError before anything is trained when the states cannot be used: one class, too few questions, a corrupt
    shard, dimensions that do not fit.
    """
    if config.data is None:
        raise ToolError("--data is missing: name the folder that `tools-scorer extract` wrote")
    settings = recipe(config)
    output_dir = Path(config.output_dir or default_output_dir("scorer"))
    done = finished(output_dir, config)
    hidden = open_states(config.data, output_dir)
    if done:
        return check_unchanged(done, hidden)
    for format_ in config.export:
        check_exportable(_facts(hidden.manifest, settings, {}, int(settings.calibration == "isotonic")), format_)
    hidden.verify()
    rows, validation = _rows(hidden, config.seed, config.step_sample_ratio, settings)
    with draft(output_dir, config, invocation, "scorer") as run:
        run.add_input("hidden", str(hidden.path), hidden_sha256(hidden), n_traces=hidden.n_traces, n_rows=hidden.n_rows)
        metrics = _train_into(run, config, settings, rows, validation)
        shutil.rmtree(run.path / WORK, ignore_errors=True)
        return run.finish(metrics, seed=config.seed, keep_checkpoints=True)


def hidden_sha256(hidden: Hidden) -> str:
    """One hash over what all shards hold, from the hashes written with them."""
    return digest([hidden.manifest.digest, *({"name": s.path.name, **s.facts} for s in hidden.shards)])


def check_unchanged(done: Manifest, hidden: Hidden) -> Manifest:
    """A finished run again, if it was made from these states; raises ToolError when they have changed since."""
    made_from = next(entry["sha256"] for entry in done.data["inputs"] if entry["name"] == "hidden")
    if made_from != hidden_sha256(hidden):
        raise ToolError(f"{done.path}: {hidden.path} has changed since; pass --overwrite to make this run again")
    return done


def _rows(hidden: Hidden, seed: int, step_sample_ratio: float, settings: Recipe) -> tuple[RowSet, RowSet]:
    rows = choose_rows(hidden, "train", settings.features, step_sample_ratio, settings.weighting, seed=seed)
    validation = choose_rows(hidden, "calibration", settings.features, 1.0, settings.weighting)
    check_learnable(rows, "train")
    check_learnable(validation, "calibration")
    say(
        f"training on {len(rows)} steps of {rows.n_questions} questions, "
        f"calibrating on {len(validation)} of {validation.n_questions}"
    )
    return rows, validation


def _train_into(
    run: Draft, config: TrainConfig, settings: Recipe, rows: RowSet, validation: RowSet
) -> Mapping[str, Any]:
    scale = standardisation(rows)
    dtype = _dtype(config.dtype)
    feeds = [Feed(part, scale, dtype, config.memory_mb) for part in (rows, validation)]
    if run.resumed:
        run.rewind(_epochs_done(run))
    fitted = fit(*feeds, settings, config.seed, run.path / WORK, run.log)
    folder = run.path / "checkpoints" / settings.name
    for name, module, epoch in (
        ("", fitted.best, fitted.progress.best_epoch),
        (LAST, fitted.last, fitted.progress.epoch),
    ):
        calibrated, facts = finish_module(module, scale, validation, settings)
        training = {
            "epoch": epoch,
            "recipe": dataclasses.asdict(settings),
            "step_sample_ratio": config.step_sample_ratio,
        }
        save_scorer(folder / name, dataclasses.replace(facts, training=training), calibrated)
    for format_ in config.export:
        export(load_scorer(folder), format_, folder)
    from tools_scorer.evaluation.plots import plot_training

    plot_training(fitted.progress.history, run.path / "plots" / settings.name)
    return _metrics(fitted, rows, validation)


def _epochs_done(run: Draft) -> int:
    path = run.path / WORK / STATE
    return read_progress(path).epoch if path.exists() else 0


def finish_module(
    module: torch.nn.Module, scale: Scale, validation: RowSet, settings: Recipe
) -> tuple[torch.nn.Module, ScorerFacts]:
    """Standardisation and calibration folded into the weights, and what is said of the result."""
    folded = fold_scale(module, scale.mean, scale.std)
    logits = _logits(folded, validation)
    calibration: dict[str, Any] = {"method": settings.calibration, "n_questions": validation.n_questions}
    n_knots = 0
    if settings.calibration == "temperature":
        a, b = fit_line(logits, validation.label.astype("f8"), validation.weight.astype("f8"))
        folded = fold_line(folded, a, b)
        calibration |= {"scale": a, "shift": b}
    elif settings.calibration == "isotonic":
        x, y = fit_isotonic(logits, validation.label.astype("f8"), validation.weight.astype("f8"))
        folded, n_knots = with_knots(folded, x, y), len(x)
    return folded, _facts(validation.hidden.manifest, settings, calibration, n_knots)


def _facts(manifest: StatesManifest, settings: Recipe, calibration: Mapping[str, Any], n_knots: int) -> ScorerFacts:
    described = manifest.to_json()
    reader = {name: described[name] for name in (*READER_FIELDS, "model", "profile", "compute_dtype", "dtype")}
    return ScorerFacts(
        config_name=settings.name,
        hidden_size=manifest.hidden_size,
        layers=manifest.layers,
        reader=reader,
        widths=settings.hidden,
        features=settings.features,
        n_knots=n_knots,
        calibration=calibration,
    )


def _logits(module: torch.nn.Module, rows: RowSet) -> np.ndarray:
    """Of inputs as they are stored, in the order of the rows."""
    import torch

    with torch.inference_mode():
        return into_one(len(rows), (module(block.float()) for block in rows.blocks())).double().numpy()


def _dtype(precision: str) -> torch.dtype:
    """bf16 pays where the processor multiplies it in hardware."""
    import torch

    if precision == "auto":
        precision = "bf16" if torch.cpu.get_capabilities().get("amx_bf16", False) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _metrics(fitted: Fitted, rows: RowSet, validation: RowSet) -> dict[str, Any]:
    progress = fitted.progress
    return {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation_loss": round(progress.best_loss, 6),
        "n_steps": len(rows),
        "n_questions": rows.n_questions,
        "share_of_right_steps": round(float(rows.label.mean()), 4),
        "n_calibration_questions": validation.n_questions,
    }
