"""The demo model as it stands solves problems in its own words; this profile reads them, so nothing is trained here."""

import pytest

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
