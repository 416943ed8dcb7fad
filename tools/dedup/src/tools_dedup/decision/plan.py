"""Which rules a run applies: from the options, and from which models can be had here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools_dedup.config import DEFAULT_MODEL, DEFAULT_MODEL_THRESHOLD, DedupConfig
from tools_dedup.decision.calibration import LEXICAL, Calibration, read_calibration, shipped
from tools_dedup.decision.domains import MIXED, domains_of, profile, unlike
from tools_dedup.decision.rules import Rule
from tools_dedup.semantic.models import EncoderRef, find_default_model, find_model
from tools_shared.errors import ToolError

NO_MODEL = (
    f"no embedding model: none was given, and {DEFAULT_MODEL} is neither installed nor reachable. Rows are compared by "
    "their words and numbers; a test question told in quite other words, or in another language, is not seen. "
    "Give --model FOLDER to see those too"
)


@dataclass(frozen=True)
class DedupPlan:
    """The methods of a run. `rules` has one for each of lexical and semantic that is among them."""

    exact: bool
    rules: tuple[Rule, ...]
    model: EncoderRef | None
    warnings: tuple[str, ...] = ()
    domain: str = "mathematics"

    @property
    def methods(self) -> list[str]:
        return ["exact"] * self.exact + [rule.method for rule in self.rules]


def choose(
    config: DedupConfig, saved_key: Mapping[str, Any] | None, tests: Sequence[str], train: Sequence[str]
) -> DedupPlan:
    """The plan for the texts of the test sets, or without any for those of the training set.

    Raises ToolError when a method was asked for that needs a model which is not there.
    """
    warnings: list[str] = []
    model = _model(config, saved_key)
    methods = config.method or ("exact", "semantic" if model else "lexical")
    if not config.method and model is None:
        _refuse_vectors(config.save_embeddings, config.threshold)
        warnings.append(NO_MODEL)
    if "semantic" in methods and model is None:
        raise ToolError(f"--method semantic needs a model and {DEFAULT_MODEL} is not reachable; give --model FOLDER")
    own = _own_calibration(config.calibration, config.threshold, model, methods)
    texts, whose = (tests, "test") if tests else (train, "training")
    domain = _domain(config.calibration, config.domain, texts, whose, warnings)
    scored = [name for name in ("semantic", "lexical") if name in methods]
    rules = [_rule(name, config, model, own, domain, warnings) for name in scored]
    if any(rule is None for rule in rules):
        rules = [_cosine_rule(config.guard, config.top_k, 1.0), _lexical_rule(config, None, domain)]
    rules = _compared(rules, texts, warnings)
    if config.search == "approximate" and (not rules or rules[0].method != "semantic"):
        raise ToolError("--search approximate compares a model's vectors and this run has none; give --model FOLDER")
    return DedupPlan("exact" in methods, tuple(rules), model, tuple(warnings), domain)


def _domain(
    calibration: str | None,
    domain: str,
    texts: Sequence[str],
    whose: str,
    warnings: list[str],
) -> str:
    """That of --domain, else what most of the texts are; a second one with many of them is said."""
    if domain != "auto":
        return domain
    first, *others = domains_of(texts).items()
    if others and others[0][1] >= MIXED and calibration is None:
        shares = ", ".join(f"{100 * share:.0f} % {name}" for name, share in (first, *others))
        warnings.append(
            f"the {whose} texts are mixed ({shares}) and the rule for {first[0]} decides on all; run each kind alone "
            "for its own rule, or choose with --domain"
        )
    return first[0]


def _compared(rules: list[Rule], texts: Sequence[str], warnings: list[str]) -> list[Rule]:
    """The rules, marked where the texts are unlike those of their calibration."""
    result, mine = [], None
    for rule in rules:
        if rule.calibration and rule.calibration.profile:
            mine = mine or profile(texts)
            if different := unlike(mine, rule.calibration.profile):
                rule = replace(rule, unlike=True)
                warnings.append(
                    f"the texts are unlike those that the {rule.method} rule was measured on "
                    f"({rule.calibration.measured['data']}): {'; '.join(different)}. Its score is no probability here "
                    "and what it finds is not known; make a rule with tools-dedup calibrate"
                )
        result.append(rule)
    return result


def _refuse_vectors(save_embeddings: str | None, threshold: float | None) -> None:
    """Raises ToolError for options that need the vectors of a model, where there is none."""
    for flag, value in (("--threshold", threshold), ("--save-embeddings", save_embeddings)):
        if value is not None:
            raise ToolError(
                f"{flag} {value} needs the vectors of a model: none was given, and {DEFAULT_MODEL} is neither "
                "installed nor reachable; give --model FOLDER, or --method lexical to compare words and numbers"
            )


def _model(config: DedupConfig, saved_key: Mapping[str, Any] | None) -> EncoderRef | None:
    if config.method and "semantic" not in config.method:
        if config.model or config.load_embeddings or config.save_embeddings:
            raise ToolError("--model and embeddings serve --method semantic; add it, or leave them out")
        return None
    given = find_model(config.model) if config.model else None
    if saved_key is None:
        return given or find_default_model()
    if given and given.fingerprint != saved_key["fingerprint"]:
        raise ToolError(
            f"{config.load_embeddings}: its vectors are of {saved_key['model']}, not of {config.model} "
            "(the weights differ); encode again"
        )
    return given or EncoderRef(
        saved_key["model"], Path(), saved_key["kind"], saved_key["fingerprint"], saved_key["max_tokens"]
    )


def _own_calibration(
    calibration: str | None, threshold: float | None, model: EncoderRef | None, methods: tuple[str, ...]
) -> Calibration | None:
    """That of --calibration. Raises ToolError when it serves none of the methods."""
    if calibration is None:
        return None
    own = read_calibration(calibration)
    given = f"--calibration {calibration} was made for {own.model}"
    if own.fingerprint == LEXICAL:
        if "lexical" not in methods:
            raise ToolError(f"{given}; add --method lexical, or make one with tools-dedup calibrate --model")
    elif "semantic" not in methods:
        raise ToolError(f"{given} and this run has no model; give --model, or leave it out")
    elif own.fingerprint != model.fingerprint:
        raise ToolError(f"{given}, not for {model.name}; make one with tools-dedup calibrate --model")
    elif threshold is not None:
        raise ToolError(f"{given} and has a threshold of its own, --threshold is a plain cosine; leave one of them out")
    return own


def _rule(
    name: str,
    config: DedupConfig,
    model: EncoderRef | None,
    own: Calibration | None,
    domain: str,
    warnings: list[str],
) -> Rule | None:
    """A method's rule; None for a model without a threshold, after a warning."""
    if name == "lexical":
        return _lexical_rule(config, own, domain)
    if config.threshold is not None:
        return _cosine_rule(config.guard, config.top_k, config.threshold)
    calibration = own if own and own.fingerprint != LEXICAL else shipped(domain).get(model.fingerprint)
    if calibration:
        return Rule("semantic", calibration.threshold, calibration, "numbers" in config.guard, config.top_k)
    if model.name == DEFAULT_MODEL:
        return _cosine_rule(config.guard, config.top_k, DEFAULT_MODEL_THRESHOLD)
    warnings.append(
        f"NOT CALIBRATED: no threshold is known for {model.name}, and one of another model means nothing. Rows go by "
        "their words and numbers; the cosines are only written down. Give --threshold, or make a calibration with "
        "tools-dedup calibrate and give it with --calibration"
    )
    return None


def _cosine_rule(guard: tuple[str, ...], top_k: int, threshold: float) -> Rule:
    return Rule("semantic", threshold, None, "numbers" in guard, top_k)


def _lexical_rule(config: DedupConfig, own: Calibration | None, domain: str) -> Rule:
    calibration = own if own and own.fingerprint == LEXICAL else shipped(domain)[LEXICAL]
    alone = config.method and "semantic" not in config.method
    threshold = config.threshold if alone and config.threshold is not None else calibration.threshold
    return Rule("lexical", threshold, calibration, "numbers" in config.guard, config.top_k)
