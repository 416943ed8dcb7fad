"""`tools-bench report`: any number of runs as one HTML file that needs nothing else."""

from tools_bench.report.page import run_report

__all__ = ["run_report"]
