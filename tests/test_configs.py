"""The configuration files in configs/, run as they are written: each learns something from what the one before made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools_bench.config import EvaluateConfig
from tools_dedup.config import DedupConfig
from tools_grpo.config import GrpoConfig
from tools_scorer.config.scorer import TrainConfig
from tools_scorer.config.states import PreprocessConfig
from tools_sft.config import SftConfig
from tools_shared.config import read_yaml
from tools_shared.runs import read_manifest
from tools_traces.config import TracesConfig

ROOT = Path(__file__).parents[1]
CLASSES = {"sft": SftConfig, "distillation": SftConfig, "rlvr": GrpoConfig}
STAGES = {
    "dedup": DedupConfig, "eval": EvaluateConfig, "prep_sft": SftConfig, "full_sft": SftConfig, "grpo": GrpoConfig,
    "traces": TracesConfig, "scorer_attempts": TracesConfig, "scorer_data": PreprocessConfig, "scorer": TrainConfig,
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_a_configuration_file_names_options_that_there_are(name):
    values = read_yaml(ROOT / "configs" / f"{name}.yaml", CLASSES[name])
    assert values["output_dir"] == f"artifacts/{name}"
    assert {"base_model", "data", "eval_data", "learning_rate"} <= set(values)


@pytest.mark.parametrize("name", ["demo", "lora", "smollm2"])
def test_each_stage_of_the_pipeline_takes_its_file(name):
    files = {path.stem: path for path in (ROOT / "configs" / name).glob("*.yaml")}
    assert set(files) == set(STAGES)
    for stage, config_class in STAGES.items():
        config_class(**read_yaml(files[stage], config_class))  # refuses what a tool would refuse of it


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The three run one after the other, in an empty folder."""
    here = tmp_path_factory.mktemp("configs")
    for tool, name in (("tools-sft", "sft"), ("tools-sft", "distillation"), ("tools-grpo", "rlvr")):
        words = [Path(sys.executable).with_name(tool), "--config", ROOT / "configs" / f"{name}.yaml"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"artifacts/{name}\n"), done.stderr[-2000:]
    return here / "artifacts"


@pytest.mark.slow
def test_sft_teaches_task_and_format(folder):
    assert read_manifest(folder / "sft").metrics["accuracy"]["low"] > 0.7


@pytest.mark.slow
def test_distillation_brings_a_student_near_its_teacher(folder):
    manifest = read_manifest(folder / "distillation")
    assert read_manifest(folder / "sft").sha256 in manifest.parents()
    assert manifest.metrics["accuracy"]["low"] > 0.6


@pytest.mark.slow
def test_rlvr_is_not_worse_than_the_model_it_starts_from(folder):
    gain = read_manifest(folder / "rlvr").metrics["accuracy_gain"]
    assert gain["high"] > 0
    assert gain["n"] == 512
