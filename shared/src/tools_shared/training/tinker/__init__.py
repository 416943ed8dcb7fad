"""Training on a Tinker-compatible service: our rows, rewards and loop here, weights and gradients there.

`options` and `names` are light; the others need transformers and the SDK (`tools-shared[tinker]`).
"""
