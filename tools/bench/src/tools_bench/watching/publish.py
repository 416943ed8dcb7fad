"""What a watch leaves beside its benchmarks: gates.json, junit.xml and the dashboard."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as Xml

from tools_bench.comparison.lineage_cost import cost_behind
from tools_bench.config import ReportConfig
from tools_bench.report import run_report
from tools_bench.watching.gates import Decision, worst
from tools_shared.files import atomic_write, write_json
from tools_shared.files.locks import Busy, locked


@dataclass(frozen=True)
class Finding:
    """A run with the decisions on it, or why it could not be benchmarked."""

    shown: str
    benchmark: Path
    decisions: Sequence[Decision] = field(default_factory=list)
    error: str | None = None

    @property
    def verdict(self) -> str:
        return "ERROR" if self.error is not None else worst([d.verdict for d in self.decisions])


def publish(folder: Path, runs: Sequence[Path], judged: Sequence[Finding]) -> None:
    """Write the verdicts on all runs, and the dashboard of `runs`; several watchers write one after another."""
    with _alone(folder / ".publish.lock"):
        told: Mapping[str, object] = {
            one.shown: {
                "verdict": one.verdict,
                "benchmark": str(one.benchmark),
                "decisions": [d.to_json() for d in one.decisions],
                "error": one.error,
                "cost": None if one.error is not None else str(cost_behind([one.benchmark])),
            }
            for one in judged
        }
        write_json(folder / "gates.json", told)
        with atomic_write(folder / "junit.xml", "wb") as file:
            file.write(as_junit(judged))
        names = tuple(str(path) for path in runs)
        report = ReportConfig(folders=names, output_file=str(folder / "report.html"))
        run_report(report)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait for the others that publish here."""
    while True:
        try:
            with locked(path, ""):
                yield
                return
        except Busy:
            time.sleep(0.2)


def as_junit(judged: Sequence[Finding]) -> bytes:
    """JUnit XML: a suite a run, a test case a gate. BLOCK is a failure, a gate that was not decided is skipped, and a
    run without a benchmark is an error."""
    root = Xml.Element("testsuites")
    for one in judged:
        root.append(_suite(one))
    return Xml.tostring(root, encoding="utf-8", xml_declaration=True)


def _suite(one: Finding) -> Xml.Element:
    counts = {
        "tests": len(one.decisions) + (one.error is not None),
        "failures": sum(d.verdict == "BLOCK" for d in one.decisions),
        "skipped": sum(d.undecided and d.verdict != "BLOCK" for d in one.decisions),
        "errors": int(one.error is not None),
    }
    suite = Xml.Element(
        "testsuite", name=f"tools-bench watch: {_plain(one.shown)}", **{n: str(v) for n, v in counts.items()}
    )
    for d in one.decisions:
        case = Xml.SubElement(suite, "testcase", classname="tools-bench", name=f"{d.metric}: {d.verdict}")
        if d.verdict == "BLOCK":
            Xml.SubElement(case, "failure", message=_plain(d.why))
        elif d.undecided:
            Xml.SubElement(case, "skipped", message=_plain(d.why))
        Xml.SubElement(case, "system-out").text = _plain(d.why)
    if one.error is not None:
        case = Xml.SubElement(suite, "testcase", classname="tools-bench", name="benchmark")
        Xml.SubElement(case, "error", message=_plain(one.error))
    return suite


def _plain(text: str) -> str:
    """Without characters that XML 1.0 cannot hold."""
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
