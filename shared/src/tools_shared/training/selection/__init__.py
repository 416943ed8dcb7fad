"""Evaluation while a model trains: held-out rows, the best weights so far, and an early stop.

The best of many evaluations looks better than it is, as luck chose it too. So the held-out rows are halved: one half
chooses, and the other, which had no part in it, says how good the chosen weights are.
"""
