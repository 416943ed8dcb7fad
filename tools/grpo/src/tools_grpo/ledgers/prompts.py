"""`prompts.jsonl`: attempts and passes of each problem, and which problems to skip for their pass rate."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tools_grpo.config import GrpoConfig
from tools_shared import processes
from tools_shared.files import whole_lines, write_jsonl
from tools_shared.files.journal import append

FILE = "prompts.jsonl"


class PromptLedger:
    """Attempts and passes of each problem over the run so far; `Judge` says what a pass is.

    A line holds step, problem, attempts and passes, both counted from the beginning of the run: a problem's last line
    is what is known of it. Every completion sampled for training counts, trained on or not.
    """

    def __init__(self, path: Path, config: GrpoConfig, step: int) -> None:
        """Takes up the ledger in `path` before `step`; lines from there on are of samples that will be made again."""
        self.path, self.config = path, config
        self.counts: dict[str, list[int]] = processes.share(self._before(step) if processes.is_main() else {})

    def _before(self, step: int) -> dict[str, list[int]]:
        there = [json.loads(line) for line in whole_lines(self.path)]
        kept = [row for row in there if row["step"] < step]
        if len(kept) < len(there):
            write_jsonl(self.path, kept)
        return {row["problem"]: [row["attempts"], row["passes"]] for row in kept}

    def skips(self, problem: str) -> bool:
        """Whether the pass rate lies outside --min-pass-rate and --max-pass-rate; never of one not yet tried."""
        attempts, passes = self.counts.get(problem, (0, 0))
        return attempts > 0 and not self.config.min_pass_rate <= passes / attempts <= self.config.max_pass_rate

    def add(self, step: int, attempts: Iterable[tuple[str, bool]]) -> None:
        """Count a step's completions, each its problem and whether it passed; all processes have to call."""
        changed = {}
        for part in processes.gather(list(attempts)):
            for problem, passed in part:
                counts = changed[problem] = self.counts.setdefault(problem, [0, 0])
                counts[0] += 1
                counts[1] += passed
        if processes.is_main():
            self._append(step, changed)

    def _append(self, step: int, changed: dict[str, list[int]]) -> None:
        rows = [{"step": step, "problem": name, "attempts": n, "passes": k} for name, (n, k) in changed.items()]
        append(self.path, rows, sync=True)  # which prompts come next depends on it: not older than the checkpoint
