"""Sampling with vLLM: in this process, and from a server of its own."""
