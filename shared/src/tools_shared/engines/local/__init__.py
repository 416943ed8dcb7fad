"""Sampling with transformers: continuous batching, fixed batches, prefill, cache."""
