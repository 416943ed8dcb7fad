"""Hidden states at the ends of steps: their files, and vLLM as what makes them, reading a trace or while writing it."""
