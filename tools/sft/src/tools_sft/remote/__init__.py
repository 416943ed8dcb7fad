"""Supervised fine-tuning of weights that are on a Tinker-compatible service."""
