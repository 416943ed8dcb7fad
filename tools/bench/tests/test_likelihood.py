"""Multiple choice by log-probability: the sums are those of a whole pass over each text, here and behind a server."""

import json
import random
from threading import Lock

import pytest
import torch
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.grading.choice import preferred
from tools_bench.likelihood.local import scores_from_engine
from tools_bench.likelihood.prefixes import by_beginning
from tools_bench.likelihood.served import completions_url, read_scores
from tools_bench.likelihood.texts import Reading, reading
from tools_bench.requests.item import Item
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.errors import ToolError
from tools_shared.models import load, resolve

FORESTS = [
    ("Which tree keeps its leaves in winter?", ("the holly, which is an evergreen", "oak", "an old beech"), 0),
    ("What eats bark?", ("deer", "salt"), 1),
    ("How many legs has a deer?", ("2", "4", "6"), 1),
    ("A hectare has how many square metres?", ("100", "1000", "10000", "100000"), 2),
]
ROWS = [{"id": f"f{i}", "question": q, "choices": options, "answer": a} for i, (q, options, a) in enumerate(FORESTS)]
ITEMS = [Item("t", "choice", f"f{i}", q, "ABCD"[a], options=options) for i, (q, options, a) in enumerate(FORESTS)]


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


@pytest.fixture(scope="module")
def engine():
    loaded = load(resolve("demo"), "fp32", "cpu")
    return TransformersEngine(loaded.model, loaded.tokenizer)


def tokens_of(engine, text):
    """Each token of a text with its log-probability (None for the first), from one pass over the whole text."""
    ids = engine.tokenizer(text)["input_ids"]
    with torch.inference_mode():
        logprobs = engine.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    values = [None, *(float(logprobs[i, token]) for i, token in enumerate(ids[1:]))]
    return [engine.tokenizer.decode([token]) for token in ids], values


def whole_pass(engine, one):
    found = []
    for text in one.continuations:
        tokens, values = tokens_of(engine, one.context + text)
        assert "".join(tokens) == one.context + text
        ends = [sum(map(len, tokens[: i + 1])) for i in range(len(tokens))]
        found.append(sum(v for v, end in zip(values, ends, strict=True) if end > len(one.context)))
    return found


@pytest.mark.parametrize("by", ["letters", "texts"])
def test_scores_are_those_of_a_whole_pass(engine, by):
    readings = [reading(item, by) for item in ITEMS]
    found = {}
    scores_from_engine(engine, readings, lambda one, scores: found.update({one.item.id: scores}))
    for one in readings:
        assert found[one.item.id] == pytest.approx(whole_pass(engine, one), abs=2e-3)


SHOWN = "".join(f"Question: What is {n} plus {n}?\nA. {n}\nB. {2 * n}\nAnswer: B\n\n" for n in (3, 14, 27))
MIXED = [
    *(Reading(item, f"{SHOWN}Question: {item.question}\nAnswer:", (" A", " B"), "letters") for item in ITEMS),
    *(
        Reading(item, f"{SHOWN}Question: {item.question}\nAnswer:", (" 4", " 4 or more", " 1"), "texts")
        for item in ITEMS
    ),
    *(Reading(item, "Question: Say it", (" again and again", " once", ": 12", " once"), "texts") for item in ITEMS[:2]),
]
"""Options of one token and of several, contexts that begin alike, that are equal, and that are short."""


def scores_of(engine, readings):
    found = []
    scores_from_engine(engine, readings, lambda one, scores: found.append((one, scores)))
    assert len(found) == len(readings)
    return {id(one): scores for one, scores in found}


@pytest.mark.parametrize("at_once", [24, 4096])
def test_shared_beginnings_and_options_of_all_lengths_change_no_score(engine, monkeypatch, at_once):
    monkeypatch.setattr("tools_bench.likelihood.local.AT_ONCE", at_once)
    found = scores_of(engine, MIXED)
    for one in MIXED:
        assert found[id(one)] == pytest.approx(whole_pass(engine, one), abs=1e-4)


def test_what_is_shared_is_read_once(engine):
    """Tokens that pass through the model: the examples once, each question once, its options but for their ends."""
    seen = []
    hook = engine.model.get_input_embeddings().register_forward_hook(lambda _, args, out: seen.append(args[0].numel()))
    lengths = {}
    for n in (2, 12):
        asked = [
            Reading(ITEMS[0], f"{SHOWN}Question: What is {i} + 1?\nAnswer:", (" 4", " 5 or so"), "texts")
            for i in range(n)
        ]
        scores_of(engine, asked)
        lengths[n] = sum(seen)
        seen.clear()
    hook.remove()
    n_shown = len(engine.tokenizer(SHOWN)["input_ids"])
    whole = len(engine.tokenizer(asked[0].context + asked[0].continuations[1])["input_ids"])
    assert lengths[2] <= 2 * (whole + 4)  # two are too few for a beginning of their own
    assert lengths[12] <= n_shown + 12 * (whole - n_shown + 8)


def test_a_model_with_a_window_reads_every_option_behind_its_context(engine):
    from transformers import AutoModelForCausalLM, MistralConfig

    torch.manual_seed(0)
    n = len(engine.tokenizer)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = AutoModelForCausalLM.from_config(
        MistralConfig(vocab_size=n, sliding_window=6, num_key_value_heads=2, **sizes), dtype=torch.float32
    )
    windowed = TransformersEngine(model.eval(), engine.tokenizer)
    found = scores_of(windowed, MIXED)
    for one in MIXED:
        assert found[id(one)] == pytest.approx(whole_pass(windowed, one), abs=1e-4)


def test_an_option_without_a_token_of_its_own_is_refused(engine):
    empty = Reading(ITEMS[0], "Question: Say it", (" once", ""), "texts")
    with pytest.raises(ToolError, match="gives an option no token of its own"):
        scores_from_engine(engine, [empty], print)


@pytest.mark.parametrize("seed", range(20))
def test_contexts_are_grouped_by_what_they_begin_with(seed):
    rng = random.Random(seed)
    subjects = [tuple(rng.choices(range(50), k=rng.randint(20, 60))) for _ in range(3)]
    contexts = [
        (*subjects[i % 3], *rng.choices(range(50), k=rng.randint(1, 30)))
        if i % 5
        else tuple(rng.choices(range(50), k=9))
        for i in range(rng.randint(1, 60))
    ]
    groups = by_beginning(contexts)
    assert sorted(place for _, places in groups for place in places) == list(range(len(contexts)))
    for shared, places in groups:
        assert len({contexts[place][:shared] for place in places}) == 1
        assert all(len(contexts[place]) > shared for place in places)
    read = sum(shared + sum(len(contexts[p]) - shared for p in places) for shared, places in groups)
    assert len(contexts) < 30 or read < 0.75 * sum(map(len, contexts))


def test_lengths_are_characters_as_in_lm_eval():
    one = reading(Item("t", "choice", "x", "Which?", "A", options=("Ångström", "größer als π", "m")), "texts")
    assert one.lengths == (8, 12, 1)


def test_what_is_read():
    letters, texts = reading(ITEMS[1], "letters"), reading(ITEMS[1], "texts")
    assert letters.context == "Question: What eats bark?\n\nA. deer\nB. salt\nAnswer:"
    assert (letters.continuations, letters.lengths) == ((" A", " B"), (1, 1))
    assert texts.context == "Question: What eats bark?\nAnswer:"
    assert (texts.continuations, texts.lengths) == ((" deer", " salt"), (4, 4))


def test_equal_scores_are_several_options():
    assert preferred([-2.0, -1.0, -1.0]) == ["B", "C"]


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:8000", "http://h:8000/v1/completions"),
        ("http://h:8000/v1/", "http://h:8000/v1/completions"),
        ("http://h/x/chat/completions?k=1", "http://h/x/completions?k=1"),
        ("http://h/v1/completions", "http://h/v1/completions"),
    ],
)
def test_the_address_of_text_completions(endpoint, url):
    assert completions_url(endpoint) == url


def test_a_server_without_text_completions_is_refused():
    with pytest.raises(ToolError, match="use --choice-by generation"):
        completions_url("http://localhost:11434/api/chat")


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"choices": [{"text": " A"}]},
        {"choices": [{"text": "x", "logprobs": None}, {"text": "y", "logprobs": None}]},
        {"choices": [{"logprobs": {"tokens": [" A"], "token_logprobs": [-1.0]}}] * 2},
    ],
)
def test_a_reply_without_the_prompts_log_probabilities_is_no_result(reply):
    one = reading(ITEMS[1], "letters")
    if len(reply.get("choices", ())) == 2 and reply["choices"][0]["logprobs"]:
        one = reading(ITEMS[1], "texts")  # its tokens end where the context goes on
    with pytest.raises(ValueError, match="log-probabilities|completions for 2 prompts"):
        read_scores(reply, one)


@pytest.mark.parametrize("by", ["letters", "texts"])
def test_a_served_model_and_the_same_model_here_agree(engine, serve, tmp_path, by):
    """The server is the demo model behind OpenAI's text completions: both runs have the same scores to the fifth digit
    or so, and compare as alike."""
    lock = Lock()

    def answer(path, body, number):
        assert path == "/v1/completions"
        assert body["echo"]
        choices = []
        for i, text in enumerate(body["prompt"]):
            with lock:
                tokens, values = tokens_of(engine, text)
            starts = [sum(map(len, tokens[:j])) for j in range(len(tokens) + 1)]
            said = {"tokens": [*tokens, "!"], "token_logprobs": [*values, -0.1], "text_offset": starts}
            choices.append({"index": i, "text": f"{text}!", "logprobs": said, "finish_reason": "length"})
        return 200, {"choices": choices[::-1]}, {}

    data = tmp_path / "forests.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    common = ["--data", data, "--choice-by", by, "--output-dir", tmp_path]
    served = bench("run", *common, "--model-name", "served", "--endpoint", serve(answer).url)
    assert served.exit_code == 0, served.output
    here = bench("run", *common, "--model", "demo", "--model-name", "here", "--dtype", "fp32")
    assert here.exit_code == 0, here.output
    stored = [
        {row["id"]: row for row in map(json.loads, (tmp_path / name / "responses.jsonl").read_text().splitlines())}
        for name in ("served", "here")
    ]
    for item in ITEMS:
        assert stored[0][item.id]["scores"] == pytest.approx(stored[1][item.id]["scores"], abs=2e-3)
        assert stored[0][item.id]["lengths"] == stored[1][item.id]["lengths"]
    assert bench("compare", tmp_path / "served", tmp_path / "here", "--output-dir", tmp_path / "c").exit_code == 0
    results = json.loads((tmp_path / "here" / "benchmark_results.json").read_text())
    found = results["evaluations"]["multiple_choice"]
    assert ("positions" in found) == (by == "letters")
    assert ("choice_accuracy_raw" in found) == (by == "texts")
    assert by == "letters" or found["intervals"]["choice_accuracy_raw"]["n"] == len(ITEMS)


def test_a_server_that_does_not_echo_ends_the_run_with_the_remedy(serve, tmp_path):
    def answer(path, body, number):
        return 200, {"choices": [{"index": i, "text": "x", "logprobs": None} for i in range(len(body["prompt"]))]}, {}

    data = tmp_path / "forests.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = ["--data", data, "--choice-by", "letters", "--output-dir", tmp_path, "--model-name", "m"]
    done = bench("run", *words, "--endpoint", serve(answer).url)
    assert done.exit_code == 3
    assert "use --choice-by generation" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--choice-by", "letters", "--suite", "quick"], "no multiple choice in the suite"),
        (["--choice-by", "texts", "--samples", "4", "--temperature", "1"], "leave out --samples"),
    ],
)
def test_options_that_cannot_take_effect_are_refused(tmp_path, words, message):
    data = tmp_path / "forests.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    given = [] if "--suite" in words else ["--data", data]
    done = bench("run", *words, *given, "--model", "demo", "--output-dir", tmp_path)
    assert done.exit_code == 1
    assert message in done.output
