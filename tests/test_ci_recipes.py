"""The YAML in docs/watch.md and docs/cost.md: what CI systems, the policy and the price file read."""

import re
import shlex
from pathlib import Path

import yaml

from tools_bench.cli import main
from tools_bench.watching.policy import read_policy
from tools_shared.costs.prices import read_prices

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.S | re.M)


def blocks(name):
    return BLOCK.findall((DOCS / name).read_text(encoding="utf-8"))


def watches(script):
    (call,) = [line for line in script if "tools-bench" in line]
    words = shlex.split(call.partition("tools-bench ")[2])
    main.commands["watch"].make_context("watch", words[1:])
    return words


def test_the_recipes_for_ci_are_jobs_that_watch_once_and_keep_what_is_known():
    _, github, gitlab = blocks("watch.md")
    job = yaml.safe_load(github)["jobs"]["gates"]
    steps = job["steps"]
    assert job["runs-on"]
    assert all(len({"uses", "run"} & set(step)) == 1 for step in steps)
    assert "--once" in watches([step.get("run", "") for step in steps])
    (cache,) = [step for step in steps if "cache@" in step.get("uses", "")]
    assert cache["with"]["path"] == "outputs/watch"
    assert [step["if"] for step in steps if "upload-artifact" in step.get("uses", "")] == ["always()"]
    job = yaml.safe_load(gitlab)["benchmark"]
    assert "--once" in watches(job["script"])
    assert job["cache"]["paths"] == ["outputs/watch"]
    assert job["artifacts"]["reports"]["junit"] == "outputs/watch/junit.xml"


def test_the_policy_and_the_prices_of_the_docs_are_read(tmp_path):
    (tmp_path / "gates.yaml").write_text(blocks("watch.md")[0])
    policy = read_policy(str(tmp_path / "gates.yaml"))
    assert [gate.metric for gate in policy.gates] == ["accuracy", "numeric_match"]
    (tmp_path / "prices.yaml").write_text(blocks("cost.md")[0])
    prices = read_prices(tmp_path / "prices.yaml")
    assert prices.hour("NVIDIA H200 141GB") == 3.2
    assert prices.entry("https://other.example.com", "qwen/qwen3-8b")["train"] == 0.9
