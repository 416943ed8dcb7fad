"""A finished run in the form that other programs take: merged weights, GGUF, Ollama, a folder for the hub.

Every export is itself a run directory: it appears when it is whole, says in `run.json` what it was made from, and is
replaced only by `--overwrite` and only where nothing in it was changed since.
"""
