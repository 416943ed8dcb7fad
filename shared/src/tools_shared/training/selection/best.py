"""The best weights of a run so far, beside its checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from tools_shared import processes
from tools_shared.errors import Incomplete
from tools_shared.models.load import Loaded
from tools_shared.runs import Draft
from tools_shared.training.checkpoints import damage, seal
from tools_shared.training.sharded import whole

FILE = "weights.safetensors"


class BestWeights:
    """Keeps what is trained of a model as it was at some steps: `checkpoints/best-STEP/`, each whole or not there."""

    def __init__(self, run: Draft, loaded: Loaded) -> None:
        self.folder, self.loaded = run.checkpoint_dir, loaded

    def keep(self, step: int) -> None:
        """Store the weights as they are now. Every process calls it."""
        from safetensors.torch import save_file

        model = whole(self.loaded, "cpu", keep=processes.is_main()).model
        if processes.is_main():
            self._drop(step)
            path = self._of(step)
            path.mkdir(parents=True)
            parts = {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}
            save_file(parts, path / FILE)
            seal(path)
        processes.gather(None)

    def forget_all_but(self, steps: Collection[int]) -> None:
        for path in self.folder.glob("best-*"):
            if path.name.rpartition("-")[2] not in map(str, steps):
                shutil.rmtree(path)

    def restore(self, step: int) -> None:
        """Give the model the weights of `step`. Every process calls it. Raises Incomplete where they are damaged."""
        import torch
        from safetensors.torch import load_file
        from torch.distributed.tensor import DTensor, distribute_tensor

        wrong = damage(self._of(step))
        if wrong is not None:
            raise Incomplete(f"{self._of(step)}: what holds the best weights {wrong}; start over with --resume never")
        stored = load_file(self._of(step) / FILE)
        with torch.no_grad():
            for name, part in self.loaded.model.named_parameters():
                if name not in stored:
                    continue
                value = stored[name].to(part.device)
                if isinstance(part, DTensor):
                    value = distribute_tensor(value, part.device_mesh, part.placements)
                part.copy_(value)

    def _of(self, step: int) -> Path:
        return self.folder / f"best-{step}"

    def _drop(self, step: int) -> None:
        if self._of(step).exists():
            shutil.rmtree(self._of(step))
