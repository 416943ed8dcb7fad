"""Baselines that a scorer has to beat: what is known of a trace without its states, or from the question alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_scorer.evaluation.judged import JudgedTrace, by_question
from tools_scorer.states.folder import Hidden

if TYPE_CHECKING:
    import numpy as np
    import torch

MOST_PROMPTS = 20_000
_RIDGE = 1e-2


@dataclass(frozen=True)
class Baseline:
    """Scores [n] of the judged traces. `within`: whether it can differ between traces of one question."""

    name: str
    what: str
    scores: np.ndarray
    within: bool = True


def baselines(hidden: Hidden, traces: Sequence[JudgedTrace]) -> list[Baseline]:
    """All that the data allow: length, pass rate of the others, agreement, the question alone, log-probability."""
    import numpy as np

    found = [
        Baseline("trace length", "the shorter the better", np.array([-t.n_tokens for t in traces], dtype=np.float64)),
        Baseline(
            "leave-one-out pass rate",
            "share of right ones among the question's other traces; it is told the labels, and not of this trace",
            _pass_rates(traces),
            within=False,
        ),
        Baseline("agreement", "share of the question's other traces with the same answer", _agreement(traces)),
    ]
    prompt = prompt_probe(hidden, traces)
    if prompt is not None:
        what = "a linear probe on the hidden state at the end of the prompt, trained on the training questions"
        found.append(Baseline("prompt-only probe", what, prompt, within=False))
    if all(t.info.mean_logprob is not None for t in traces):
        scores = np.array([t.info.mean_logprob for t in traces], dtype=np.float64)
        found.append(Baseline("mean log-probability", "of the trace's tokens when it was drawn", scores))
    return found


def _pass_rates(traces: Sequence[JudgedTrace]) -> np.ndarray:
    import numpy as np

    found = {}
    for question in by_question(traces):
        n, right = len(question), sum(t.right for t in question)
        found |= {id(t): (right - t.right) / (n - 1) if n > 1 else 0.5 for t in question}
    return np.array([found[id(t)] for t in traces])


def _agreement(traces: Sequence[JudgedTrace]) -> np.ndarray:
    import numpy as np

    found = {}
    for question in by_question(traces):
        answers = [t.answer for t in question]
        for t in question:
            same = answers.count(t.answer) - 1 if t.answer is not None else 0
            found[id(t)] = same / max(len(question) - 1, 1)
    return np.array([found[id(t)] for t in traces])


def prompt_probe(hidden: Hidden, traces: Sequence[JudgedTrace]) -> np.ndarray | None:
    """Probability that a trace is right from the state at the end of its prompt, by logistic regression on each
    training question's pass rate. None when the training split has fewer than two questions or one class."""
    import torch

    states, rates = _training_prompts(hidden)
    # No spread: states that came without their prompts.
    if len(rates) < 2 or rates.mean() in (0, 1) or not states.std(0).any():
        return None
    mean, std = states.mean(0), states.std(0).clamp_min(1e-6)
    weights = logistic((states - mean) / std, rates)
    wanted = {t.info.trace_id for t in traces}
    found: dict[str, float] = {}
    for shard in hidden.shards:
        x = (shard.prompt_states()[:, -1].float() - mean) / std
        probabilities = torch.sigmoid(x @ weights[:-1] + weights[-1]).tolist()
        infos = shard.traces()
        found |= {i.trace_id: p for i, p in zip(infos, probabilities, strict=True) if i.trace_id in wanted}
    import numpy as np

    # Rounded: traces of one question have one prompt, and its state may differ in the last bits between batches.
    return np.round([found[t.info.trace_id] for t in traces], 4)


def _training_prompts(hidden: Hidden) -> tuple[torch.Tensor, torch.Tensor]:
    """One row a training question: its prompt's last-layer state, and the share of its traces that are right."""
    import torch

    states: dict[str, torch.Tensor] = {}
    counts: dict[str, list[int]] = {}
    for shard in hidden.shards:
        prompts = shard.prompt_states()
        for i, info in enumerate(shard.traces()):
            if info.split != "train" or info.is_correct is None:
                continue
            if info.question_id not in states:
                if len(states) == MOST_PROMPTS:
                    continue
                states[info.question_id] = prompts[i, -1].float()
            count = counts.setdefault(info.question_id, [0, 0])
            count[0] += info.is_correct
            count[1] += 1
    if not states:
        return torch.zeros(0, hidden.manifest.hidden_size), torch.zeros(0)
    return torch.stack(list(states.values())), torch.tensor([right / n for right, n in counts.values()])


def logistic(x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Weights [d + 1] of a ridge logistic regression, the last for the constant."""
    import torch
    from torch.nn import functional

    weights = torch.zeros(x.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(x @ weights[:-1] + weights[-1], targets)
        value = value + _RIDGE * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()
