"""GRPO with weights that are on a Tinker-compatible service."""
