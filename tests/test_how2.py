"""`make how2` and the commands of docs/how2.md, on fewer rows and steps; the checklist that judges by default."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tools_grpo.config import GrpoConfig
from tools_sft.config import SftConfig
from tools_shared.config import read_yaml
from tools_shared.judging.rubric import load_rubric
from tools_shared.models import choose_profile
from tools_shared.models.resolve import resolve
from tools_shared.prompts import load_profile, question_messages
from tools_shared.records import Message
from tools_shared.rewards import load_rewards
from tools_shared.runs import read_manifest

ROOT = Path(__file__).parents[1]
STEPS = ["Boil two liters of water in the kettle.", "Pour the water over the mint leaves.", "Wait ten minutes."]
SHORT = {"sft": "max_steps: 3", "grpo": "max_steps: 1"}
"""What makes a stage short enough for a test."""


@pytest.fixture(scope="module")
def checklist():
    spec = importlib.util.spec_from_file_location("checklist", ROOT / "configs/how2/checklist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda text, steps: module.checklist([""], [text], [steps])[0]


def numbered(steps):
    return "\n".join(f"{n}. {step}" for n, step in enumerate(steps, start=1))


def test_the_checklist_counts_steps_that_are_there_in_order(checklist):
    assert checklist(numbered(STEPS), STEPS) == 1
    assert checklist("\n".join(f"- {step.upper()}" for step in STEPS), STEPS) == 1
    assert checklist(numbered(STEPS[:2]), STEPS) == pytest.approx(2 / 3)
    assert checklist(numbered(STEPS[::-1]), STEPS) == pytest.approx(1 / 3)
    assert checklist(numbered(STEPS * 5), STEPS) == pytest.approx(1 / 5)
    assert checklist("", STEPS) == checklist("Make tea.", STEPS) == checklist("1. Paint the door.", STEPS) == 0
    assert checklist("1. Schritt eins", []) is None


def test_a_good_procedure_in_other_words_gets_little_as_the_page_says(checklist):
    other = ["Heat the kettle until it sings.", "Steep a sprig of peppermint.", "Serve after a while."]
    assert checklist(numbered(other), STEPS) < 0.5


def test_the_files_of_both_sets_are_understood():
    for name in ("demo", "how2everything"):
        folder = ROOT / "configs" / "how2" / name
        assert {path.stem for path in folder.iterdir()} == {"dedup", "sft", "grpo", "held_out"}
        GrpoConfig(**read_yaml(folder / "grpo.yaml", GrpoConfig))
        SftConfig(**read_yaml(folder / "sft.yaml", SftConfig))
    rubric = load_rubric(ROOT / "configs/how2/rubric.yaml")
    assert rubric.columns == ("steps",)
    (reward,) = load_rewards([f"judge:{ROOT}/configs/how2/rubric.yaml"], choose_profile(resolve("demo"), None))
    assert not reward.needs_answer


def test_a_profile_without_a_system_message_has_none():
    """The rows for SFT have none, so the prompts of GRPO must not."""
    profile = load_profile(str(ROOT / "configs/how2/profile.yaml"))
    assert question_messages(profile, "Tie a bowline") == [Message("user", "Tie a bowline")]


def run(words, folder, **environment):
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every line of the page's section "The same by hand", run in order in a folder with short configurations."""
    here = tmp_path_factory.mktemp("how2")
    target = here / "configs" / "how2"
    for path in (p for p in (ROOT / "configs/how2").rglob("*.*") if p.suffix in (".py", ".yaml")):
        text = path.read_text(encoding="utf-8")
        if path.parent.name == "demo" and path.stem in SHORT:
            text = re.sub(r"max_steps: .*\n|batch_size: .*\n|prompts_per_step: .*\n", "", text)
            text += SHORT[path.stem] + "\n" + ("prompts_per_step: 2\n" if path.stem == "grpo" else "batch_size: 4\n")
        text = text.replace("max_completion_length: 256", "max_completion_length: 48")
        text = text.replace("max_new_tokens: 256", "max_new_tokens: 32")
        file = target / path.relative_to(ROOT / "configs/how2")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    page = (ROOT / "docs/how2.md").read_text(encoding="utf-8").partition("## The same by hand")[2]
    lines = re.search(r"```\n(.*?)```", page, re.S)[1].replace("\\\n", " ").replace("size=96", "size=8").splitlines()
    assert len(lines) == 8
    for line in lines:
        tool, *words = shlex.split(line)
        run([str(Path(sys.executable).with_name(tool)), *words], here)
    return here / "how2"


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_every_documented_command_runs(folder):
    made = rows_of(folder / "train.jsonl")
    removed = rows_of(folder / "train.removed.jsonl")
    sft, rlvr = (rows_of(folder / "open-instruct" / f"{name}.jsonl") for name in ("sft", "rlvr"))
    assert len(made) + len(removed) == 768
    assert [row["id"] for row in made] == [row["id"] for row in sft] == [row["id"] for row in rlvr]
    assert rlvr[0]["messages"] == sft[0]["messages"][:1] == [{"role": "user", "content": made[0]["goal"]}]
    assert rlvr[0]["ground_truth"] == sft[0]["messages"][1]["content"] == numbered(made[0]["steps"])
    assert {row["dataset"] for row in rlvr} == {"general-quality_ref"}
    assert read_manifest(folder / "grpo").metrics["steps"] == 1
    assert rows_of(folder / "held_out_grpo" / "traces.graded.jsonl")[0]["score"] is not None


@pytest.mark.slow
def test_make_how2_runs_these_commands():
    """The target's recipe, with the variables at their defaults, is what the page says."""
    said = subprocess.run(
        ["make", "-n", "-s", "how2", "ARTIFACTS=/nowhere", "VENV=/none"],
        cwd=ROOT, text=True, capture_output=True, check=False,
    ).stdout  # fmt: skip
    made = [line.replace("/none/bin/", "").replace("/nowhere/how2", "how2").rstrip() for line in said.splitlines()]
    page = (ROOT / "docs/how2.md").read_text(encoding="utf-8").partition("## The same by hand")[2]
    lines = re.search(r"```\n(.*?)```", page, re.S)[1].replace("\\\n", " ").splitlines()
    for line in lines[:-1]:
        mine = set(shlex.split(line)) - {"demo"}
        assert any(mine <= set(shlex.split(other)) for other in made if other.startswith("tools-")), line
