"""docker/launch: scripts that bash can read, and words that the tools understand."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parents[1] / "docker" / "launch"


def containers(value):
    """Every container of a Kubernetes object, however deep."""
    if isinstance(value, dict):
        yield from value.get("containers", [])
        for inner in value.values():
            yield from containers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from containers(inner)


def understood(image: str, words: list[str]) -> None:
    """Raises click's UsageError when the image's tool has no such options."""
    tool = re.search(r"tools-(\w+):", image)[1]
    command = importlib.import_module(f"tools_{tool}.cli").main
    command.make_context(f"tools-{tool}", list(words))


@pytest.mark.parametrize("name", ["slurm.sbatch", "slurm-nodes.sbatch", "ray-job.sh"])
def test_bash_can_read_it(name):
    subprocess.run(["bash", "-n", LAUNCH / name], check=True)


@pytest.mark.parametrize(
    ("name", "n_containers"),
    [("kubernetes-job.yaml", 1), ("jobset.yaml", 2), ("kubernetes-shards.yaml", 1), ("jobset-nodes.yaml", 1)],
)
def test_kubernetes_jobs_call_tools_as_they_are(name, n_containers):
    found = list(containers(yaml.safe_load((LAUNCH / name).read_text())))
    assert len(found) == n_containers
    for container in found:
        understood(container["image"], [word.replace("$(SHARD)", "0") for word in container["args"]])
        assert container["securityContext"]["readOnlyRootFilesystem"]


def test_skypilot_runs_the_tool_as_it_is():
    words = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())["run"].split()
    place = next(i for i, word in enumerate(words) if "tools-" in word)
    understood(words[place], words[place + 1 :])


def test_several_machines_run_the_tool_as_torchrun_does():
    (container,) = containers(yaml.safe_load((LAUNCH / "jobset-nodes.yaml").read_text()))
    from torch.distributed.run import get_args_parser

    words = get_args_parser().parse_args([*container["command"][1:], *container["args"]])
    assert (words.nnodes, words.nproc_per_node, words.no_python) == ("2", "8", True)
    assert f"{words.training_script}:" in container["image"]


@pytest.mark.parametrize(
    ("name", "kind", "n_processes", "n_machines"),
    [
        ("accelerate-gpu.yaml", "NO", 1, 1),
        ("accelerate-ddp.yaml", "MULTI_GPU", 8, 1),
        ("accelerate-fsdp2.yaml", "FSDP", 8, 1),
        ("accelerate-nodes.yaml", "FSDP", 16, 2),
    ],
)
def test_accelerate_reads_its_configuration(name, kind, n_processes, n_machines):
    from accelerate.commands.config import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    from tools_shared.processes import FSDP2

    config = load_config_from_file(str(LAUNCH / name))
    assert (config.distributed_type.value, config.num_processes, config.num_machines) == (kind, n_processes, n_machines)
    assert config.fsdp_config.keys() <= vars(launch_command_parser().parse_args(["tools-sft"])).keys()
    if kind == "FSDP":
        as_environment = {key.upper(): str(value) for key, value in config.fsdp_config.items()}
        assert FSDP2.items() <= (as_environment | {"ACCELERATE_USE_FSDP": "true"}).items()
