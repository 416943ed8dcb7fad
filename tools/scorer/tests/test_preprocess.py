import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_scorer.cli import main
from tools_scorer.config.states import PreprocessConfig
from tools_scorer.preprocess import preprocess
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.models import resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts import PROFILES
from tools_shared.states.steps import boundary_tokens, encode, parse_delimiter, step_ends, token_ends

CALL = Invocation("tools-scorer", "0.1.0")
OPEN, CLOSE = "<start_working_out>", "<end_working_out>"
REASONING = "Add 2 and 3.\n\nThat is 5.\n\n\nSo 5"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(resolve("demo"))


def attempt(**changes) -> dict:
    row = {
        "question": "What is 2 + 3?",
        "response": f"{OPEN}{REASONING}{CLOSE}<SOLUTION>5</SOLUTION>",
        "ground_truth": "5",
        "extracted_answer": "5",
    }
    return row | changes


def run(folder: Path, *rows: dict, **options):
    source = folder / "traces.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = preprocess(PreprocessConfig(data=str(source), output_dir=str(folder / "out"), **options), CALL)
    made = [json.loads(line) for line in (folder / "out" / "traces.jsonl").read_text().splitlines()]
    rejected = [json.loads(line) for line in (folder / "out" / "rejected.jsonl").read_text().splitlines()]
    return made, rejected, manifest


def test_a_trace_is_taken_apart(tmp_path, tokenizer):
    (row,), rejected, _ = run(tmp_path, attempt())
    assert not rejected
    assert row["forward_text"] == OPEN + REASONING
    assert "".join(row["segmented_text_list"]) == row["prompt"] + row["forward_text"]
    assert row["is_correct"] is True
    tokens = tokenizer.convert_ids_to_tokens(row["token_ids"])
    # The demo's tokenizer writes each line end as a token of its own: the second one completes the delimiter.
    assert [tokens[i] for i in row["extracted_position"][:2]] == ["Ċ", "Ċ"]
    assert row["extracted_position"][-1] == len(tokens) - 1
    assert [part[-3:] for part in row["segmented_text_list"][:2]] == [".\n\n", ".\n\n"]
    assert tokenizer.decode(row["token_ids"]) == row["prompt"] + row["forward_text"]
    assert row["prompt_len"] == len(tokenizer(row["prompt"], add_special_tokens=False)["input_ids"])


def test_boundaries_in_the_question_do_not_count(tmp_path):
    (row,), _, _ = run(tmp_path, attempt(question="One.\n\nTwo.\n\nWhat is 2 + 3?"))
    assert len(row["extracted_position"]) == 3
    assert min(row["extracted_position"]) >= row["prompt_len"]


def test_sampled_tokens_are_used_as_they_are(tmp_path, tokenizer):
    opening, closing = (tokenizer(tag, add_special_tokens=False)["input_ids"] for tag in (OPEN, CLOSE))
    letters = [token for c in REASONING for token in tokenizer(c, add_special_tokens=False)["input_ids"]]
    assert letters != tokenizer(REASONING, add_special_tokens=False)["input_ids"]
    (row,), _, _ = run(tmp_path, attempt(token_ids=[*opening, *letters, *closing, 2]))
    assert row["token_ids"][row["prompt_len"] :] == [*opening, *letters]
    tokens = tokenizer.convert_ids_to_tokens(row["token_ids"])
    assert [tokens[i] for i in row["extracted_position"][:2]] == ["Ċ", "Ċ"]


def test_what_is_left_out_says_why(tmp_path):
    rows, rejected, manifest = run(
        tmp_path,
        attempt(),
        attempt(extracted_answer=None),
        attempt(response="No tags at all, 5"),
        attempt(response=f"{OPEN}  {CLOSE}<SOLUTION>5</SOLUTION>"),
        {"question": "What?", "response": "5"},
        attempt(token_ids=[5, 6, 7]),
        attempt(token_ids=[10**6]),
        attempt(source="original"),
    )
    reasons = {r["line"]: r["reason"].partition(" (")[0] for r in rejected}
    assert (len(rows), manifest.metrics["n_rejected"]) == (1, 7)
    assert reasons == {
        2: "no extracted answer",
        3: "no thinking block",
        4: "the reasoning is empty",
        5: "no 'ground_truth'",
        6: "'token_ids' do not spell the response; they are of another tokenizer",
        7: "'token_ids' are not of this tokenizer",
        8: "the data's own solution, not a trace of a model",
    }


def test_answers_are_judged_by_value_and_found_where_the_row_has_none(tmp_path):
    bare = {k: v for k, v in attempt().items() if k != "extracted_answer"}
    rows, _, _ = run(
        tmp_path,
        attempt(ground_truth="1,000", extracted_answer="$1000.00"),
        bare,
        attempt(ground_truth="Work.\n#### 6"),
        attempt(extracted_answer=None),
        unanswered="wrong",
    )
    assert [row["is_correct"] for row in rows] == [True, True, False, False]
    assert [row["extracted_answer"] for row in rows[1:]] == ["5", "5", None]


def test_several_responses_of_a_row_are_attempts_of_one_question(tmp_path):
    row = {"question": "2 + 3?", "ground_truth": "2 + 3 = 5\nA: 5", "a": {"text": "It is 5\nA: 5"}, "b": "6\nA: 6"}
    options = {"response_key": ("a.text", "b"), "untagged": "whole", "delimiter": "\n"}
    rows, _, _ = run(tmp_path, row, **options)
    assert [(r["trace_id"].partition("/")[2], r["is_correct"]) for r in rows] == [("a.text", True), ("b", False)]
    assert len({r["question_id"] for r in rows}) == len({r["group"] for r in rows}) == 1


def test_rows_with_an_id_of_their_own_are_attempts_of_one_question(tmp_path):
    rows, _, _ = run(tmp_path, attempt(id=0), attempt(id="b"), attempt(id="c", question_id="q"))
    assert rows[0]["question_id"] == rows[1]["question_id"]
    assert [row["trace_id"].partition("/")[2] for row in rows[:2]] == ["0", "b"]
    assert rows[2]["trace_id"] == "q/c"


def test_a_template_that_opens_the_tag_gets_it_once(tmp_path, tokenizer):
    folder = tmp_path / "tokenizer"
    tokenizer.save_pretrained(folder)
    template = "{% for m in messages %}{{ m.content }}\n{% endfor %}{{ '<think>\\n' }}"
    (folder / "chat_template.jinja").write_text(template)
    rows, _, _ = run(
        tmp_path,
        attempt(response="<think>\nfirst\n\nthen</think>\\boxed{5}"),
        attempt(response="first\n\nthen</think>\\boxed{5}"),
        model=str(folder),
        profile="think",
    )
    assert [row["forward_text"] for row in rows] == ["first\n\nthen"] * 2
    assert rows[0]["prompt"].endswith("<think>\n")
    assert rows[0]["token_ids"] == rows[1]["token_ids"]


def test_unlabelled_rows_are_kept_when_asked_for(tmp_path):
    row = {k: v for k, v in attempt().items() if k != "ground_truth"}
    (made,), _, manifest = run(tmp_path, row, labelled=False)
    assert (made["is_correct"], manifest.metrics["n_unlabelled"]) == (None, 1)


def test_a_question_falls_into_one_split_whatever_else_is_there(tmp_path):
    rows = [attempt(question=f"What is {i} + 3?", ground_truth=str(i + 3)) for i in range(60)]
    (tmp_path / "all").mkdir()
    (tmp_path / "half").mkdir()
    whole, _, manifest = run(tmp_path / "all", *rows, *rows)
    half, _, _ = run(tmp_path / "half", *rows[30:])
    splits = {row["question"]: row["split"] for row in whole}
    assert all(splits[row["question"]] == row["split"] for row in whole + half)
    assert set(splits.values()) == {"train", "calibration", "test"}
    assert manifest.metrics["n_groups"] == 60


def test_near_duplicates_stay_together(tmp_path):
    questions = [f"What is {i} + 3?" for i in range(40)]
    rows = [attempt(question=question) for question in questions]
    given = [{"question": q, "group": i // 2} for i, q in enumerate(questions)]
    (tmp_path / "groups.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    made, _, _ = run(tmp_path, *rows, groups=str(tmp_path / "groups.jsonl"))
    assert [r["group"] for r in made[::2]] == [r["group"] for r in made[1::2]]
    assert len({r["group"] for r in made}) == 20


def test_clusters_of_dedup_are_groups(tmp_path):
    source = tmp_path / "questions.jsonl"
    source.write_text("".join(json.dumps({"question": f"What is {i} + 3?"}) + "\n" for i in range(4)))
    cluster = {
        "kept": {"train_path": str(source), "train_line": 1},
        "text": "What is 0 + 3?",
        "removed": [{"train_path": str(source), "train_line": 3, "score": 0.9}],
    }
    (tmp_path / "c.clusters.jsonl").write_text(json.dumps(cluster) + "\n")
    rows = [attempt(question=f"What is {i} + 3?") for i in range(4)]
    made, _, _ = run(tmp_path, *rows, groups=str(tmp_path / "c.clusters.jsonl"))
    groups = [row["group"] for row in made]
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3


def test_nothing_usable_is_an_error_with_the_first_reason(tmp_path):
    with pytest.raises(ToolError, match=r"traces.jsonl:1: no usable trace \(1 rejected; first: no thinking block"):
        run(tmp_path, attempt(response="5"))
    assert run(tmp_path, attempt(response="5"), untagged="whole")[0]


def test_standard_input_without_a_usable_trace_makes_no_run(tmp_path):
    words = ["preprocess", "--input-file", "-", "--output-dir", str(tmp_path / "out")]
    result = CliRunner().invoke(main, words, input=json.dumps(attempt(response="5")) + "\n")
    assert result.exit_code == 1
    assert "<stdin>:1: no usable trace" in result.output
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(main, words, input=json.dumps(attempt()) + "\n")
    assert result.exit_code == 0, result.output


FOREIGN = {
    "think": ("<think>\n", "\n</think>\n\nTherefore \\boxed{12}."),
    "opened by the prompt": ("", "</think>\nTherefore 12."),
    "reasoning": ("<reasoning>", "</reasoning><answer>12</answer>"),
    "capitals": ("[THINK]", "[/THINK]12"),
    "thought": ("<|begin_of_thought|>\n", "<|end_of_thought|>\n<|begin_of_solution|>12<|end_of_solution|>"),
    "own": (OPEN, f"{CLOSE}<SOLUTION>12</SOLUTION>"),
}


@pytest.mark.parametrize(("opening", "after"), FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("piped", [False, True])
def test_the_tags_of_the_responses_are_recognised(opening, after, piped, tmp_path):
    body = "A dozen eggs, as <b>packed</b>.\n\nNo [PAD] is left, so twelve"
    row = {"question": "How many eggs are in a dozen?", "ground_truth": "12", "extracted_answer": "12"}
    text = json.dumps(row | {"response": opening + body + after}) + "\n"
    source = tmp_path / "traces.jsonl"
    source.write_text(text)
    words = ["preprocess", "--input_file", "-" if piped else str(source), "--output_file", str(tmp_path / "pre")]
    result = CliRunner().invoke(main, [*words, "--tokenizer_path", "demo"], input=text)
    assert result.exit_code == 0, result.output
    (made,) = [json.loads(line) for line in (tmp_path / "pre" / "traces.jsonl").read_text().splitlines()]
    assert made["forward_text"].strip() == (opening + body).strip()
    assert "prompt profile '" in result.output
    assert opening.strip() in made["prompt"]


def test_what_helps_a_response_with_other_tags_is_named(tmp_path):
    boxed = attempt(response="<think>Six and six.\n\nTwelve</think>12")
    _, rejected, _ = run(tmp_path, attempt(), boxed, attempt(response="12"), profile="gsm8k-tags")
    other, none = (found["reason"] for found in rejected)
    assert other.endswith("--profile think reads responses tagged <think>")
    assert none.endswith("--untagged whole takes such a response as it is")


@pytest.mark.parametrize(
    ("changes", "options", "flag"),
    [
        ({"question": None, "problem": "What is 2 + 3?"}, {}, "--question-key problem"),
        ({"response": None, "model_output": attempt()["response"]}, {}, "--response-key model_output"),
        ({"ground_truth": None, "label": "5"}, {}, "--ground-truth-key label"),
        ({"ground_truth": None}, {}, "--no-labelled"),
        ({"extracted_answer": None}, {}, "--unanswered wrong"),
        ({"response": "5"}, {}, "--untagged whole"),
        ({"response": f"{OPEN}2, 3: 5{CLOSE}"}, {"last_token": False}, "--last-token"),
        ({"response": f"{OPEN}2 + 3.\nIt is 5{CLOSE}"}, {"last_token": False}, "--delimiter \\n"),
        ({"response": "<think>2 + 3</think>5"}, {"profile": "gsm8k-tags"}, "--profile think"),
    ],
)
def test_the_option_that_a_reason_names_helps(changes, options, flag, tmp_path):
    row = {key: value for key, value in attempt(**changes).items() if key == "extracted_answer" or value is not None}
    (tmp_path / "before").mkdir()
    _, (rejected,), _ = run(tmp_path / "before", attempt(response=f"{OPEN}2.\n\n3: 5{CLOSE}"), row, **options)
    name, _, value = flag.partition(" ")
    assert name in rejected["reason"]
    (tmp_path / "row.jsonl").write_text(json.dumps(row) + "\n")
    given = [] if "last_token" not in options or name == "--last-token" else ["--no-last-token"]
    words = [*given, name, *([value] if value else [])]
    source = ["preprocess", "--input-file", str(tmp_path / "row.jsonl"), "--output-dir", str(tmp_path / "after")]
    result = CliRunner().invoke(main, [*source, *words])
    assert result.exit_code == 0, result.output


def test_a_model_with_a_profile_of_its_own_keeps_it(tmp_path, tokenizer):
    folder = tmp_path / "model"
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    own = {"profile": PROFILES["gsm8k-tags"].to_json()}
    (folder / "tools.json").write_text(json.dumps(own))
    think = attempt(response="<think>Six and six.\n\nTwelve</think>12")
    _, (rejected,), _ = run(tmp_path, attempt(), think, model=str(folder))
    assert rejected["reason"].endswith("name the model that wrote it with --model")


def test_windows_line_ends_end_steps():
    text = "Ab.\r\n\r\nC.\r\n\r\n\r\n\r\nD.\r\nE.\n\r\nF"
    ends = {"\n\n": ["Ab.", "C.", "D.\r\nE."], "\n": ["Ab.", "C.", "D.", "E."]}
    for delimiter, steps in ends.items():
        edges = [0, *step_ends(text, delimiter)]
        assert [text[a:b].strip() for a, b in itertools.pairwise(edges)] == steps


def test_one_class_only_is_said(tmp_path, capsys):
    run(tmp_path, attempt())
    assert "all 1 traces are right" in capsys.readouterr().err


def test_flags_are_taken_with_underscores_and_dashes(tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(attempt()) + "\n")
    for i, (file, out) in enumerate((("--input_file", "--output_file"), ("--input-file", "--output-dir"))):
        result = CliRunner().invoke(main, ["preprocess", file, str(tmp_path / "t.jsonl"), f"{out}={tmp_path / str(i)}"])
        assert result.exit_code == 0, result.output
        assert (tmp_path / str(i) / "t.jsonl").exists()


@pytest.mark.parametrize(("delimiter", "ends"), [("\\n\\n", [5, 13]), ("\n", [4, 12, 17]), ("sentence", [3, 11, 16])])
def test_where_steps_end(delimiter, ends):
    assert step_ends(TEXT, parse_delimiter(delimiter)) == ends


TEXT = "Ab.\n\nC 2.5.\n\nDe!\n"


def test_unknown_delimiter_is_named():
    with pytest.raises(ToolError, match="got ';'"):
        PreprocessConfig(delimiter=";")


def test_a_token_that_reaches_over_the_delimiter_is_the_boundary():
    assert boundary_tokens([3, 7, 7, 9], [5, 8, 9, 12]) == [1, 3]


def test_offsets_of_sampled_tokens_agree_with_their_text(tokenizer):
    text = "Prüfe: 5 € → 5\n\nso\n"
    sampled = [t for c in text for t in tokenizer(c, add_special_tokens=False)["input_ids"]]
    spelled, ends = token_ends(tokenizer, sampled)
    assert (spelled, ends[-1]) == (text, len(text))
    assert ends == sorted(ends)
    own, own_ends = encode(tokenizer, text)
    assert token_ends(tokenizer, own) == (text, own_ends)
