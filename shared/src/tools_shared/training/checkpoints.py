"""Checkpoints that are whole: each carries the size and hash of its files, written last."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tools_shared import processes
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.runs import Draft

WHOLE = "checkpoint.whole"
"""Written into a checkpoint last, sha256 and size of every file: one without it, or unlike it, is not used."""


def seal(checkpoint: Path) -> None:
    """Bring a checkpoint's files to the disk, then mark it as whole."""
    _drop_reference_adapter(checkpoint)
    files = {}
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file()):
        _flush(path)
        files[path.relative_to(checkpoint).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    # Renamed into place, so that a full disk leaves no mark or a whole one.
    temporary = checkpoint / f".{WHOLE}"
    with temporary.open("w", encoding="utf-8") as mark:
        json.dump(files, mark, indent=1)
        mark.flush()
        os.fsync(mark.fileno())
    temporary.replace(checkpoint / WHOLE)
    _flush(checkpoint)


def _drop_reference_adapter(checkpoint: Path) -> None:
    """Delete the frozen copy of the first adapter that GRPO with a KL penalty keeps in `ref/`.

    It is made again whenever the trainer is; and where transformers finds such a folder when it resumes, it loads that
    one alone, and training would continue from an untrained adapter without a word.
    """
    if (checkpoint / "ref" / "adapter_config.json").exists():
        shutil.rmtree(checkpoint / "ref")


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None for a whole one."""
    if not (checkpoint / WHOLE).exists():
        return "was interrupted while it was written"
    try:
        files = json.loads((checkpoint / WHOLE).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return f"has a damaged {WHOLE}"
    for name, known in files.items():
        path = checkpoint / name
        if not path.is_file() or path.stat().st_size != known["bytes"]:
            return f"is torn ({name} is not as long as it was written)"
        if sha256_file(path) != known["sha256"]:
            return f"is damaged ({name} is not what was written)"
    return None


def last_checkpoint(run: Draft) -> Path | None:
    """The newest whole checkpoint of the run; one that is not whole is deleted, with a message."""
    folders = [path for path in run.checkpoint_dir.glob("checkpoint-*") if path.is_dir()]
    for folder in sorted(folders, key=step_of, reverse=True):
        wrong = damage(folder)
        if wrong is None:
            return folder
        say(f"{folder}: this checkpoint {wrong}; resuming from the one before it")
        shutil.rmtree(folder)
    return None


def step_of(checkpoint: Path | None) -> int:
    """The step that a checkpoint was written after; 0 where there is none."""
    return int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0


def resume_point(run: Draft) -> Path | None:
    """Where training resumes, the logged steps after it forgotten; None to begin. Rank 0 decides."""
    found = last_checkpoint(run) if processes.is_main() else None
    path = processes.share(str(found) if found else None)
    checkpoint = Path(path) if path else None
    if checkpoint:
        _check_sharding(checkpoint)
    if run.resumed:
        run.rewind(step_of(checkpoint))
        say(f"{run.path}: resuming from step {step_of(checkpoint)}")
    return checkpoint


def _check_sharding(checkpoint: Path) -> None:
    """Raises ToolError for a checkpoint of a sharded run where this one is not, and the other way round."""
    was = any(checkpoint.glob("pytorch_model_fsdp*"))
    if was != processes.sharded():
        raise ToolError(
            f"{checkpoint}: written {'with' if was else 'without'} --sharding fsdp2; continue so, or start over "
            "with --resume never"
        )
