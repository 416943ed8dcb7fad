"""`tools-dedup calibrate`: from labelled pairs to a rule with a number behind it.

Positives are pairs of a rewording and its original. The background is a training set taken as clean: whatever is
flagged in it counts as a false alarm, though a few of its rows may really repeat a test question, so the flagged
share is an upper bound. Coefficients and threshold are chosen on the even pairs and even background rows; every
figure that is reported comes from the odd ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tools_dedup.config import DedupConfig
from tools_dedup.decision.calibration import LEXICAL, Calibration, fit
from tools_dedup.decision.domains import domains_of, profile, stem_of
from tools_dedup.input.contents import Content, Keys, content_of
from tools_dedup.input.rows import Scan, open_source, scan
from tools_dedup.lexical.evidence import FEATURES, Terms, count_terms, nearest_by_terms, pair_features, too_short
from tools_dedup.output.paths import TOOL
from tools_dedup.semantic.models import EncoderRef, find_model
from tools_dedup.semantic.search import nearest, searchable
from tools_dedup.semantic.vectors import Embedder
from tools_shared.config import option
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import write_json
from tools_shared.files.outputs import OverwriteConfig, output_files
from tools_shared.records import Row
from tools_shared.sources import files_among, lookup
from tools_shared.stats import wilson

if TYPE_CHECKING:
    import numpy as np

FEWEST_TEXTS = 20
_LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
CURVE_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class CalibrateConfig(OverwriteConfig):
    """Where the labelled pairs are, what is taken as clean data, and how much of it may be flagged."""

    TOOL: ClassVar[str] = "dedup_calibrate"

    pairs_path: str | None = option(None, "Labelled pairs: any source.")
    first_key: str = option("rephrased", "Dotted key of the text as a training set would contain it.")
    second_key: str = option("question", "Dotted key of the test text that it may repeat.")
    label_key: str | None = option(
        None, "Dotted key of the label (true or false). Default: every pair is a repetition."
    )
    data: str | None = option(
        None, "Background rows: a training set that is assumed clean. Any source.", aliases=("background_path",)
    )
    test_data: str | None = option(
        None, "Test set: any source. Default: the second texts only.", aliases=("test_path",)
    )
    text_key: str | None = option(None, "Dotted key of the text in background and test rows.")
    output_path: str | None = option(None, "Calibration file to write (JSON).")
    model: str | None = option(None, "Embedding model: folder or hub id. Default: none, words and numbers only.")
    max_flagged: float = option(0.01, "Largest share of background rows to flag.", minimum=1e-6, maximum=0.5)
    data_name: str | None = option(None, "Name of the data in the calibration. Default: their paths.")
    top_k: int = option(5, "Candidates scored per row.", minimum=1)
    dtype: Literal["auto", "fp32", "bf16"] = option("auto", "Number format of the model.")
    batch_size: int = option(64, "Texts per batch.", minimum=1)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Device of the model.")
    cache_dir: str | None = option(None, "Folder of the vector cache. Default: ~/.cache/tools-dedup.")


@dataclass(frozen=True)
class Pairs:
    """Labelled pairs: texts as in training, numbers of their originals among the test texts, labels."""

    first: list[str]
    second: list[int]
    labels: list[bool]


def calibrate(config: CalibrateConfig) -> dict[str, Any]:
    """Fit, choose and measure; writes and returns the calibration with its curve."""
    for name in ("pairs_path", "data", "output_path"):
        if not getattr(config, name):
            raise ToolError(f"--{name.replace('_', '-')} is needed")
    sources = (config.pairs_path, config.data, config.test_data)
    with output_files(
        f"{TOOL} calibrate", {"calibration": Path(config.output_path)}, flag="--output-path",
        inputs=files_among(*sources), overwrite=config.overwrite,
    ) as files:  # fmt: skip
        content = _calibration(config)
        write_json(files["calibration"], content)
    return content


def _calibration(config: CalibrateConfig) -> dict[str, Any]:
    model = find_model(config.model) if config.model else None
    tests = [stem_of(t) for t in _texts(config.test_data, config.text_key)] if config.test_data else []
    background = [stem_of(text) for text in _texts(config.data, config.text_key)]
    if len(background) < FEWEST_TEXTS:
        raise ToolError(
            f"{config.data}: {len(background)} different texts are too few to choose on half; "
            f"give {FEWEST_TEXTS}, better thousands"
        )
    pairs = _read_pairs(config, tests)
    figures = _figures(config, model, background, pairs, tests)
    result, report = _measure(config, model, figures, len(background), pairs)
    originals = [tests[number] for number in pairs.second]
    result = replace(result, domain=next(iter(domains_of(originals))), profile=profile(originals))
    return result.to_json() | report


def _texts(spec: str, key: str | None) -> list[str]:
    return _accounted(scan(open_source(spec), Keys(text=key, side=""))).texts


def _accounted(found: Scan) -> Scan:
    if found.rejected:
        first = found.rejected[0]
        say(f"warning: {len(found.rejected)} rows of {found.spec} are left out; {first.origin}: {first.reason}")
    return found


def _read_pairs(config: CalibrateConfig, tests: list[str]) -> Pairs:
    """The pairs; originals that no test row has are appended to `tests`."""
    number = {text: i for i, text in enumerate(tests)}
    pairs = Pairs([], [], [])
    first_key = Keys(text=config.first_key, text_flag="--first-key")

    def take(row: Row) -> None:
        second = stem_of(content_of(row.data, Keys(text=config.second_key, text_flag="--second-key")).text)
        first: Content = content_of(row.data, first_key)
        label = True if config.label_key is None else _label(row, config.label_key)
        if second not in number:
            number[second] = len(tests)
            tests.append(second)
        pairs.first.append(stem_of(first.text))
        pairs.second.append(number[second])
        pairs.labels.append(label)

    _accounted(scan(open_source(config.pairs_path), first_key, check=take))
    n_positive = sum(pairs.labels[0::2]), sum(pairs.labels[1::2])
    if min(n_positive) < FEWEST_TEXTS // 2:
        raise ToolError(
            f"{config.pairs_path}: {sum(n_positive)} repetitions are too few to choose on half; give {FEWEST_TEXTS}"
        )
    return pairs


def _label(row: Row, key: str) -> bool:
    try:
        value = lookup(row.data, key)
    except KeyError:
        raise ToolError(f"{row.origin}: no key '{key}'; give --label-key another") from None
    found = _LABELS.get(str(value).strip().lower())
    if found is None:
        raise ToolError(f"{row.origin}: '{key}' is {str(value)[:40]!r}; write true or false, or 1 or 0")
    return found


@dataclass(frozen=True)
class CalibrationFigures:
    """Candidates (rows, k) among the test texts and their five figures (rows, k, 5), NaN where there is none; the
    background's rows come first, then those of the pairs. `short` marks texts too short to be judged."""

    found: np.ndarray
    values: np.ndarray
    short: np.ndarray


def _figures(
    config: CalibrateConfig, model: EncoderRef | None, background: list[str], pairs: Pairs, tests: list[str]
) -> CalibrationFigures:
    import numpy as np

    texts = [*background, *pairs.first]
    train, test = count_terms(texts, tests)
    found, cosines = _candidates(config, model, texts, tests, train, test)
    values = np.full((*found.shape, len(FEATURES)), np.nan)
    short = np.zeros(found.shape, dtype=bool)
    at = np.nonzero(found >= 0)
    values[at] = pair_features(train, test, at[0], found[at], cosines[at])
    short[at] = too_short(train, test, at[0], found[at], values[at])
    return CalibrationFigures(found, values, short)


def _candidates(
    config: CalibrateConfig, model: EncoderRef | None, texts: list[str], tests: list[str], train: Terms, test: Terms
) -> tuple[np.ndarray, np.ndarray]:
    if model is None:
        return nearest_by_terms(train, test, config.top_k)
    same = ("dtype", "batch_size", "device", "cache_dir")
    embedder = Embedder(model, DedupConfig(**{name: getattr(config, name) for name in same}))
    vectors, corpus = embedder.vectors(texts, "background and pairs"), embedder.vectors(tests, "test")
    return nearest(vectors.block, len(texts), searchable(corpus.all(), "blocked"), config.top_k, 5000)


def _measure(
    config: CalibrateConfig, model: EncoderRef | None, figures: CalibrationFigures, n_background: int, pairs: Pairs
) -> tuple[Calibration, dict[str, Any]]:
    import numpy as np

    labels = np.array(pairs.labels)
    even = np.arange(len(figures.found)) % 2 == 0
    is_pair = np.arange(len(figures.found)) >= n_background
    even[is_pair] = np.arange(len(labels)) % 2 == 0
    positive = np.zeros(len(even), dtype=bool)
    positive[is_pair] = labels
    weights, intercept = fit(*_design(figures, pairs, n_background, even))
    coefficients = dict(zip(FEATURES, weights.round(4).tolist(), strict=True))
    rough = Calibration("", "", coefficients, round(intercept, 4), 0.5, {})
    scores = _best(np.where(figures.short, 0.0, rough.probability(figures.values)), figures.found)
    clean = ~is_pair
    threshold = _share_threshold(scores[clean & even], config.max_flagged)
    report = {
        "recall": _rate(scores[positive & ~even] >= threshold),
        "flagged": _rate(scores[clean & ~even] >= threshold),
        "recall_on_chosen_half": _rate(scores[positive & even] >= threshold),
        "max_flagged": config.max_flagged,
        "cosine_alone": _cosine_alone(config.max_flagged, figures, clean, positive, even),
        "data": config.data_name or f"{config.pairs_path} in {config.data}",
        "halves": "chosen on even pairs and even background rows, reported on the odd ones",
    }
    if not labels.all():
        negative = is_pair & ~positive & ~even
        hits = (scores[positive & ~even] >= threshold).sum(), (scores[negative] >= threshold).sum()
        if sum(hits):
            report["precision_on_pairs"] = _rate(np.repeat([True, False], hits))
    name = Path(config.model).name if config.model else "words and numbers"
    fingerprint = model.fingerprint if model else LEXICAL
    made = Calibration(name, fingerprint, coefficients, round(intercept, 4), threshold, report)
    return made, {"curve": curve(scores[clean & ~even], scores[positive & ~even])}


def _design(
    figures: CalibrationFigures, pairs: Pairs, n_background: int, even: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every candidate of the chosen half's background as a negative, each pair's own original by its label."""
    import numpy as np

    own = np.full(len(even), -2)
    own[n_background:] = pairs.second
    is_own = figures.found == own[:, None]
    use = (figures.found >= 0) & even[:, None]
    use[n_background:] &= is_own[n_background:]
    label = np.zeros(use.shape)
    label[n_background:] = np.array(pairs.labels)[:, None]
    return figures.values[use], label[use]


def _best(scores: np.ndarray, found: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.where(found >= 0, scores, -1.0).max(axis=1)


def _share_threshold(clean: np.ndarray, share: float) -> float:
    """The lowest score that flags at most this share of clean rows."""
    import numpy as np

    ordered = np.sort(clean)[::-1]
    n_allowed = int(share * len(ordered))
    return float(round(ordered[n_allowed] + 1e-6, 6))


def _cosine_alone(
    max_flagged: float, figures: CalibrationFigures, clean: np.ndarray, positive: np.ndarray, even: np.ndarray
) -> dict[str, Any]:
    """What the plain rule `cosine >= threshold` reaches, chosen and reported in the same way."""
    scores = _best(figures.values[:, :, 0], figures.found)
    threshold = _share_threshold(scores[clean & even], max_flagged)
    return {
        "threshold": threshold,
        "recall": _rate(scores[positive & ~even] >= threshold),
        "flagged": _rate(scores[clean & ~even] >= threshold),
        "curve": curve(scores[clean & ~even], scores[positive & ~even]),
    }


def curve(clean: np.ndarray, positive: np.ndarray) -> list[dict[str, float]]:
    """For each flagged share: the threshold that gives it on clean rows, recall, and precision in the mixture."""
    points = []
    for share in CURVE_SHARES:
        threshold = _share_threshold(clean, share)
        n_true, n_false = int((positive >= threshold).sum()), int((clean >= threshold).sum())
        points.append(
            {
                "flagged": round(n_false / len(clean), 6),
                "threshold": threshold,
                "recall": round(n_true / len(positive), 6),
                "precision": round(n_true / max(1, n_true + n_false), 6),
            }
        )
    return points


def _rate(hits: Sequence[bool]) -> dict[str, float]:
    """A share with its 95 % Wilson interval."""
    rate = wilson(int(sum(hits)), len(hits))
    return {"estimate": round(rate.estimate, 6), "low": round(rate.low, 6), "high": round(rate.high, 6), "n": len(hits)}
