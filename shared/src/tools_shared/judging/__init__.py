"""A language model as judge of replies, by a rubric in a YAML file; over HTTP or in this process.

What is asked, how a verdict is read, what it may cost, and which biases it shows. Rewards, traces and benchmarks take
the same rubrics.
"""

from tools_shared.judging.judge import Judge
from tools_shared.judging.questions import Question
from tools_shared.judging.rubric import Criterion, Rubric, load_rubric
from tools_shared.judging.spent import Spent

__all__ = ["Criterion", "Judge", "Question", "Rubric", "Spent", "load_rubric"]
