"""Statistics of an evaluation: every rate with its interval, every comparison paired.

Which method for what, and why: a rate of independent items has Wilson's interval; a difference of two right-or-wrong
runs on the same items has Tango's, with McNemar's exact test; whatever is clustered (many samples of one question) or
not 0/1 (lengths, rewards, pass@k) has a bootstrap over clusters, with a sign-flip test (`bounded_mean`
where values lie in [0, 1] and may all be equal); several seeds on the same questions have an interval over both. The
choices rest on the
coverage that `shared/tests/test_stats_coverage.py` measures.
"""

from tools_shared.stats.bootstrap import bootstrap_mean, bootstrap_means
from tools_shared.stats.bounded import bounded_difference, bounded_mean
from tools_shared.stats.crossed import crossed_difference, crossed_mean
from tools_shared.stats.paired import (
    PairedDifference,
    mcnemar_exact,
    paired_difference,
    paired_differences,
    paired_mde,
    tango_interval,
)
from tools_shared.stats.rates import Interval, holm, hommel, pass_at_k, wilson

__all__ = [
    "Interval",
    "PairedDifference",
    "bootstrap_mean",
    "bootstrap_means",
    "bounded_difference",
    "bounded_mean",
    "crossed_difference",
    "crossed_mean",
    "holm",
    "hommel",
    "mcnemar_exact",
    "paired_difference",
    "paired_differences",
    "paired_mde",
    "pass_at_k",
    "tango_interval",
    "wilson",
]
