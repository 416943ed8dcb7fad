"""Per-sample logs of other harnesses, read into runs of this tool: one module a harness, each with `read(path)`."""
