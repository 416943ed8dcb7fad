"""The files of a finished run: rows, scores, statistics."""
