"""What `--within` removes from clusters of paraphrases: how much of it is wrong.

    python tools/dedup/tests/benchmarks/clusters.py [MODEL...]

The 39 code problems and 60 questions of `unseen_*.jsonl`, each with its rewording and three texts made of it: one with
words around it, one with other punctuation and case of the first letter, one with a synonym in it; and beside each a
twin that asks something else by one word. A removal is wrong when the text that stays is of another cluster.
"""

import json
import re
import sys
from pathlib import Path

from tools_dedup.config import DedupConfig
from tools_dedup.run import decontaminate
from tools_shared.stats import wilson

HERE = Path(__file__).parent
SYNONYMS = {"return": "give back", "which": "what", "list": "sequence", "number": "count", "largest": "greatest",
            "what": "which", "first": "earliest", "word": "term", "find": "determine"}  # fmt: skip
TWINS = {"largest": "smallest", "longest": "shortest", "first": "last", "maximum": "minimum", "most": "least",
         "greatest": "least", "rises": "falls", "before": "after", "increase": "decrease", "1": "2", "3": "4", "8": "6",
         "alpha": "gamma", "ascending": "descending", "all": "none", "second": "third", "equal": "different",
         "oxygenated": "deoxygenated", "criminal": "civil", "left": "right", "produces": "consumes"}  # fmt: skip


def replaced(text: str, table: dict[str, str]) -> str | None:
    """The text with the first word that the table knows replaced; None where it knows none."""
    for match in re.finditer(r"\w+", text):
        if other := table.get(match[0].lower()):
            return text[: match.start()] + other + text[match.end() :]
    return None


def clusters() -> list[tuple[int, str]]:
    """(cluster, text) of every text, the original of each cluster first."""
    found, n = [], 0
    for name in ("unseen_code.jsonl", "unseen_choice.jsonl"):
        for line in (HERE / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = row["test"]
            made = [text, row["rephrased"], f"Please answer. {text}", text[0].lower() + text[1:].replace("?", " ?")]
            made += [other] if (other := replaced(text, SYNONYMS)) else []
            found += [(n, one) for one in made]
            if twin := replaced(text, TWINS):
                found.append((n + 1, twin))
            n += 2
    return found


def main(*models: str) -> None:
    texts = clusters()
    n_true = len(texts) - len({cluster for cluster, _ in texts})
    for model in ("", *models):
        chosen = {"model": model} if model else {"method": ("exact", "lexical")}
        rows = [{"text": text, "line": n} for n, (_, text) in enumerate(texts, start=1)]
        config = DedupConfig(text_key="text", within=True, **chosen)
        gone = [m for m in decontaminate(rows, {}, config).matches if m["removed_by"]]
        wrong = [m for m in gone if texts[m["train_line"] - 1][0] != texts[m["repeats"]["train_line"] - 1][0]]
        rate = wilson(len(wrong), max(1, len(gone)))
        share = f"{100 * rate.estimate:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
        found = f"{len(texts)} texts, {len(gone)} removed of {n_true} repetitions"
        print(f"{model or 'words and numbers'}: {found}, {len(wrong)} wrong: {share}")
        for match in wrong[:10]:
            print(
                "   ", texts[match["train_line"] - 1][1][:150], "|", texts[match["repeats"]["train_line"] - 1][1][:150]
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
