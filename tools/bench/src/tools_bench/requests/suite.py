"""Suites: YAML files that say which tasks a benchmark has. Adding one is one file.

    name: standard
    profile: boxed               # optional: the prompt profile for models that were not trained with one
    tasks:
      - name: gsm8k              # how results and `--data gsm8k=path` call it
        kind: math               # math, match (free text), choice (letters), instructions (checked by a program),
                                 # code (run on tests), tutor, safety or judged (by a rubric)
        rubric: how-to.yaml      # for kind judged: what the judge is asked, and which judge
        source: data://gsm8k-test.jsonl
        url: https://...         # where `tools-bench data fetch` gets it
        sha256: 3730d312...      # of the file; what differs is refused
        licence: MIT
        home: https://...        # where its authors describe it, for data without a url
        n: 1319                  # the rows that it has
        leave_out: {type: hard}  # rows whose field has this value are not asked
        limit: 200               # the first rows only
        metrics: [accuracy, numeric_match]   # optional: report these only

`source` is any address that the tools read (a path relative to the suite, a glob, `hf://owner/name?...&revision=`),
or `data://NAME`: a file in the data folder (`TOOLS_BENCH_DATA_DIR`, else the user's cache folder). The `sha256` of an
`hf://` source is that of its rows; `tools-bench data verify` says it. A shipped suite without a sha256 is refused until
you pin it: `data verify` prints the line for `pins.yaml` in the data folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tools_bench.grading.metrics import check_choice
from tools_bench.requests.pins import HUB, check_rows
from tools_shared.config import nearest
from tools_shared.config.environment import value_of
from tools_shared.errors import ToolError, brief
from tools_shared.files import sha256_file, yaml_text
from tools_shared.judging import load_rubric

KINDS = ("math", "match", "choice", "instructions", "code", "tutor", "safety", "judged")
MODES = ("hint", "check_step", "explain")
TEXT_OF_SUITE = ("name", "description", "profile")
SUITE_KEYS = (*TEXT_OF_SUITE, "tasks")
TEXT_OF_TASK = ("sha256", "url", "home", "licence", "question_key", "answer_key", "mode", "rubric")
DEFAULT = "standard"
BUILT_IN = Path(__file__).parent / "suites"
DATA_SCHEME = "data://"


@dataclass(frozen=True)
class Task:
    """One set of items of one kind. `mode` and `grade` are for tutor rows that do not carry their own; `metrics` are
    those that are reported, empty for all. `suite` is the shipped suite that it is of, None for a user's own."""

    name: str
    kind: str
    source: str
    sha256: str | None = None
    url: str | None = None
    home: str | None = None
    n: int | None = None
    leave_out: Mapping[str, str] = field(default_factory=dict)
    licence: str | None = None
    question_key: str | None = None
    answer_key: str | None = None
    limit: int | None = None
    mode: str = "hint"
    grade: str = "6"
    metrics: tuple[str, ...] = ()
    rubric: str | None = None
    suite: str | None = None

    @property
    def is_shipped_with_data(self) -> bool:
        """Whether its rows come with the package."""
        return not self.source.startswith((HUB, DATA_SCHEME))

    def refuse_unpinned(self) -> None:
        """Raise ToolError for data of a shipped suite that no hash pins: it could be another benchmark tomorrow."""
        if self.suite is not None and self.sha256 is None and not self.is_shipped_with_data:
            raise ToolError(
                f"task '{self.name}' of suite {self.suite} has no sha256, as no public record gives one: run "
                f"tools-bench data verify --suite {self.suite}, which prints the line that pins it, or pass "
                f"--data {self.name}=PATH"
            )

    def location(self) -> str:
        """The address to read from; raises ToolError when its file is not there or is another one than pinned."""
        self.refuse_unpinned()
        if self.source.startswith(HUB):
            if self.sha256 is not None:
                check_rows(self.source, self.sha256)
            return self.source
        if not self.source.startswith(DATA_SCHEME):
            self._check(Path(self.source))
            return self.source
        path = data_dir() / self.source.removeprefix(DATA_SCHEME)
        if not path.exists():
            how = f"get it from {self.home}" if self.url is None and self.home else "run tools-bench data fetch"
            raise ToolError(
                f"{path}: the data of task '{self.name}' is not here; {how}, give a copy with "
                f"--suite NAME --data {self.name}=PATH, or take --suite quick, which needs none"
            )
        self._check(path)
        return str(path)

    def _check(self, path: Path) -> None:
        if self.sha256 is not None and path.is_file() and (found := sha256_file(path)) != self.sha256:
            raise ToolError(
                f"{path}: is not the file that the suite pins (sha256 {found[:16]}, expected {self.sha256[:16]}); "
                "run tools-bench data fetch, or drop the pin in a suite of your own"
            )


@dataclass(frozen=True)
class Suite:
    """A named list of tasks, in the order they run. `profile` is the prompt profile, where it is not that of the model
    or of --profile."""

    name: str
    tasks: tuple[Task, ...]
    description: str = ""
    profile: str | None = None


def data_dir() -> Path:
    """Where fetched data lies."""
    if given := value_of("TOOLS_BENCH_DATA_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tools-bench" / "data"


def shipped() -> list[str]:
    """The names of the suites that come with the package."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def pins_file() -> Path:
    """Where users pin what a shipped suite does not: `SUITE/TASK: sha256` on a line."""
    return data_dir() / "pins.yaml"


def _with_pin(task: Task, suite: str) -> Task:
    """A task of a shipped suite, with the user's pin where the suite has none."""
    task = replace(task, suite=suite)
    if task.sha256 is not None or task.is_shipped_with_data or not pins_file().is_file():
        return task
    pins = yaml_text.load(pins_file())
    pin = pins.get(f"{suite}/{task.name}") if isinstance(pins, Mapping) else None
    if pin is not None and not isinstance(pin, str):
        raise ToolError(f"{pins_file()}: {suite}/{task.name} must be text; write the sha256 in quotation marks")
    return replace(task, sha256=pin)


def load_suite(name_or_file: str) -> Suite:
    """A built-in suite by name, or a file; raises ToolError naming what is wrong in it."""
    known = shipped()
    path = BUILT_IN / f"{name_or_file}.yaml" if name_or_file in known else Path(name_or_file)
    if not path.is_file():
        close = nearest(name_or_file, known)
        raise ToolError(f"--suite {name_or_file}: no such suite{close}; use {', '.join(known)}, or a YAML file")
    if path.suffix not in (".yaml", ".yml"):
        raise ToolError(
            f"--suite {name_or_file}: is not a suite (a YAML file); if it contains data, pass --data {path}"
        )
    content = yaml_text.load(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("tasks"), list) or not content["tasks"]:
        raise ToolError(f"{path}: a suite has a name and a list of tasks")
    if unknown := next((key for key in content if key not in SUITE_KEYS), None):
        raise ToolError(f"{path}: unknown key {brief(unknown)}{nearest(brief(unknown, quoted=False), SUITE_KEYS)}")
    if wrong := next((key for key in TEXT_OF_SUITE if not isinstance(content.get(key, ""), str)), None):
        raise ToolError(f"{path}: {wrong} must be text, got {brief(content[wrong])}")
    tasks = tuple(_task(row, path, number) for number, row in enumerate(content["tasks"], start=1))
    if path.parent == BUILT_IN:
        tasks = tuple(_with_pin(task, path.stem) for task in tasks)
    names = [task.name for task in tasks]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise ToolError(f"{path}: two tasks are called '{twice}'; rename one")
    return Suite(content.get("name", path.stem), tasks, content.get("description", ""), content.get("profile"))


def _task(row: Any, path: Path, number: int) -> Task:
    known = {f.name for f in fields(Task)} - {"suite"}
    where = f"{path}: task {number}"
    if not isinstance(row, Mapping):
        raise ToolError(f"{where}: expected a mapping with name, kind and source")
    if unknown := next((key for key in row if key not in known), None):
        raise ToolError(f"{where}: unknown key {brief(unknown)}{nearest(brief(unknown, quoted=False), known)}")
    row = {key: value for key, value in row.items() if value is not None}
    if missing := next((key for key in ("name", "kind", "source") if not isinstance(row.get(key), str)), None):
        raise ToolError(f"{where}: '{missing}' is missing or not text")
    if wrong := next((key for key in TEXT_OF_TASK if not isinstance(row.get(key, ""), str)), None):
        raise ToolError(f"{where}: {wrong} must be text, got {brief(row[wrong])}; write it in quotation marks")
    chosen = row.get("metrics", [])
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise ToolError(f"{where}: metrics must be a list of names, got {brief(chosen)}")
    task = Task(**{**row, "grade": str(row.get("grade", Task.grade)), "metrics": tuple(chosen)})
    if task.kind not in KINDS:
        raise ToolError(f"{where}: kind must be one of {', '.join(KINDS)}, got '{task.kind}'")
    if task.mode not in MODES:
        raise ToolError(f"{where}: mode must be one of {', '.join(MODES)}, got '{task.mode}'")
    for key, value in (("limit", task.limit), ("n", task.n)):
        if value is not None and (type(value) is not int or value < 1):
            raise ToolError(f"{where}: {key} must be a whole number from 1, got {value!r}")
    if not isinstance(task.leave_out, Mapping):
        raise ToolError(f"{where}: leave_out must be a mapping of fields to values, got {brief(task.leave_out)}")
    check_choice(task.metrics, task.kind, where)
    task = _with_rubric(task, path, where)
    local = path.parent / task.source
    return replace(task, source=str(local)) if local.exists() else task


def _with_rubric(task: Task, path: Path, where: str) -> Task:
    """The task with its rubric's path as it is from here; raises ToolError for a rubric that cannot be used."""
    if (task.kind == "judged") != (task.rubric is not None):
        raise ToolError(f"{where}: kind judged and a rubric (a YAML file) belong together; give both or neither")
    if task.rubric is None:
        return task
    beside = path.parent / task.rubric
    found = replace(task, rubric=str(beside if beside.exists() else task.rubric))
    if load_rubric(Path(found.rubric or "")).kind == "pairwise":
        raise ToolError(f"{where}: {found.rubric} compares replies of a group, and here is one; use score or criteria")
    return found
