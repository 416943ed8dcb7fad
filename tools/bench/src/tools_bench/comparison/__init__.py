"""Runs side by side: read back, paired, tested, shown."""
