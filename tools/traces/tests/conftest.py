"""The untrained demo model solves problems in its own words; this profile reads them, so nothing is trained here."""

import json

import pytest

from tools_shared.cli import Invocation
from tools_traces.config import TracesConfig
from tools_traces.sample import sample

CALL = Invocation("tools-traces", "test")
OPTIONS = {
    "data": "demo://problems?split=train&size=24",
    "max_attempts": 4,
    "max_new_tokens": 96,
    "batch_size": 16,
    "emit": "graded",
    "token_ids": True,
}

PLAIN = """\
name: demo-plain
system: Solve the problem.
answer: [" The answer is ", "."]
"""


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "plain.yaml"
    path.write_text(PLAIN)
    return str(path)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


def run(folder, plain, **options):
    return sample(TracesConfig(**OPTIONS | {"profile": plain, "output_dir": str(folder)} | options), CALL)


def result(folder):
    """What has to be the same: every byte of the rows, and the figures without the times."""
    stats = json.loads((folder / "traces.jsonl.stats.json").read_text())
    del stats["timing"]
    return (folder / "traces.jsonl").read_bytes(), (folder / "traces.graded.jsonl").read_bytes(), stats
