"""`python -m tools_dedup` is `tools-dedup`."""

from tools_dedup.cli import main

main()
