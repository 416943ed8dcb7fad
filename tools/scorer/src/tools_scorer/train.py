"""`tools-scorer train`: hidden states in, a calibrated scorer out."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.config.scorer import Recipe, TrainConfig, recipe
from tools_scorer.config.states import ExtractConfig, PreprocessConfig
from tools_scorer.evaluation.verdict import show
from tools_scorer.extract import extract
from tools_scorer.preprocess import preprocess
from tools_scorer.states.folder import Hidden
from tools_scorer.states.known_files import open_states
from tools_scorer.training.calibration import fit_isotonic, fit_line, fold_line, fold_scale, with_knots
from tools_scorer.training.fit import STATE, Fitted, fit, into_one, read_progress
from tools_scorer.training.formats import check_exportable, export
from tools_scorer.training.readouts import FILE as READOUTS
from tools_scorer.training.readouts import Readout, candidates, measured
from tools_scorer.training.rows import Feed, RowSet, Scale, check_learnable, choose_rows, standardisation
from tools_shared.cli import Invocation
from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import write_json
from tools_shared.models import local_path
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.scorers.scorer import LAST, Scorer, ScorerFacts, load_scorer, save_scorer
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
    if config.select and "step-pt" in config.export:
        raise ToolError(
            "--export step-pt cannot hold every read-out that --select may choose; leave out --select, or export onnx"
        )
    settings = recipe(config)
    output_dir = Path(config.output_dir or default_output_dir("scorer"))
    done = finished(output_dir, config)
    hidden = _states(config, output_dir, invocation)
    if done:
        return check_unchanged(done, hidden)
    for format_ in config.export:
        check_exportable(_facts(hidden.manifest, settings, {}, int(settings.calibration == "isotonic")), format_)
    hidden.verify()
    _rows(hidden, config, settings)
    with draft(output_dir, config, invocation, "scorer") as run:
        run.add_input("hidden", str(hidden.path), hidden_sha256(hidden), n_traces=hidden.n_traces, n_rows=hidden.n_rows)
        chosen = _select(run, config, settings, hidden) if config.select else None
        metrics = _train_into(run, config, chosen.recipe if chosen else settings, hidden) | _told(chosen)
        shutil.rmtree(run.path / WORK, ignore_errors=True)
        return run.finish(metrics, seed=config.seed, keep_checkpoints=True)


def _states(config: TrainConfig, output_dir: Path, invocation: Invocation) -> Hidden:
    """The hidden states of `--data`. For rows they are extracted now, into OUT-data and OUT-hidden beside the run; what
    is finished there is used again."""
    if Path(config.data).is_dir():
        return open_states(config.data, output_dir)
    if config.model is None:
        raise ToolError(
            f"{config.data}: is no folder of hidden states; if it is a file of rows, name the model that reads them "
            "with --model"
        )
    made = output_dir.with_name(f"{output_dir.name}-data")
    rows = preprocess(PreprocessConfig(data=config.data, model=config.model, output_dir=str(made)), invocation)
    folder = output_dir.with_name(f"{output_dir.name}-hidden")
    file = str(rows.path / rows.metrics["file"])
    layers = _spread(config.model) if config.select else "-1"
    return extract(ExtractConfig(data=file, model=config.model, layers=layers, output_dir=str(folder)))


def _spread(model: str) -> str:
    """The value of `--layers` for --select: a third of the way, two thirds, and the last layer."""
    from tools_shared.models import resolve
    from tools_shared.models.load import load_config

    n = load_config(resolve(model)).get_text_config().num_hidden_layers
    return f"{n // 3},{2 * n // 3},{n}"


def hidden_sha256(hidden: Hidden) -> str:
    """One hash over what all shards hold, from the hashes written with them."""
    return digest([hidden.manifest.digest, *({"name": s.path.name, **s.facts} for s in hidden.shards)])


def check_unchanged(done: Manifest, hidden: Hidden) -> Manifest:
    """A finished run again, if it was made from these states; raises ToolError when they have changed since."""
    made_from = next(entry["sha256"] for entry in done.data["inputs"] if entry["name"] == "hidden")
    if made_from != hidden_sha256(hidden):
        raise ToolError(f"{done.path}: {hidden.path} has changed since; pass --overwrite to make this run again")
    return done


def _rows(hidden: Hidden, config: TrainConfig, settings: Recipe) -> tuple[RowSet, RowSet]:
    how = {"weighting": settings.weighting, "seed": config.seed, "read_at": settings.read_at}
    rows = choose_rows(hidden, "train", settings.features, config.step_sample_ratio, **how)
    validation = choose_rows(hidden, "calibration", settings.features, 1.0, **how)
    check_learnable(rows, "train")
    check_learnable(validation, "calibration")
    return rows, validation


def _fit(
    run: Draft, config: TrainConfig, settings: Recipe, hidden: Hidden, log: Callable[[dict[str, Any]], None]
) -> tuple[Fitted, RowSet, RowSet, Scale]:
    """Train one read-out; what a killed run needs is in the draft under the read-out's name."""
    rows, validation = _rows(hidden, config, settings)
    scale = standardisation(rows)
    dtype = _dtype(config.dtype)
    feeds = [Feed(part, scale, dtype, config.memory_mb) for part in (rows, validation)]
    return fit(*feeds, settings, config.seed, _work(run, settings), log), rows, validation, scale


def _work(run: Draft, settings: Recipe) -> Path:
    return run.path / WORK / digest(dataclasses.asdict(settings))[:16]


def _select(run: Draft, config: TrainConfig, settings: Recipe, hidden: Hidden) -> Readout:
    """Train every read-out, compare them on the calibration questions, write their table; returns the best."""
    found = []
    for recipe_ in candidates(settings, len(hidden.manifest.layers)):
        fitted, _, validation, scale = _fit(run, config, recipe_, hidden, lambda _: None)
        module, facts = finish_module(fitted.best, scale, validation, recipe_)
        found.append(measured(recipe_, Scorer(facts, module, run.path), hidden, config.seed))
        say(f"{found[-1].name}: within-question AUROC {show(found[-1].within)}")
    best = max(found, key=lambda readout: readout.within.estimate)  # the first of equals is the simplest
    write_json(run.path / READOUTS, [readout.to_json() for readout in found])
    say(
        f"best of {len(found)} read-outs on {best.within.n} calibration questions: {best.name}; evaluate it on the "
        "test questions, which chose nothing"
    )
    return best


def _told(chosen: Readout | None) -> dict[str, Any]:
    """What the manifest says of the choice."""
    if chosen is None:
        return {}
    return {"readout": chosen.name, "calibration_within_auroc": dataclasses.asdict(chosen.within)}


def _train_into(run: Draft, config: TrainConfig, settings: Recipe, hidden: Hidden) -> dict[str, Any]:
    if run.resumed:
        run.rewind(0 if config.select else _epochs_done(run, settings))
    fitted, rows, validation, scale = _fit(run, config, settings, hidden, run.log)
    for entry in fitted.progress.history if config.select else ():  # it was trained before it was chosen
        run.log(entry)
    say(
        f"trained on {len(rows)} steps of {rows.n_questions} questions, "
        f"calibrated on {len(validation)} of {validation.n_questions}"
    )
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
        reader = _placed(facts.reader, run.final / "checkpoints" / settings.name / name)
        save_scorer(folder / name, dataclasses.replace(facts, reader=reader, training=training), calibrated)
    for format_ in config.export:
        export(load_scorer(folder), format_, folder)
    from tools_scorer.evaluation.plots import plot_training

    plot_training(fitted.progress.history, run.path / "plots" / settings.name)
    return _metrics(fitted, rows, validation)


def _epochs_done(run: Draft, settings: Recipe) -> int:
    path = _work(run, settings) / STATE
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
        read_at=settings.read_at,
        n_knots=n_knots,
        calibration=calibration,
    )


def _placed(reader: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """With the way from a scorer's final folder to the model that it reads with, where that is here."""
    path = local_path(str(reader["model"]))
    return {**reader, "relative": os.path.relpath(path.resolve(), folder.resolve())} if path else dict(reader)


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
