"""The command line of tools-traces."""

import click

from tools_traces import __version__


@click.group()
@click.version_option(__version__, prog_name="tools-traces")
def main() -> None:
    """Sample verified reasoning traces from a trained model.

    This version has no commands yet.
    """
