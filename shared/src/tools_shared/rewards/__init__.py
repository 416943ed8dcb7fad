"""Rewards by name, in TRL's signature, graded with `answers`.

A reward is called as `reward(prompts, completions, **columns)` and returns a float for each completion, or None
for a row that cannot be judged (TRL leaves it out). `columns` hold every column of the row, `question`, `answer` (the
gold answers), `id` and, where prompts open the reasoning themselves, `opens_thinking`; TRL adds `completion_ids`,
`trainer_state`, `log_extra` and `log_metric`. Weights are the trainer's to apply (TRL's `reward_weights`): a reward
returns its own scale.

| name | value of a completion |
| --- | --- |
| `verified` | 1 for a correct answer inside a well-formed completion, else 0 |
| `correct` | 1 for a correct answer inside the answer tags, whatever else is there, else 0 |
| `format` | 1 for a well-formed completion, else 0 |
| `length` | -n / `length_limit`, and -1 from there on; n counts tokens (words where there are no `completion_ids`) |
| `gsm8k-tiered` | the sum of the three below, as in the GRPO notebooks: 10 for a perfect completion |
| `tiered-format` | 3 for a well-formed completion, else 0 |
| `tiered-tags` | for each of the profile's tags +0.5 where it occurs exactly once, else -1 |
| `tiered-answer` | 5 equal, 2 within 10 %, 1.5 within 20 %, -2.5 wrong, -4.5 not a number, -2 no answer or several |
| `agrees` | for judges: the share of a verdict that agrees with the label, 0 for one not in the rubric's form |

An empty answer and a placeholder (`...`, `your answer`) are no answer, and a completion with one, or with two answers,
is not well formed. Gold answers may be text, numbers or a list of one; where there is none that can be read, there is
no reward (None).

Nothing here catches an exception: a reward that fails stops the training instead of scoring 0.
"""

from tools_shared.rewards.check import Mode, RewardCheck, check_rewards
from tools_shared.rewards.columns import check_row, reward_arguments, reward_rows
from tools_shared.rewards.inputs import completion_text
from tools_shared.rewards.load import DEFAULT_REWARD, FileReward, load_rewards
from tools_shared.rewards.named import DEFAULT_LENGTH_LIMIT, PRESETS, SCORES, NamedReward, Reward

__all__ = [
    "DEFAULT_LENGTH_LIMIT",
    "DEFAULT_REWARD",
    "PRESETS",
    "SCORES",
    "FileReward",
    "Mode",
    "NamedReward",
    "Reward",
    "RewardCheck",
    "check_rewards",
    "check_row",
    "completion_text",
    "load_rewards",
    "reward_arguments",
    "reward_rows",
]
