"""What training tools share around TRL's trainers: options, checkpoints that are whole, guards, logging into the run.

Import it where training begins: it needs transformers.
"""

from tools_shared.training.callbacks import RunCallback, without_printer
from tools_shared.training.checkpoints import WHOLE, last_checkpoint, resume_point, step_of
from tools_shared.training.loop import fit, resumable
from tools_shared.training.outcome import Start, merged, outcome, step_losses
from tools_shared.training.schedule import Scheduled
from tools_shared.training.trainer import prepare_accelerate, trainer_options

__all__ = [
    "WHOLE",
    "RunCallback",
    "Scheduled",
    "Start",
    "fit",
    "last_checkpoint",
    "merged",
    "outcome",
    "prepare_accelerate",
    "resumable",
    "resume_point",
    "step_losses",
    "step_of",
    "trainer_options",
    "without_printer",
]
