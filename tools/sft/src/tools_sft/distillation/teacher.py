"""Which teachers can be distilled from: those whose next-token probabilities are comparable with the student's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools_shared.errors import ToolError
from tools_shared.models import ModelRef, resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts import Profile
from tools_shared.prompts.ends import end_of_turn_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


OTHERWISE = "draw its answers with tools-traces and train on them with tools-sft --traces-file"


def find_teacher(
    base_model: str, teacher: str | None, profile: Profile, tokenizer: PreTrainedTokenizerBase
) -> ModelRef:
    """The teacher, found but not loaded; its number of tokens may be padded otherwise than the student's.

    Raises ToolError, with the way that is open to it, for a server and for a model that reads other tokens or was
    trained with another prompt profile.
    """
    if "://" in teacher:
        raise ToolError(f"--teacher {teacher}: a server does not give the probabilities of all tokens; {OTHERWISE}")
    ref = resolve(teacher)
    theirs = load_tokenizer(ref)
    if theirs.get_vocab() != tokenizer.get_vocab() or end_of_turn_id(theirs) != end_of_turn_id(tokenizer):
        raise ToolError(
            f"--teacher {teacher}: its tokenizer ({len(theirs)} tokens) is not that of {base_model} "
            f"({len(tokenizer)}), so their probabilities cannot be compared; {OTHERWISE}"
        )
    if ref.profile is not None and ref.profile != profile:
        raise ToolError(
            f"--teacher {teacher}: was trained with the prompt profile '{ref.profile.name}', the student uses "
            f"'{profile.name}'; start from a student of that profile, or {OTHERWISE}"
        )
    return ref
