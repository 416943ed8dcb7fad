"""The figures that stand beside the scores, measured again on the labelled data; and that each rule is the one which
one half of the data chooses from its family."""

import csv
import hashlib
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tools_bench.grading.detectors import AGREEMENT, is_socratic, refuses, reveals_answer
from tools_bench.grading.detectors.refusal import _PATTERNS
from tools_bench.grading.detectors.text import is_question, numbers, plain, sentences

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the labelled data (../shared/data) is not on this machine"),
]


class Labelled:
    """Texts with labels, cut in two by a hash of the dialogue: rules are chosen on half 0 and judged on half 1."""

    def __init__(self, rows):
        """`rows`: (text and whatever the detector needs, label, dialogue)."""
        self.given = [row[0] for row in rows]
        self.label = np.array([row[1] for row in rows])
        self.dialogue = np.array([row[2] for row in rows])
        self.half = np.array([hashlib.sha256(row[2].encode()).digest()[0] % 2 for row in rows])

    def says(self, detector):
        return np.array([detector(*given) for given in self.given])

    def balanced(self, said, where=None):
        """Balanced accuracy in percent, on the rows `where` (default: all)."""
        said, label = (said, self.label) if where is None else (said[where], self.label[where])
        return 50 * (said[label].mean() + (~said[~label]).mean())

    def interval(self, said, half=1, n=2000):
        """The 95 % bootstrap interval over dialogues, on one half."""
        rng = np.random.default_rng(0)
        names = np.unique(self.dialogue[self.half == half])
        rows = [np.flatnonzero(self.dialogue == name) for name in names]
        drawn = [np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(n)]
        return np.percentile([self.balanced(said, where) for where in drawn], [2.5, 97.5])

    def agrees_with(self, known, said):
        assert len(self.given) == known.n
        assert sum(self.half) == known.n_held_out
        assert self.balanced(said) == pytest.approx(known.balanced_accuracy, abs=0.05)
        assert self.balanced(said, self.half == 0) == pytest.approx(known.chosen_on, abs=0.05)
        assert self.balanced(said, self.half == 1) == pytest.approx(known.held_out, abs=0.05)
        assert self.interval(said) == pytest.approx(known.interval, abs=0.3)

    def best(self, candidates, where=None):
        """The highest balanced accuracy of the candidates on half 0."""
        where = self.half == 0 if where is None else where & (self.half == 0)
        return max(self.balanced(said, where) for said in candidates)


@pytest.fixture(scope="module")
def replies():
    rows = []
    for dialogue in json.loads((DATA / "tutoring/mrbench_v2_first100.json").read_text()):
        solution = dialogue["Ground_Truth_Solution"].strip()
        gold = None if solution == "Not Available" else solution.split("\n")[-1].strip()
        said = dialogue["conversation_history"]
        for reply in dialogue["anno_llm_responses"].values():
            revealed = reply["annotation"]["Revealing_of_the_Answer"] != "No"
            rows.append(((reply["response"], gold, said), revealed, said))
    return Labelled(rows)


@pytest.fixture(scope="module")
def moves():
    rows = []
    for line in (DATA / "tutoring/mathdial_test_first300.jsonl").open():
        dialogue = json.loads(line)
        for turn in dialogue["conversation"].split("|EOM|"):
            found = re.match(r"\s*Teacher: \((focus|probing|telling)\)(.*)", turn, re.DOTALL)
            if found:
                rows.append(((found[2].strip(),), found[1] != "telling", dialogue["question"]))
    return Labelled(rows)


@pytest.fixture(scope="module")
def completions():
    with (DATA / "safety/xstest_mistralinstruct_labelled.csv").open(newline="") as file:
        return Labelled(
            [((r["completion"],), not r["final_label"].startswith("1"), r["prompt"]) for r in csv.DictReader(file)]
        )


def subsets(items, least=0):
    return itertools.chain.from_iterable(itertools.combinations(items, k) for k in range(least, len(items) + 1))


def test_reveal_detector(replies):
    said = replies.says(reveals_answer)
    known = AGREEMENT["reveal"]
    replies.agrees_with(known, said)
    assert known.held_out > 62.2
    with_gold = np.array([gold is not None for _, gold, _ in replies.given])
    assert with_gold.sum() == 552
    assert replies.balanced(said, with_gold) > 87


def test_the_reveal_rule_is_the_one_chosen(replies):
    """Where no answer is known: of all sentences or those that are no questions, new numbers or not, and any of six
    assertions, 254 rules."""
    asserts = [
        r"\bactually\b", r"\bthe (?:correct |right |final )?answer (?:is|should be|would be)\b", r"\bcalled an?\b",
        r"=|\bequals\b", r"\bso (?:the|it|you)\b", r"\bthat(?: is|'s)\b",
    ]  # fmt: skip
    signs = []
    for only_statements in (False, True):
        parts = [[s for s in sentences(r) if not (only_statements and is_question(s))] for r, _, _ in replies.given]
        known = [numbers(said) for _, _, said in replies.given]
        new = np.array([any(numbers(s) - k for s in p) for p, k in zip(parts, known, strict=True)])
        found = [np.array([any(re.search(a, s, re.IGNORECASE) for s in p) for p in parts]) for a in asserts]
        signs.append((new, found))
    candidates = [
        np.logical_or.reduce([*([new] if with_new else []), *chosen])
        for new, found in signs
        for with_new in (False, True)
        for chosen in subsets(found, least=not with_new)
    ]
    assert len(candidates) == 254
    unknown = np.array([gold is None for _, gold, _ in replies.given])
    mine = replies.balanced(replies.says(reveals_answer), unknown & (replies.half == 0))
    assert mine == pytest.approx(replies.best(candidates, unknown))


def test_socratic_detector(moves):
    known = AGREEMENT["socratic"]
    moves.agrees_with(known, moves.says(is_socratic))
    assert moves.balanced(moves.says(lambda reply: "?" in reply), moves.half == 1) < known.held_out


def test_the_socratic_rule_is_the_one_chosen(moves):
    """Of a question mark or a question's words, and any of six ways of telling, 128 rules."""
    from tools_bench.grading.detectors.socratic import _ASKS

    tells = [
        "=", r"\bso (?:the|it|he|she|they|you)\b", r"\bbecause\b", r"\bthe answer is\b",
        r"\bwhich (?:is|means|gives)\b", r"\bthat'?s (?:correct|right)\b",
    ]  # fmt: skip
    asks = [moves.says(lambda reply: "?" in reply), moves.says(lambda reply: bool(_ASKS.search(reply)))]
    told = [moves.says(lambda reply, t=t: bool(re.search(t, reply, re.IGNORECASE))) for t in tells]
    none = np.zeros(len(moves.label), bool)
    candidates = [ask & ~np.logical_or.reduce([none, *chosen]) for ask in asks for chosen in subsets(told)]
    assert len(candidates) == 128
    mine = moves.balanced(moves.says(is_socratic), moves.half == 0)
    assert mine == pytest.approx(moves.best(candidates))


def test_refusal_detector(completions):
    said = completions.says(refuses)
    known = AGREEMENT["refusal"]
    completions.agrees_with(known, said)
    assert (said == completions.label).mean() > 0.884
    assert (said == completions.label)[completions.half == 1].mean() > 0.884


def test_the_refusal_rule_is_one_of_those_chosen(completions):
    """Of eleven patterns, any of them, in the first 100, 200 or 400 characters or everywhere, 8,188 rules; many are
    as good on half 0, and the one with all patterns is taken."""
    texts = [plain(text) for (text,) in completions.given]
    best = 0
    for length in (100, 200, 400, 20_000):
        found = [np.array([bool(re.search(p, t[:length], re.IGNORECASE)) for t in texts]) for p in _PATTERNS]
        best = max(best, completions.best(np.logical_or.reduce(chosen) for chosen in subsets(found, least=1)))
    mine = completions.balanced(completions.says(refuses), completions.half == 0)
    assert mine == pytest.approx(best)
