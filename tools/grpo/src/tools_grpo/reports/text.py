"""An inspection for the terminal."""

from __future__ import annotations

from tools_grpo.inspect import Inspection, Shown, mean, spans
from tools_shared.console import printable

HEAD = "steps           reward   zero var  length  truncated  log-prob"
TITLES = {
    "best": "Best",
    "worst": "Worst",
    "surprising": "Most surprising: rewarded though unlikely, or not rewarded though likely",
}


def as_text(found: Inspection) -> str:
    lines = [f"{found.path}: {len(found.steps)} steps, {found.n_rollouts} rollouts", "", HEAD]
    for span in spans(found.steps, 12):
        name = f"{span[0].step + 1}-{span[-1].step + 1}" if len(span) > 1 else f"{span[0].step + 1}"
        lines.append(
            f"{name:<12}{mean(span, 'reward'):10.4g}{100 * mean(span, 'flat'):9.1f} %{mean(span, 'length'):8.1f}"
            f"{100 * mean(span, 'truncated'):9.1f} %{mean(span, 'logprob'):10.4f}"
        )
    for name, title in TITLES.items():
        lines += ["", f"## {title}"]
        for shown in getattr(found, name):
            lines += ["", facts(shown), _indented(printable(shown.row["prompt"]), "  > ")]
            lines.append(_indented(printable(shown.row["completion"]), "    "))
    return "\n".join(lines)


def facts(shown: Shown) -> str:
    """One line about a rollout; the step is counted from 1, as in the live lines."""
    row = shown.row
    parts = ", ".join(
        f"{name} {value:g}" if value is not None else f"{name} -" for name, value in row["rewards"].items()
    )
    surprise = f", surprise {shown.surprise:.2f}" if shown.surprise is not None else ""
    cut = ", cut at the length limit" if row["finish_reason"] == "length" else ""
    return printable(
        f"step {row['step'] + 1}, {row['problem']}, sample {row['sample']}: reward {row['reward']:g} ({parts}), "
        f"advantage {row['advantage'] or 0:+.2f}, {row['n_tokens']} tokens{cut}, "
        f"log-prob {shown.logprob:.3f} a token{surprise}"
    )


def _indented(text: str, margin: str) -> str:
    return "\n".join(margin + line for line in text.strip("\n").split("\n"))
