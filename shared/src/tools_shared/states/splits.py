"""Which split a question falls into: the same whoever stores its traces."""

from __future__ import annotations

import hashlib

from tools_shared.records import text_id
from tools_shared.states.shards import Split

CALIBRATION_SHARE, TEST_SHARE = 0.15, 0.25


def question_key(question: str) -> str:
    """The id of a question's text; case and blanks do not count, so that its copies stay together."""
    return text_id(" ".join(question.casefold().split()))


def split_of(group: str, seed: int, calibration_share: float, test_share: float) -> Split:
    """The split of a group, from its hash alone: the same in every file and shard, whatever else is there."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8]) / 2**64
    if drawn < test_share:
        return "test"
    return "calibration" if drawn < test_share + calibration_share else "train"
