"""What `tools-bench watch` is made of: the policy, its verdicts, the runs that are waiting, and what is published."""
