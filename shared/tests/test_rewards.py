import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest

from tools_shared.errors import ToolError
from tools_shared.prompts import PROFILES
from tools_shared.records import Problem
from tools_shared.rewards import SCORES, check_rewards, load_rewards
from tools_shared.rewards.check import EVASIONS

TAGS = PROFILES["gsm8k-tags"]
GOLD = TAGS.completion("6 * 3 = 18", "18")
WRONG = TAGS.completion("6 * 3 = 17", "17")
PROBLEMS = [
    Problem("a", "What is 6 * 3?", "18", "6 * 3 = 18"),
    Problem("b", "What is half of 3?", "3/2"),
    Problem("c", "Who?", "\\text{Evelyn}"),
]


def score(spec, *completions, answer="18", profile=TAGS, **columns):
    """The summed scores of what `spec` names, for each completion."""
    rewards = load_rewards([spec], profile)
    rows = [r(["q"] * len(completions), completions, answer=[answer] * len(completions), **columns) for r in rewards]
    return [None if None in row else sum(row) for row in zip(*rows, strict=True)]


@pytest.fixture
def reward_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from math import sqrt\n"
        "def short(prompts, completions, **columns):\n    return [float(len(c) < 100) for c in completions]\n"
        "def logging(prompts, completions, answer, trainer_state, log_metric, completion_ids, **columns):\n"
        "    log_metric('step', trainer_state.global_step)\n"
        "    return [len(ids) + (a in c) * 100.0 for c, a, ids in zip(completions, answer, completion_ids)]\n"
        "def fails(prompts, completions, **columns):\n    return [1 / 0 for c in completions]\n"
        "def few(prompts, completions, **columns):\n    return [1.0]\n"
        "def narrow(prompts, completions):\n    return []\n"
    )
    return path


def test_verified_wants_a_correct_answer_in_a_well_formed_completion():
    untidy = GOLD + " and more"
    assert score("verified", GOLD, WRONG, untidy, "18", "") == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert score("correct", GOLD, WRONG, untidy, "18", "") == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert score("format", GOLD, WRONG, untidy, "18", "") == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_a_prompt_that_opens_the_reasoning():
    text = TAGS.completion("6 * 3 = 18", "18", opened=True)
    assert score("verified", text, text, opens_thinking=[True, False]) == [1.0, 0.0]
    assert score("gsm8k-tiered", text, opens_thinking=[True]) == [10.0]


def test_length_counts_tokens_where_there_are_any():
    assert score("length", "a b c d", "") == [-4 / 1024, 0.0]
    assert score("length", "a b c d", "x", completion_ids=[[0] * 512, [0] * 5000]) == [-0.5, -1.0]
    (reward,) = load_rewards(["length:0.1"], TAGS, length_limit=8)
    assert (reward(["q"], ["a b c d"], answer=["1"]), reward.weight) == ([-0.5], 0.1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("100", 5.0),
        ("$100.00", 5.0),
        ("10^2", 5.0),
        ("110", 2.0),
        ("90", 2.0),
        ("110.0001", 1.5),
        ("120", 1.5),
        ("121", -2.5),
        ("-100", -2.5),
        ("100 or 200", -2.5),
        ("many", -4.5),
        ("1e99999999", -4.5),
    ],
)
def test_tiered_answer(given, expected):
    if given == "10^2":
        pytest.importorskip("math_verify", reason="math-verify is not installed (tools-shared[symbolic])")
    assert score("tiered-answer", TAGS.completion("so", given), answer="100") == [expected]


def test_tiered_sum_as_in_the_notebooks():
    assert score("gsm8k-tiered", GOLD) == [3 + 4 * 0.5 + 5]
    assert score("tiered-format", GOLD, GOLD + "!") == [3.0, 0.0]
    assert score("tiered-tags", GOLD, "", GOLD + "<SOLUTION>") == [2.0, -4.0, 0.5]
    assert score("tiered-answer", "no tags: 18") == [-2.0]
    assert score("tiered-answer", TAGS.completion("so", "1"), answer="0") == [-2.5]
    box = PROFILES["boxed"]
    assert score("tiered-tags", box.completion("so", "\\frac{1}{2}"), profile=box) == [0.5]


def test_a_row_whose_gold_answer_cannot_be_read_is_left_out():
    assert score("verified", GOLD, answer="1/0") == [None]
    assert score("correct", GOLD, answer="") == [None]
    assert score("tiered-answer", GOLD, "no tags", answer="1e99999999") == [None, None]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize(
    "evasion", ["", "...", "your answer", "\\text{answer}", "\\square", "twice", "other", "inside"]
)
def test_evading_a_single_answer_never_pays_more_than_a_wrong_number(profile, evasion):
    block = f"{profile.answer[0]}\\frac{{\\pi}}{{6}}{profile.answer[1]}"
    text = {
        "twice": profile.completion("so", "\\frac{\\pi}{6}") + block,
        "other": profile.completion("so", "5") + block,
        "inside": profile.completion(f"so {block}", ""),
    }.get(evasion, profile.completion("so", evasion))
    columns = {"answer": "\\frac{\\pi}{6}", "profile": profile}
    wrong, evaded = score("gsm8k-tiered", profile.completion("so", "-7/3"), text, **columns)
    assert evaded <= wrong
    assert score("format", text, **columns) == score("verified", text, **columns) == [0.0]


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        (72, "72"),
        (72.0, "72"),
        (0.5, "1/2"),
        (-3, "-3"),
        (["72"], "72"),
        ((5,), "5"),
        (Fraction(3, 4), "0.75"),
        (10**20, "1e20"),
    ],
)
def test_gold_answers_that_are_numbers_or_a_list_of_one(gold, given):
    assert score("verified", TAGS.completion("so", given), TAGS.completion("so", "41"), answer=gold) == [1.0, 0.0]


@pytest.mark.parametrize("gold", [None, float("nan"), float("inf"), "", "1/0", []])
@pytest.mark.parametrize("text", [GOLD, "", TAGS.completion("so", ""), TAGS.completion("so", "1/0"), "no tags"])
def test_there_is_no_reward_where_there_is_no_gold_answer(gold, text):
    if gold == []:
        with pytest.raises(ToolError, match="a gold answer is list"):
            score("verified", text, answer=gold)
        return
    for name in ("verified", "correct", "tiered-answer"):
        assert score(name, text, answer=gold) == [None]


@pytest.mark.parametrize("gold", [["2", "3"], {"value": 3}, object()])
def test_a_gold_answer_that_cannot_be_read_is_one_sentence(gold):
    with pytest.raises(ToolError, match=r"a gold answer is .*; give one text or number a row") as error:
        score("correct", GOLD, answer=gold)
    assert "\n" not in str(error.value)


def test_completions_that_are_none_or_in_parts():
    parts = [
        {"type": "thinking", "thinking": "17"},
        {"type": "text", "text": GOLD[:20]},
        {"type": "text", "text": GOLD[20:]},
    ]
    messages = [
        None,
        [],
        [{"role": "assistant", "content": None, "tool_calls": []}],
        [{"role": "assistant", "content": parts}],
        {"role": "assistant", "content": GOLD},
    ]
    assert score("verified", *messages) == [0.0, 0.0, 0.0, 1.0, 1.0]
    for broken in (7, [GOLD], [{"role": "assistant", "content": 7}]):
        with pytest.raises(ToolError, match="completion is .*; give text"):
            score("verified", broken)


def test_what_follows_the_end_of_the_turn_is_not_rewarded():
    for token in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<|endoftext|>", "<|end|>"):
        assert score("verified", GOLD + token, GOLD + token + "\n" + WRONG, WRONG + token + GOLD) == [1.0, 1.0, 0.0]


def test_completions_as_chat_messages():
    chat = [{"role": "assistant", "content": GOLD}]
    assert score("verified", chat, [{"role": "assistant", "content": WRONG}]) == [1.0, 0.0]
    assert score("verified", [{"role": "user", "content": GOLD}]) == [0.0]


@pytest.mark.parametrize("name", sorted(SCORES))
def test_rewards_take_what_trl_passes_survive_pickling_and_work_in_threads(name):
    (reward,) = load_rewards([name], TAGS)
    columns = {
        "answer": ["18", "18"],
        "completion_ids": [[1, 2], [3]],
        "trainer_state": None,
        "log_extra": print,
        "log_metric": print,
    }
    copy = pickle.loads(pickle.dumps(reward))
    assert reward.__name__ == copy.__name__ == reward.name == name
    expected = reward(["q", "q"], [GOLD, WRONG], **columns)
    with ThreadPoolExecutor(8) as executor:
        found = executor.map(lambda _: copy(["q", "q"], [GOLD, WRONG], **columns), range(200))
        assert all(scores == expected for scores in found)


def test_names_weights_and_presets():
    rewards = load_rewards(["verified:2", "gsm8k-tiered:0.5"], TAGS)
    assert [(r.name, r.weight) for r in rewards] == [
        ("verified", 2.0),
        ("tiered-format", 0.5),
        ("tiered-tags", 0.5),
        ("tiered-answer", 0.5),
    ]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["verifed"], "'verifed' is unknown; use one of verified, correct"),
        (["verified:much"], "the weight 'much' must be a number other than 0"),
        (["verified:0"], "the weight '0' must be"),
        (["verified:nan"], "the weight 'nan' must be"),
        (["verified", "verified:2"], "'verified' is given twice"),
        ([], "use --reward verified"),
        (["nowhere/mine.py:short"], "the file does not exist"),
    ],
)
def test_specifications_that_cannot_be_used(specs, message):
    with pytest.raises(ToolError, match=message) as error:
        load_rewards(specs, TAGS)
    assert "\n" not in str(error.value)


def test_a_function_in_a_file(reward_file):
    (reward,) = load_rewards([f"{reward_file}:short:0.25"], TAGS)
    copy = pickle.loads(pickle.dumps(reward))
    assert (copy.name, copy.weight, copy.__name__) == ("short", 0.25, "short")
    assert copy(["q", "q"], ["a", "b" * 200], answer=["1", "1"]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "mine.py defines short, logging, fails, few, narrow"), ("narrow", "must accept .*columns")],
)
def test_a_function_that_is_not_there_or_does_not_fit(reward_file, name, message):
    with pytest.raises(ToolError, match=message):
        load_rewards([f"{reward_file}:{name}"], TAGS)


def test_a_missing_file_names_its_neighbours(reward_file):
    with pytest.raises(ToolError, match=r"contains mine\.py"):
        load_rewards([f"{reward_file.parent}/other.py:short"], TAGS)


def test_a_reward_that_fails_is_not_swallowed(reward_file):
    fails, few = load_rewards([f"{reward_file}:fails", f"{reward_file}:few"], TAGS)
    with pytest.raises(ZeroDivisionError):
        fails(["q"], ["a"], answer=["1"])
    with pytest.raises(ZeroDivisionError):
        check_rewards([fails], PROBLEMS, TAGS)
    with pytest.raises(ToolError, match="returned 1 rewards for 2 completions"):
        few(["q", "q"], ["a", "b"], answer=["1", "1"])


def test_the_gold_column_is_needed():
    with pytest.raises(ToolError, match="needs the gold answers in a column 'answer', got \\['question'\\]"):
        load_rewards(["verified"], TAGS)[0](["q"], ["a"], question=["q"])


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("specs", [["verified"], ["gsm8k-tiered"], ["correct:2", "format:0.5", "length:0.1"]])
@pytest.mark.parametrize("opened", [False, True])
def test_the_check_passes_for_sound_rewards(profile, specs, opened):
    check = check_rewards(
        load_rewards(specs, profile), PROBLEMS, profile, opens_thinking=opened and bool(profile.think)
    )
    assert check.means["gold"] == max(check.means.values())
    assert check.means["wrong number"] < check.means["gold"]
    assert (check.n_problems, check.skipped, check.warnings) == (3, 0, ())
    assert str(check).startswith("rewards on 3 problems: gold ")
    assert ", evasions at most " in str(check)


def test_the_check_refuses_rewards_that_teach_nothing_or_the_wrong_thing(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(
        "def same(prompts, completions, **columns):\n    return [1.0] * len(completions)\n"
        "def strange(prompts, completions, **columns):\n    return [float('nan')] * len(completions)\n"
        "def silent(prompts, completions, **columns):\n    return [None] * len(completions)\n"
    )
    cases = {
        f"{path}:same": "is 1 for every probe of every problem",
        "verified:-1": "gives 0 to the probe 'wrong number' and -1 to the gold completion of problem 'a'",
        f"{path}:strange": "'strange' returned nan",
        f"{path}:silent": "none of 3 gold answers can be judged",
    }
    for spec, message in cases.items():
        with pytest.raises(ToolError, match=message):
            check_rewards(load_rewards([spec], TAGS), PROBLEMS, TAGS)
    with pytest.raises(ToolError, match="there are no problems"):
        check_rewards(load_rewards(["verified"], TAGS), [], TAGS)


def test_the_check_warns_of_what_is_allowed_but_seldom_meant(reward_file):
    unread = [*PROBLEMS, Problem("d", "q", "1/0")]
    check = check_rewards(load_rewards(["format"], TAGS), PROBLEMS, TAGS)
    assert check.warnings == ("a wrong number scores as much as the gold answer on 3 of 3 problems",)
    check = check_rewards(load_rewards(["verified"], TAGS), unread, TAGS)
    assert (check.skipped, check.n_problems) == (1, 3)
    assert check.warnings == ("1 gold answers cannot be judged; their completions get no reward",)
    check_rewards(load_rewards([f"{reward_file}:logging", "verified:1000"], TAGS), PROBLEMS, TAGS)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_check_probes_for_evasion(profile):
    problems = [*PROBLEMS, Problem("d", "Solve.", "\\frac{\\pi}{2}"), Problem("e", "Where?", "(2,-3)")]
    check = check_rewards(load_rewards(["gsm8k-tiered"], profile), problems, profile)
    assert check.warnings == ()
    assert max(check.means[probe] for probe in EVASIONS) <= check.means["wrong number"]
    assert check.means["answer repeated"] < check.means["wrong number"]


def test_the_check_warns_of_a_reward_that_pays_for_evasion(tmp_path):
    path = tmp_path / "soft.py"
    path.write_text(
        "def soft(prompts, completions, answer, **columns):\n"
        "    return [max(2.0 * (f'N>{a}<' in c), 1.0 * ('N><' in c)) for c, a in zip(completions, answer)]\n"
    )
    check = check_rewards(load_rewards([f"{path}:soft"], TAGS), PROBLEMS, TAGS)
    assert check.warnings == tuple(
        f"the probe '{probe}' scores more than a wrong number on 3 of 3 problems"
        for probe in EVASIONS
        if probe != "two answers"
    )
