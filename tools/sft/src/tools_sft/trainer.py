"""TRL's SFTTrainer with the schedule that all of our trainers follow."""

from __future__ import annotations

from trl import SFTTrainer

from tools_shared.training.schedule import Scheduled


class SftTrainer(Scheduled, SFTTrainer):
    """See `Scheduled`."""
