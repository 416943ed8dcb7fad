"""From sources to a decision for every training row: read, compare, decide. Nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tools_dedup.config import DedupConfig
from tools_dedup.containment.contains import Contained, Containment
from tools_dedup.decision.domains import stem_of
from tools_dedup.decision.plan import DedupPlan, choose
from tools_dedup.decision.rules import Judged, by_terms, by_vectors, exact_matches, judge
from tools_dedup.decision.verdicts import read_verdicts
from tools_dedup.decision.within import Repetition, repetitions
from tools_dedup.input.contents import Content, Keys
from tools_dedup.input.rows import Scan, Source, scan
from tools_dedup.lexical.evidence import Terms, count_terms
from tools_dedup.lexical.words import text_digest
from tools_dedup.output.paths import opened_embeddings
from tools_dedup.semantic.search import check_search, searchable
from tools_dedup.semantic.vectors import Embedder, SavedEmbeddings, Vectors, load_embeddings, save_embeddings
from tools_dedup.semantic.windows import Windowed, by_windows, split, starts_of
from tools_shared.errors import ToolError
from tools_shared.processes.ray_map import check_ray
from tools_shared.records import Origin, Row

if TYPE_CHECKING:
    import numpy as np

EXACT, CONTAINS, WITHIN, VERDICT = "exact", "contains", "within", "verdict"


@dataclass(frozen=True, slots=True)
class TestRow:
    """One usable row of a test set; `index` counts the usable rows of its set from 0."""

    __test__ = False

    set_name: str
    index: int
    origin: Origin
    content: Content


@dataclass
class Decisions:
    """For each distinct training text: the rule that says most about it, its best candidate, whether it goes."""

    rule: list[str]
    test: np.ndarray
    score: np.ndarray
    cosine: np.ndarray
    rank: np.ndarray
    features: np.ndarray
    goes: np.ndarray
    guarded: np.ndarray


@dataclass
class Analysis:
    """Everything that is known before the rows are written. `first_test[t]` is the first row with test text t."""

    config: DedupConfig
    train_source: Source
    train: Scan
    test_scans: Mapping[str, Scan]
    tests: list[TestRow]
    test_texts: list[str]
    first_test: list[int]
    plan: DedupPlan
    decisions: Decisions
    verdicts: Mapping[str, str] = field(default_factory=dict)
    contained: Mapping[int, Contained] = field(default_factory=dict)
    repetitions: Mapping[int, Repetition] = field(default_factory=dict)
    model_key: Mapping[str, Any] | None = None
    n_encoded: int = 0
    n_truncated: int = 0
    n_test_truncated: int = 0
    row_offset: int = 0
    has_options: bool | None = None

    def verdict(self, text_id: int) -> str | None:
        return self.verdicts.get(text_digest(self.train.texts[text_id]).hex()) if self.verdicts else None

    def contained_in(self, row: int) -> Contained | None:
        """The test text that occurs in a usable row, unless the row equals one."""
        equal = self.decisions.rule[self.train.text_ids[row]] == EXACT and self.decisions.goes[self.train.text_ids[row]]
        return None if equal else self.contained.get(self.train.positions[row])

    def removed_by(self, row: int) -> str | None:
        """The rule by which a usable row goes, None when it stays."""
        text_id = self.train.text_ids[row]
        verdict = self.verdict(text_id)
        if verdict == "remove":
            return VERDICT
        if verdict is None and self.contained_in(row):
            return CONTAINS
        if verdict is None and self.decisions.goes[text_id]:
            return self.decisions.rule[text_id]
        return WITHIN if row in self.repetitions else None


def analyse(
    train: Source,
    tests: Mapping[str, Source],
    config: DedupConfig,
    check: Callable[[Row], Any] | None = None,
    threshold: float | None = None,
) -> Analysis:
    """Decide on every training row. `check` may refuse a row by raising UnusableError; `threshold` takes the place of
    the rules'.

    Raises ToolError for whatever a user can have got wrong, before any model is loaded.
    """
    check_search(config.search)
    if config.engine == "ray":
        check_ray()
    saved = load_embeddings(config.load_embeddings) if config.load_embeddings else None
    verdicts = read_verdicts(config.verdicts) if config.verdicts else {}
    scans = {name: _scan_test(source, config) for name, source in tests.items()}
    check_tests(config.allow_incomplete_test, scans)
    rows, texts, first = _gather(scans)
    containment = Containment(texts)
    whole = _scan_train(train, config, check, containment)
    check_rejected(config.max_rejected, config.strict, whole, scans)
    plan = choose(config, saved.key if saved else None, texts, whole.texts)
    if threshold is not None:
        plan = replace(plan, rules=tuple(replace(rule, threshold=threshold) for rule in plan.rules))
    mine, offset = _shard(whole, config.shard_of)
    result = Analysis(config, train, mine, scans, rows, texts, first, plan, None, verdicts, row_offset=offset)
    result.contained = containment.found
    _decide(result, whole, saved)
    return result


def _scan_test(source: Source, config: DedupConfig) -> Scan:
    text = {"text": config.text_key, "template": config.template}
    keys = Keys(config.test_goal_key, config.test_steps_key, config.test_topic_key, **text, side="test")
    return scan(source, keys, with_contents=True).sample(config.max_test, config.seed)


def _scan_train(
    source: Source, config: DedupConfig, check: Callable[[Row], Any] | None, containment: Containment
) -> Scan:
    sort_key = config.keep if config.within and config.keep not in ("first", "longest") else None
    found = scan(source, train_keys(config), check=check, seen=containment.add, sort_key=sort_key)
    containment.flush()
    return found.sample(config.max_train, config.seed)


def train_keys(config: DedupConfig) -> Keys:
    text = {"text": config.text_key, "template": config.template}
    return Keys(config.train_goal_key, config.train_steps_key, config.train_topic_key, **text, side="train")


def check_tests(allow_incomplete_test: bool, tests: Mapping[str, Scan]) -> None:
    """Raises ToolError when a test row or file cannot be used: what repeats it would stay, unseen."""
    rejected = [r for found in tests.values() for r in found.rejected]
    if rejected and not allow_incomplete_test:
        first, n = rejected[0], len(rejected)
        raise ToolError(
            f"{first.origin}: {first.reason} ({n} test row{'s' * (n > 1)} cannot be used, and training rows that "
            "repeat them would stay); repair the test set, or run without them: --allow-incomplete-test"
        )


def check_rejected(max_rejected: int | None, strict: bool, train: Scan, tests: Mapping[str, Scan]) -> None:
    """Raises ToolError when more rows were rejected than the options allow."""
    rejected = [*train.rejected, *(r for found in tests.values() for r in found.rejected)]
    allowed = 0 if strict else max_rejected
    if allowed is not None and len(rejected) > allowed:
        flag = "--strict" if strict else f"--max-rejected {allowed}"
        first = rejected[0]
        raise ToolError(f"{first.origin}: {first.reason} ({len(rejected)} rows rejected, {flag} allows {allowed})")


def _gather(scans: Mapping[str, Scan]) -> tuple[list[TestRow], list[str], list[int]]:
    """All test rows, their distinct texts, and for each text its first row."""
    rows: list[TestRow] = []
    first: dict[str, int] = {}
    for name, found in scans.items():
        for i, content in enumerate(found.contents):
            first.setdefault(content.text, len(rows))
            rows.append(TestRow(name, i, found.origin(i), content))
    return rows, list(first), list(first.values())


def _shard(whole: Scan, shard: tuple[int, int]) -> tuple[Scan, int]:
    """The rows of one shard, which are neighbours in the source, and how many usable rows stand before them."""
    i, n = shard
    if n == 1:
        return whole, 0
    start, stop = whole.n_read * i // n, whole.n_read * (i + 1) // n
    rows = [row for row, position in enumerate(whole.positions) if start <= position < stop]
    if not rows:
        raise ToolError(f"--shard {i}/{n}: no usable row in this part; use fewer shards")
    mine = whole.only(rows)
    kept = [r for r, position in enumerate(whole.rejected_at) if start <= position < stop]
    mine.rejected = [whole.rejected[r] for r in kept]
    mine.n_read = stop - start
    mine.n_unsampled = mine.n_read - len(mine) - len(kept)
    return mine, rows[0]


def _decide(result: Analysis, whole: Scan, saved: SavedEmbeddings | None) -> None:
    config, plan, texts = result.config, result.plan, result.train.texts
    vectors = None
    with ThreadPoolExecutor(1) as beside:  # models let go of the interpreter, and words are compared meanwhile
        counted = beside.submit(_terms, whole, result) if any(rule.needs_terms for rule in plan.rules) else None
        equal = beside.submit(exact_matches, texts, result.test_texts) if plan.exact else None
        if plan.model:
            vectors = _window_vectors(result) if config.long == "chunk" else _vectors(result, saved)
    train_terms, test_terms = counted.result() if counted else (None, None)
    judged: list[Judged] = []
    for rule in plan.rules if result.test_texts else ():
        if rule.method == "semantic" and config.long == "chunk":
            candidates = by_windows(vectors[0], vectors[1], rule.top_k, config.chunk_size, config.search)
        elif rule.method == "semantic":
            corpus = searchable(vectors[1].all(), config.search)
            candidates = by_vectors(vectors[0], corpus, rule.top_k, config.chunk_size)
        else:
            candidates = by_terms(train_terms, test_terms, rule.top_k)
        judged.append(judge(rule, len(texts), candidates, train_terms, test_terms))
    result.decisions = combine(judged, equal and equal.result(), len(texts))
    if config.within:
        stays = [row for row in range(len(result.train)) if result.removed_by(row) is None]
        pinned = {row for row in stays if result.verdict(result.train.text_ids[row]) == "keep"}
        result.repetitions = repetitions(result.train, stays, pinned, plan, config, vectors and vectors[0], train_terms)


def _terms(whole: Scan, result: Analysis) -> tuple[Terms, Terms]:
    """Terms of the shard's texts and of the test texts; rarity is that of all texts, whatever the shard."""
    train, tests = count_terms(_stems(result, whole.texts), _stems(result, result.test_texts))
    if result.train is whole:
        return train, tests
    number = {text: i for i, text in enumerate(whole.texts)}
    chosen = [number[text] for text in result.train.texts]
    return train.take(chosen), tests


def _stems(result: Analysis, texts: Sequence[str]) -> Sequence[str]:
    """Multiple-choice questions without their options, where the test set has such and a calibrated rule compares.

    A plain cosine, stored vectors and --within compare whole texts.
    """
    config = result.config
    whole = config.within or config.save_embeddings or config.load_embeddings
    if whole or any(rule.calibration is None for rule in result.plan.rules):
        return texts
    if result.has_options is None:
        result.has_options = any(stem_of(text) != text for text in result.test_texts)
    return [stem_of(text) for text in texts] if result.has_options else texts


def _vectors(result: Analysis, saved: SavedEmbeddings | None) -> tuple[Vectors, Vectors]:
    config, train = result.config, result.train
    text_of = {text: i for i, text in enumerate(result.test_texts)}
    test_rows = [text_of[row.content.text] for row in result.tests]
    if saved:
        result.model_key = saved.key
        both = (
            saved.for_rows("train", train.text_ids, train.texts),
            saved.for_rows("test", test_rows, result.test_texts),
        )
    else:
        embedder = Embedder(result.plan.model, config)
        texts, test_texts = _stems(result, train.texts), _stems(result, result.test_texts)
        both = embedder.vectors(texts, "train"), embedder.vectors(test_texts, "test")
        result.model_key, result.n_encoded = embedder.key, embedder.n_encoded
        result.n_truncated, result.n_test_truncated = (found.n_truncated for found in both)
    if config.save_embeddings and not config.dry_run:
        with opened_embeddings(config.overwrite, config.save_embeddings) as path:
            save_embeddings(
                path, result.model_key, both[0], train.text_ids, train.texts, both[1], test_rows, result.test_texts
            )
    return both


def _window_vectors(result: Analysis) -> tuple[Windowed, Windowed]:
    embedder = Embedder(result.plan.model, result.config)
    both = []
    for label, texts in (("train", result.train.texts), ("test", result.test_texts)):
        windows, counts = split(texts, result.plan.model)
        both.append(Windowed(embedder.vectors(windows, label), starts_of(counts)))
    result.model_key, result.n_encoded = embedder.key, embedder.n_encoded
    return both[0], both[1]


def combine(judged: Sequence[Judged], exact: np.ndarray | None, n_texts: int) -> Decisions:
    """One decision a text: exact equality before all; of the others the first that removes it, else the first."""
    import numpy as np

    result = _as_decisions(judged[0]) if judged else _undecided(n_texts)
    for other in map(_as_decisions, judged[1:]):
        _take_over(result, other, np.flatnonzero(other.goes & ~result.goes))
    if exact is not None:
        for i in np.flatnonzero(exact >= 0):
            result.rule[i], result.test[i], result.score[i], result.goes[i] = EXACT, exact[i], 1.0, True
    return result


def _as_decisions(judged: Judged) -> Decisions:
    rules = [judged.method] * len(judged.test)
    return Decisions(
        rules, judged.test, judged.score, judged.cosine, judged.rank, judged.features, judged.goes, judged.guarded
    )


def _undecided(n: int) -> Decisions:
    import numpy as np

    nothing = np.full(n, np.nan)
    return Decisions(
        [EXACT] * n, np.full(n, -1), np.zeros(n), nothing, np.ones(n, dtype=np.int64), np.full((n, 5), np.nan),
        np.zeros(n, dtype=bool), np.zeros(n, dtype=bool),
    )  # fmt: skip


def _take_over(result: Decisions, other: Decisions, rows: Iterable[int]) -> None:
    for i in rows:
        result.rule[i] = other.rule[i]
        for name in ("test", "score", "cosine", "rank", "features", "goes", "guarded"):
            getattr(result, name)[i] = getattr(other, name)[i]
