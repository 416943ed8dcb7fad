"""What a benchmark will ask, of whom, and under which name: read from the options before anything is sent."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from tools_bench.comparison.stored_runs import read_results
from tools_bench.config import BenchConfig
from tools_bench.likelihood.texts import ChoiceBy, Reading, reading
from tools_bench.requests.apis import Api, choose_api
from tools_bench.requests.datasets import suite_of_datasets, with_datasets, with_keys
from tools_bench.requests.items import Item, ReadTask, read_task
from tools_bench.requests.journal import ResponseJournal
from tools_bench.requests.power import power_of, sentence
from tools_bench.requests.suite import DEFAULT, Suite, load_suite
from tools_shared.console import say
from tools_shared.engines import SamplingParams, extras_of
from tools_shared.engines.http.address import read_api_key
from tools_shared.engines.http.habits import Habits
from tools_shared.engines.http.transport import Server
from tools_shared.errors import ToolError
from tools_shared.prompts import DEFAULT_PROFILE, Profile, load_profile
from tools_shared.runs.read import partial_dir
from tools_shared.sources.allowance import settle


@dataclass(frozen=True)
class Plan:
    """What will be asked: the suite, its items, the profile and the sampling."""

    suite: Suite
    tasks: list[ReadTask]
    profile: Profile
    params: SamplingParams
    choice_by: ChoiceBy = "generation"

    @property
    def asked(self) -> list[Item]:
        """The items that a reply is written to."""
        return [item for item in self.items if item.kind != "choice" or self.choice_by == "generation"]

    def readings(self, journal: ResponseJournal) -> list[Reading]:
        """What is scored by log-probability and not in the journal yet."""
        if self.choice_by == "generation":
            return []
        left = [i for i in self.items if i.kind == "choice" and journal.needs((i.task, i.id, 0))]
        return [reading(item, self.choice_by) for item in left]

    @property
    def items(self) -> list[Item]:
        return [item for task in self.tasks for item in task.items]


def make_plan(config: BenchConfig) -> Plan:
    """Read the suite and its data; raises ToolError when a task has no usable row."""
    suite = with_keys(_suite(config), config.data, config.question_key, config.answer_key)
    tasks = [read_task(task, config.limit, config.seed) for task in suite.tasks]
    for one in tasks:
        n_read = len(one.items) + len(one.rejected)
        settle(f"task '{one.task.name}'", n_read, one.rejected, one.unreadable, config.max_rejected)
        if one.n_left_out:
            say(f"task '{one.task.name}': {one.n_left_out} rows left out, as the suite says")
    if config.ids is not None:
        tasks = _chosen(tasks, config.ids)
    if config.samples > 1 and config.temperature == 0:
        say(f"--temperature 0: the {config.samples} samples of an item are identical; pass --temperature 0.8")
    params = SamplingParams(config.temperature, config.max_new_tokens, config.samples, config.top_p, seed=config.seed)
    plan = Plan(suite, tasks, _profile(config.model, config.profile, suite), params, config.choice_by)
    if config.choice_by != "generation" and len(plan.asked) == len(plan.items):
        raise ToolError(f"--choice-by {config.choice_by}: there is no multiple choice in the suite; leave it out")
    if config.choice_by != "generation" and config.samples > 1:
        raise ToolError(f"--choice-by {config.choice_by} has one result for each item; leave out --samples")
    return plan


def what_it_tells(plan: Plan) -> list[str]:
    """A line for each task: what its questions can tell, before anything is asked."""
    return [sentence(t.task.name, power_of(len(t.items), plan.params.n)) for t in plan.tasks if t.items]


def _suite(config: BenchConfig) -> Suite:
    name = config.suite or suite_of(config.compare)
    if name is None and config.data:
        return suite_of_datasets(config.data)
    return with_datasets(load_suite(name or DEFAULT), config.data)


def suite_of(baseline: str | None) -> str | None:
    """The suite that a baseline ran, where it says so."""
    if baseline is None:
        return None
    given = read_results(baseline).get("suite_given")
    return given if isinstance(given, str) else None


def _chosen(tasks: Sequence[ReadTask], ids: str) -> list[ReadTask]:
    path = Path(ids)
    words = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else ids.split(",")
    wanted = {word.strip() for word in words if word.strip()}
    if not wanted:
        raise ToolError(f"--ids '{ids}': names no item; write ids with commas between, or a file with one a line")
    known = {item.id for task in tasks for item in task.items}
    if unknown := sorted(wanted - known):
        raise ToolError(f"--ids: no item '{unknown[0]}' in the suite ({len(unknown)} of {len(wanted)} ids unknown)")
    kept = [replace(t, items=[i for i in t.items if i.id in wanted]) for t in tasks]
    return [task for task in kept if task.items]


def _profile(model: str | None, profile: str | None, suite: Suite) -> Profile:
    """The profile that a model was trained with, else that of --profile, of the suite, or the default."""
    if model is not None:
        from tools_shared.models import choose_profile, resolve

        ref = resolve(model)
        return choose_profile(ref, profile or (suite.profile if ref.profile is None else None))
    return load_profile(profile or suite.profile or DEFAULT_PROFILE)


def run_folder(config: BenchConfig) -> Path:
    """Where the run goes: the model's name, made fit for a folder, in the output directory."""
    base = config.output_dir or (Path(os.environ["OUTPUT_DIR"]) / "benchmarks" if "OUTPUT_DIR" in os.environ else None)
    name = display_name(config.model, config.model_name)
    folder = Path(base or "outputs/benchmarks") / folder_name(name)
    if _owner(folder) in (None, name):
        return folder
    return folder.with_name(f"{folder.name}-{sha256(name.encode()).hexdigest()[:8]}")


def _owner(folder: Path) -> str | None:
    """The model that the run in a folder, finished or not, is of: two names can look alike as folders."""
    for path in (folder / "run.json", partial_dir(folder) / "draft.json"):
        if path.is_file():
            identity = json.loads(path.read_text(encoding="utf-8")).get("identity", {})
            identity = BenchConfig.renamed(identity)
            return identity.get("model_name") or (identity.get("model") and Path(identity["model"]).name)
    return None


def display_name(model: str | None, model_name: str | None) -> str:
    if model_name:
        return model_name
    if model:
        return Path(model).name
    raise ToolError("--model-name is missing: it names the results, and the model on the server")


def folder_name(name: str) -> str:
    """`qwen3:8b-baseline` as `qwen3_8b-baseline`."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".") or "model"


def api_of(config: BenchConfig) -> Api:
    return choose_api(
        config.api,
        config.endpoint or "",
        config.model_name,
        config.request_template,
        config.response_path,
        extras_of(config),
    )


def server_of(config: BenchConfig) -> Server:
    """How the endpoint is asked. Of a local model only a judge is, whose address is put in place of the empty one."""
    return Server(
        api_of(config).url if config.endpoint else "",
        read_api_key(config.api_key_env),
        concurrency=config.concurrency,
        timeout=config.timeout,
        max_retries=config.max_retries,
        rate_limit=config.rate_limit,
        habits=Habits(say),
    )


def tells_format(config: BenchConfig) -> bool:
    return config.model is not None or api_of(config).tells_format
