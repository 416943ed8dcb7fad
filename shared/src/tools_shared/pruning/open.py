"""From `--prune` to the rules at work on a model."""

from __future__ import annotations

from tools_shared.errors import ToolError
from tools_shared.models import ModelRef
from tools_shared.prompts import Profile
from tools_shared.pruning.rules import Rules
from tools_shared.pruning.watch import Watcher
from tools_shared.scorers.scorer import Scorer, load_scorer
from tools_shared.states.reader import reader_sha256


def open_watcher(
    rules: Rules | None, ref: ModelRef, profile: Profile, n_samples: int, dtype: str = "auto", device: str = "auto"
) -> Watcher | None:
    """The rules at work on a model's samples, `n_samples` of each question; None without rules.

    Raises ToolError for a scorer that is missing or was trained on the states of another model.
    """
    if rules is None:
        return None
    from tools_shared.models.load import kv_bytes, load_config, load_tokenizer, sampling_dtype

    scorer = load_scorer(rules.scorer) if rules.scorer is not None else None
    if scorer is not None:
        _check_reader(scorer, ref)
    token_bytes = kv_bytes(load_config(ref), sampling_dtype(ref, dtype, device))
    return Watcher(rules, load_tokenizer(ref), profile, n_samples, token_bytes, scorer)


def _check_reader(scorer: Scorer, ref: ModelRef) -> None:
    if scorer.facts.read_at == "end":
        raise ToolError(
            f"{scorer.path}: reads the end of the reasoning alone, and a rule stops a trace before it; train it with "
            "--read-at steps"
        )
    wanted, found = str(scorer.facts.reader["reader_sha256"]), reader_sha256(ref)
    if wanted != found:
        raise ToolError(
            f"{scorer.path}: reads the states of {scorer.facts.reader['model']} (sha256 {wanted[:16]}), and {ref.spec} "
            f"has other weights ({found[:16]}); sample with that model, or train a scorer for this one"
        )
