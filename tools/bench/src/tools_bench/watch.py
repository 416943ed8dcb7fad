"""`tools-bench watch`: every new run is benchmarked once, judged by the policy, and published.

Nothing is kept but benchmarks under names that tell their contents: what is finished there is not asked again, and what
a kill interrupted is resumed from its journal. Two watchers of one folder share the runs by the locks of their drafts.
"""

from __future__ import annotations

import time
from pathlib import Path

from tools_bench.comparison.regressions import compare_all
from tools_bench.comparison.stored_runs import Side, is_benchmark, read_side
from tools_bench.config import BenchConfig, VerdictConfig
from tools_bench.grading.metrics import metric_of
from tools_bench.requests.plan import run_folder
from tools_bench.requests.suite import Suite, load_suite
from tools_bench.run import run_benchmark
from tools_bench.watching.gates import Decision, decide, worst
from tools_bench.watching.options import WatchConfig
from tools_bench.watching.policy import GatePolicy, read_policy
from tools_bench.watching.publish import Finding, publish
from tools_bench.watching.waiting import Candidate, candidate_of, candidates, readable, suite_sha256
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.errors import Incomplete, ToolError
from tools_shared.files.locks import Busy
from tools_shared.processes.stopping import StopRequest
from tools_shared.runs.read import MANIFEST, read_manifest

PAUSE = 1.0
"""Seconds between two looks at a run that another watcher benchmarks, with --once."""


class GateError(ToolError):
    """A gate warns or blocks, with the exit code of the policy."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_watch(config: WatchConfig, invocation: Invocation) -> list[Finding]:
    """RunWatcher until a signal comes, or with `once` until everything there is judged.

    Raises GateError where the policy has an exit code for the worst verdict, Incomplete where a benchmark can be
    resumed, ToolError where one cannot be made.
    """
    watch = RunWatcher(config, invocation)
    with StopRequest().listening():
        while True:
            is_settled = watch.look()
            if config.once and is_settled:
                return watch.settle()
            time.sleep(PAUSE if config.once else config.interval)


def _check_gates(policy: GatePolicy, suite: Suite) -> None:
    """Raise ToolError for a gate on a metric that the suite does not measure, before anything is asked."""
    kinds = {task.kind for task in suite.tasks}
    for gate in policy.gates:
        kind = metric_of(gate.metric).kind
        if kind not in kinds:
            raise ToolError(
                f"the policy's gate {gate.metric}: is of kind {kind}, and suite {suite.name} has "
                f"{', '.join(sorted(kinds))}; leave it out, or take another --suite"
            )


def _benchmark(config: BenchConfig, invocation: Invocation) -> None:
    """Make the benchmark, unless it is there: its name tells its contents, wherever the model lies today."""
    if not (run_folder(config) / MANIFEST).is_file():
        run_benchmark(config, invocation)


class RunWatcher:
    """The runs judged so far. The suite, the policy and the baseline are those of the beginning."""

    def __init__(self, config: WatchConfig, invocation: Invocation) -> None:
        if not Path(config.root).is_dir():
            raise ToolError(f"{config.root}: no such folder; name the folder that holds the runs")
        self.config, self.invocation = config, invocation
        self.policy: GatePolicy = read_policy(config.policy)
        self.suite = load_suite(config.suite)
        _check_gates(self.policy, self.suite)
        self.judged: dict[str, Finding] = {}
        self.errors: list[ToolError] = []
        self._unreadable: set[str] = set()
        self._baseline: Side | None = None
        self._baseline_sha256: str | None = None

    def look(self) -> bool:
        """Benchmark and judge what is new; returns whether nothing is left to others."""
        found = list(candidates(self.config, self.suite, self._unreadable))
        new = [one for one in found if one.name not in self.judged]
        if not found and self.config.once:
            raise ToolError(f"{self.config.root}: no finished run with a model below it; train one, or name its folder")
        n_before = len(self.judged)
        if new:
            if self.policy.baseline is not None and self._baseline is None and not self._read_baseline():
                return False
            for one in new:
                self._judge(one)
        if len(self.judged) > n_before:
            self._publish()
        return all(one.name in self.judged for one in found)

    def _publish(self) -> None:
        out = Path(self.config.output_dir)
        places = [folder for folder in (Path(self.config.root), out) if folder.is_dir()]
        runs = {manifest.path: None for folder in places for manifest in readable(folder, self._unreadable)}
        out.mkdir(parents=True, exist_ok=True)
        publish(out, list(runs), list(self.judged.values()))

    def settle(self) -> list[Finding]:
        """Everything that was judged; raises for the worst of it."""
        judged = list(self.judged.values())
        verdict = worst([one.verdict for one in judged if one.error is None])
        code = self.policy.exit_codes.get(verdict.lower(), 0)
        if verdict == "BLOCK" and code:
            raise GateError(self._told(verdict), code)
        if self.errors:
            raise self.errors[0]
        if code:
            raise GateError(self._told(verdict), code)
        return judged

    def _told(self, verdict: str) -> str:
        words = [f"{one.shown}: {d.why}" for one in self.judged.values() for d in one.decisions if d.verdict == verdict]
        return f"{verdict}: " + "; ".join(words)

    def _read_baseline(self) -> bool:
        """Read the baseline, which is benchmarked first where it is no benchmark; False while another does it."""
        given = str(self.policy.baseline)
        if is_benchmark(given):
            self._baseline = read_side(given)
            return True
        manifest = read_manifest(given)
        one = candidate_of(manifest, Path(given).resolve().name, self.config, suite_sha256(self.suite))
        try:
            _benchmark(one.config, self.invocation)
        except Busy:
            return False
        self._baseline, self._baseline_sha256 = read_side(run_folder(one.config)), manifest.sha256
        return True

    def _judge(self, one: Candidate) -> None:
        folder = run_folder(one.config)
        try:
            _benchmark(one.config, self.invocation)
            judged = Finding(one.shown, folder, self._decisions(one, folder))
        except Busy:
            return
        except Incomplete as error:
            if str(error).startswith("stopped by "):
                raise
            judged = self._failed(one, folder, error)
        except ToolError as error:
            judged = self._failed(one, folder, error)
        self.judged[one.name] = judged
        say("\n".join([f"{judged.verdict}  {one.shown}", *(f"    {d.verdict}  {d.why}" for d in judged.decisions)]))

    def _failed(self, one: Candidate, folder: Path, error: ToolError) -> Finding:
        self.errors.append(error)
        say(f"{one.shown}: {error}")
        return Finding(one.shown, folder, error=str(error))

    def _decisions(self, one: Candidate, folder: Path) -> list[Decision]:
        side, verdicts = read_side(folder), None
        if self._baseline is not None and one.sha256 != self._baseline_sha256:
            gates = tuple(f"{gate.metric}:0" for gate in self.policy.gates if gate.compares)
            (comparison,) = compare_all(self._baseline, [side], VerdictConfig(alpha=self.policy.alpha, fail_on=gates))
            verdicts = comparison.verdicts
        return decide(self.policy, side.results, verdicts)
