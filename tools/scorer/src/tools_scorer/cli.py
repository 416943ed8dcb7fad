"""The command line of tools-scorer."""

import click

from tools_scorer import __version__


@click.group()
@click.version_option(__version__, prog_name="tools-scorer")
def main() -> None:
    """Learn from hidden states how likely a trace is to be right.

    This version has no commands yet.
    """
