"""The judge's scores of two models on the same held-out goals, paired: python configs/how2/compare.py RUN_A RUN_B.

Each run is one of tools-traces with `--accept REWARD>=X --emit graded` and one attempt a goal. A goal without a score
in one of the runs is left out and counted. What the judge prefers is not what people prefer.
"""

import json
import sys
from pathlib import Path
from statistics import fmean

from tools_shared.stats import paired_difference


def scores(run: Path) -> dict[str, float | None]:
    """The score of each goal's attempt, by the goal's id."""
    (file,) = run.glob("*.graded.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {row["id"]: row["score"] for row in rows}


def main(first: Path, second: Path) -> None:
    a, b = scores(first), scores(second)
    both = [name for name in a if a[name] is not None and b.get(name) is not None]
    if not both:
        sys.exit(f"{first} and {second}: no goal was judged in both")
    found = paired_difference([a[name] for name in both], [b[name] for name in both])
    print(f"goals judged in both: {len(both)} of {len(a.keys() | b.keys())}")
    print(f"{first.name}: mean score {fmean(a[name] for name in both):.3f}")
    print(f"{second.name}: mean score {fmean(b[name] for name in both):.3f}")
    print(f"difference {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], paired, n={found.n}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
