"""Which attempts are needed, which become rows, and the figures: pure functions."""

import json

import pytest

from tools_shared.engines import Completion, Draw
from tools_shared.errors import ToolError
from tools_shared.prompts import PROFILES, Prompt
from tools_shared.records import Problem
from tools_shared.sources import read_problems
from tools_traces.attempts.grading import grader
from tools_traces.attempts.journal import FILE, Attempt, AttemptJournal
from tools_traces.attempts.schedule import n_wanted
from tools_traces.config import OutputConfig, TracesConfig
from tools_traces.output.rows import Provenance, Written, equations, outcomes, rows
from tools_traces.output.summary import statistics

PROFILE = PROFILES["gsm8k-tags"]
ORIGIN = Provenance(7, "abc", PROFILE)


def problem(name="p", question="How many?", answer="5", reasoning="2+3=5."):
    return Problem(name, question, answer, reasoning)


def attempt(sample, verified, reasoning="2+3=5.", n_tokens=10, name="p", finish="stop"):
    verdict = "correct" if verified else "wrong"
    return Attempt(name, sample, f"r{sample}", reasoning, "5", verdict, verified, finish, n_tokens)


def journal(*attempts):
    return {(a.id, a.sample): a for a in attempts}


@pytest.mark.parametrize(
    ("verified", "goal", "most", "wanted"),
    [
        ({}, 1, 5, 1),
        ({0: False}, 1, 5, 2),
        ({0: False, 1: True}, 1, 5, 2),
        ({0: True}, 1, 5, 1),
        (dict.fromkeys(range(5), False), 1, 5, 5),
        ({}, 2, 5, 2),
        ({0: True, 1: False, 2: False}, 2, 5, 4),
        ({1: False}, 2, 5, 3),
        ({}, 9, 5, 5),
        ({0: True}, None, 4, 4),
    ],
)
def test_how_many_attempts_a_question_needs(verified, goal, most, wanted):
    assert n_wanted(verified, goal, most) == wanted


ATTEMPTS = [
    attempt(0, False),
    attempt(1, True, "2+3 = 5.", 30),
    attempt(2, True, "2 + 3=5. So five.", 12),
    attempt(3, True, "1+4=5.", 20),
]


@pytest.mark.parametrize(
    ("keep", "kept"), [("first", [1]), ("k:2", [1, 2]), ("all", [1, 2, 3]), ("shortest", [2]), ("diverse", [1, 3])]
)
def test_keep(keep, kept):
    (outcome,) = outcomes([problem()], journal(*ATTEMPTS), OutputConfig(keep=keep), 4)
    assert [a.sample for a in outcome.chosen] == kept


def test_attempts_that_were_not_needed_are_left_out():
    """A sample under way when its question was done changes neither rows nor counts."""
    (outcome,) = outcomes([problem()], journal(attempt(0, True), attempt(1, True)), OutputConfig(), 5)
    assert len(outcome.attempts) == 1


def test_rows_are_read_back_as_problems(tmp_path):
    messy = attempt(0, True, "Line one.\n#### not this\nLine 2")
    (outcome,) = outcomes([problem(answer="1,000")], journal(messy), OutputConfig(), 1)
    (row,) = rows([outcome], OutputConfig(), ORIGIN, Written())
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (read,) = read_problems(tmp_path / "rows.jsonl").items
    assert (read.reasoning, read.answer, read.id) == ("Line one.\n#### not this\nLine 2", "5", "p")
    assert {"question", "response", "ground_truth", "extracted_answer"} <= row.keys()
    assert row["source"] == "model"
    assert (row["attempt"], row["n_attempts"], row["n_correct"]) == (1, 1, 1)


def test_a_fallback_is_marked_and_never_a_success():
    found = outcomes([problem()], journal(attempt(0, False)), OutputConfig(), 1)
    counts = Written()
    (row,) = rows(found, OutputConfig(), ORIGIN, counts)
    figures = statistics(found, counts, 1, 1)
    assert (row["source"], row["answer"], row["attempt"]) == ("original", "2+3=5.\n\n#### 5", None)
    assert PROFILE.parse(row["response"]).well_formed
    assert (figures["grpo_successes"], figures["fallback_count"], figures["success_rate"]) == (0, 1, 0.0)
    assert list(rows(found, OutputConfig(fallback="skip"), ORIGIN, Written())) == []


def test_dedup_leaves_out_the_same_reasoning_to_the_same_question():
    twins = [problem("p"), problem("q", "HOW  many?")]
    config, counts = OutputConfig(dedup=True), Written()
    found = outcomes(twins, journal(attempt(0, True), attempt(0, True, name="q")), config, 1)
    assert [row["id"] for row in rows(found, config, ORIGIN, counts)] == ["p"]
    assert (counts.duplicates, counts.without_row) == (1, 1)
    assert len(list(rows(found, OutputConfig(), ORIGIN, Written()))) == 2


def test_pass_rates_leave_out_what_is_too_easy_or_too_hard():
    config, counts = OutputConfig(min_pass_rate=0.3, max_pass_rate=0.8), Written()
    easy = [attempt(k, True, name="easy") for k in range(4)]
    hard = [attempt(k, False, name="hard") for k in range(4)]
    middle = [attempt(k, k % 2 == 0, name="middle") for k in range(4)]
    found = outcomes([problem(n) for n in ("easy", "hard", "middle")], journal(*easy, *hard, *middle), config, 4)
    assert [row["id"] for row in rows(found, config, ORIGIN, counts)] == ["middle"]
    assert (counts.rows, counts.outside_pass_rate, counts.without_row) == (1, 2, 2)


def test_a_trace_that_a_scorer_left_out_was_correct_all_the_same():
    found = outcomes([problem()], journal(attempt(0, True), attempt(1, False)), OutputConfig(), 2, {("p", 0)})
    (row,) = rows(found, OutputConfig(), ORIGIN, Written())
    assert (row["source"], row["n_attempts"], row["n_correct"]) == ("original", 1, 1)


def test_figures():
    solved = [attempt(0, False, finish="length"), attempt(1, True)]
    failed = [attempt(k, False, name="q") for k in range(4)]
    found = outcomes([problem(), problem("q")], journal(*solved, *failed), OutputConfig(), 4)
    counts = Written()
    list(rows(found, OutputConfig(), ORIGIN, counts))
    figures = statistics(found, counts, 1, 4)
    assert (figures["total_samples"], figures["grpo_successes"], figures["fallback_count"]) == (2, 1, 1)
    assert (figures["avg_attempts_for_successes"], figures["avg_attempts_overall"]) == (2.0, 3.0)
    assert figures["pass_at_k"] == {"1": 0.0, "2": 0.5, "4": 0.5}
    assert figures["attempts_histogram"] == {"2": 1, "4": 1}
    assert (figures["tokens_generated"], figures["tokens_saved"], figures["attempts_truncated"]) == (60, 20, 1)
    all_drawn = outcomes([problem()], journal(*ATTEMPTS), OutputConfig(keep="all"), 4)
    assert statistics(all_drawn, counts, None, 4)["pass_at_k"] == {"1": 0.75, "2": 1.0, "4": 1.0}


def test_equations():
    assert equations("He has 2 + 3 = 5 apples, then 5*4=20.") == ("2+3=5", "5*4=20")
    assert equations("Five,  clearly") == ("five, clearly",)


def graded(text, opens=False, answer="5"):
    prompt = Prompt("...<start_working_out>" if opens else "...", (1,), opens)
    draw = Draw(prompt, "p", 0)
    return grader(PROFILE, True)(problem(answer=answer), prompt, draw, Completion(text, (1, 2), "stop"))


def test_a_prompt_that_opens_the_thinking_tag():
    """Here the known script found no reasoning and silently returned the original answers as successes."""
    mine = graded("2+3=5.<end_working_out><SOLUTION>5</SOLUTION>", opens=True)
    assert mine.verified
    assert mine.reasoning == "2+3=5."
    assert mine.response == "<start_working_out>2+3=5.<end_working_out><SOLUTION>5</SOLUTION>"
    assert mine.token_ids == (1, 2)


def test_a_server_that_opens_the_thinking_tag_out_of_sight():
    unseen, draw = Prompt("...", ()), Draw(Prompt("...", ()), "p", 0)
    text = "2+3=5.<end_working_out><SOLUTION>5</SOLUTION>"
    mine = grader(PROFILE, False)(problem(), unseen, draw, Completion(text, (), "stop"))
    assert mine.verified
    assert mine.response == "<start_working_out>" + text
    assert not graded(text).verified


@pytest.mark.parametrize(
    "text",
    [
        "<start_working_out>2+3=5.<end_working_out><SOLUTION>6</SOLUTION>",
        "<start_working_out>2+3=5.<end_working_out>5",
        "<start_working_out>2+3=5. <SOLUTION>5</SOLUTION>",
        "<start_working_out> <end_working_out><SOLUTION>5</SOLUTION>",
        "<start_working_out>a<end_working_out><SOLUTION>5</SOLUTION> and more",
        "",
    ],
)
def test_what_is_not_verified(text):
    assert not graded(text).verified


def test_a_torn_journal_is_repaired_at_every_byte(tmp_path):
    path = tmp_path / FILE
    whole = [attempt(0, True), attempt(1, False, "ünï 5")]
    with AttemptJournal(path) as journal:
        for one in whole:
            journal.add(one)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for cut in range(first, len(content)):
        path.write_bytes(content[:cut])
        with AttemptJournal(path) as journal:
            assert list(journal.attempts.values()) == whole[:1]
            journal.add(whole[1])
        assert path.read_bytes() == content


def test_a_broken_line_inside_the_journal_is_named(tmp_path):
    (tmp_path / FILE).write_text("{]\n")
    with pytest.raises(ToolError, match=r"attempts\.jsonl:1: not a graded attempt"):
        AttemptJournal(tmp_path / FILE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_attempts": 0}, "--max-attempts must be at least 1, got 0"),
        ({"keep": "k:0"}, "--keep must be first, shortest, all, diverse or k:N with N at least 1, got 'k:0'"),
        ({"shard": "2/2"}, "--shard is i/n with i from 0 to n-1, such as 0/4, got '2/2'"),
        ({"output_file": "a/b.jsonl"}, "--output-file 'a/b.jsonl': give a name"),
        ({"output_file": "attempts.jsonl"}, "--output-file 'attempts.jsonl': a run has a file of this name"),
        ({"output_file": "run.json"}, "--output-file 'run.json': a run has a file of this name"),
        ({"top_p": 0.0}, "--top-p must be between 0.0001 and 1, got 0.0"),
        ({"min_pass_rate": 0.9, "max_pass_rate": 0.1}, "--min-pass-rate 0.9 is above --max-pass-rate 0.1"),
        ({"data": "x.jsonl", "dataset_split": "train"}, "--dataset-split train: x.jsonl is a file"),
        ({"data": "demo://problems?split=test", "dataset_split": "train"}, "names the split 'test'"),
    ],
)
def test_options_that_cannot_be_meant(options, message):
    with pytest.raises(ToolError, match=message.replace("?", r"\?")):
        TracesConfig(**options)


def test_the_split_goes_into_the_address():
    assert TracesConfig(dataset_split="test").source == ("demo://problems?size=2048&split=test",)
    (address,) = TracesConfig(data="hf://openai/gsm8k?config=main&split=test", dataset_split="test").source
    assert address.count("split") == 1
