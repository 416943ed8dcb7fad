"""Ray Data with a real local Ray of two workers: results, errors, and a worker that is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tools_shared.errors import Incomplete, ToolError
from tools_shared.processes.ray_map import RayConfig, map_parts

pytestmark = pytest.mark.slow

PARTS = [{"number": [n, n + 1], "text": [f"{n} ä", f"{n + 1} ö"]} for n in range(0, 16, 2)]
TWO = RayConfig(ray_workers=2)


class Doubler:
    """Doubles numbers; tells its process; complains, fails or dies when it is told to.

    With a folder `meets` it goes on only when another worker has come there too.
    """

    def __init__(self, does="", meets=None):
        self.does, self.meets = does, meets

    def __call__(self, columns):
        if self.meets:
            (Path(self.meets) / str(os.getpid())).touch()
            until = time.monotonic() + 300
            while len(list(Path(self.meets).iterdir())) < 2 and time.monotonic() < until:
                time.sleep(0.05)
        if self.does == "complain":
            raise ToolError("rows.jsonl:3: no text; fix the row")
        if self.does == "fail":
            raise KeyError("a bug")
        if self.does == "die" and 4 in columns["number"]:
            os.kill(os.getpid(), signal.SIGKILL)
        vectors = np.stack([np.full(3, n, dtype=np.float32) for n in columns["number"]])
        return {"double": columns["number"] * 2, "text": columns["text"], "vector": vectors, "pid": [os.getpid()] * 2}


@pytest.fixture(scope="module", autouse=True)
def _ray(local_ray):
    """Ray, whose workers get this module's classes by value, since they cannot import it."""
    local_ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def mapped(does="", on_result=lambda columns: None, **more):
    found = {}
    for part, columns in map_parts(Doubler, {"does": does, **more}, PARTS, TWO):
        assert part not in found
        found[part] = columns
        on_result(columns)
    return found


def test_every_part_comes_once_from_two_processes(tmp_path):
    found = mapped(meets=str(tmp_path))
    assert {part: c["double"].tolist() for part, c in found.items()} == {i: [4 * i, 4 * i + 2] for i in range(8)}
    assert found[1]["text"].tolist() == PARTS[1]["text"]
    assert found[1]["vector"].dtype == np.float32
    assert found[1]["vector"].tolist() == [[2, 2, 2], [3, 3, 3]]
    assert len({pid for c in found.values() for pid in c["pid"]}) == 2


def test_a_killed_worker_loses_nothing(tmp_path):
    killed = []

    def kill_once(columns):
        if not killed:
            killed.append(int(columns["pid"][0]))
            os.kill(killed[0], signal.SIGKILL)

    found = mapped(on_result=kill_once, meets=str(tmp_path))
    assert sorted(found) == list(range(8))
    assert len({pid for c in found.values() for pid in c["pid"]}) >= 2


def test_a_tool_error_is_told_as_it_is():
    with pytest.raises(ToolError, match=r"^rows.jsonl:3: no text; fix the row$"):
        mapped("complain")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(Exception, match="a bug") as error:
        mapped("fail")
    assert not isinstance(error.value, ToolError)


def test_a_cluster_that_is_not_there_is_said_at_once(monkeypatch, local_ray):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(local_ray, "is_initialized", lambda: False)
    with pytest.raises(ToolError, match=f"RAY_ADDRESS={address}: no cluster of this Ray can be reached there"):
        mapped()


def test_a_part_that_kills_every_worker_ends_the_run_resumably():
    with pytest.raises(Incomplete, match="run the same command again"):
        mapped("die")


ON_A_CLUSTER = """
from tools_shared.processes.ray_map import RayConfig, map_parts
class Where:
    def __call__(self, columns):
        import ray
        return {"address": [ray.get_runtime_context().gcs_address], "twice": columns["n"] * 2}
found = dict(map_parts(Where, {}, [{"n": [i]} for i in range(4)], RayConfig(ray_workers=2)))
print(sorted(int(c["twice"][0]) for c in found.values()), *{c["address"][0] for c in found.values()})
"""


def test_the_cluster_of_ray_address_is_used_and_left_running_and_no_other_is_joined():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4})
    elsewhere = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    there = elsewhere | {"RAY_ADDRESS": cluster.address}
    try:
        addresses = []
        for environment in (there, there, elsewhere):
            done = subprocess.run(
                [sys.executable, "-c", ON_A_CLUSTER], capture_output=True, text=True, check=True, env=environment
            )
            # Standard output is the caller's again once the last result is taken.
            numbers, address = done.stdout.split("] ")
            assert numbers == "[0, 2, 4, 6"
            addresses.append(address.strip())
        assert addresses[:2] == [cluster.address] * 2
        assert addresses[2] != cluster.address
    finally:
        cluster.shutdown()
