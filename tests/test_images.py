"""The CPU images, built and run: alone, wired by compose and make, cut off, cornered, and with any user."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools_shared.files import sha256_file
from tools_shared.runs import read_manifest

ROOT = Path(__file__).parents[1]
TOOLS = ["dedup", "sft", "grpo", "traces", "scorer", "bench"]
ENGINE = shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
ANYONE = "12345:23456"
CONFINED = ["--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none"]
SMALL = "--eval-samples 8 --eval-max-new-tokens 16".split()
SLOW_GRPO = f"--base-model demo --save-steps 1 --max-completion-length 32 {' '.join(SMALL)}".split()
"""256 steps: long enough to be met while it runs."""

pytestmark = [pytest.mark.docker, pytest.mark.skipif(not ENGINE, reason="no Docker engine answers")]


def run(*words, check=True, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**os.environ, **environment},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


def docker(*words, check=True, cwd=ROOT) -> subprocess.CompletedProcess:
    return run("docker", *words, check=check, cwd=cwd)


def tool(name: str, *words, options=(), check=True) -> subprocess.CompletedProcess:
    """The tool in its container: read-only root, no network, no capabilities, a user that nobody knows."""
    return docker("run", *CONFINED, "--user", ANYONE, *options, f"tools-{name}:cpu", *words, check=check)


def inspect(image: str) -> dict:
    return json.loads(docker("image", "inspect", image).stdout)[0]


@pytest.fixture(scope="module", autouse=True)
def images():
    run("make", "images", "VARIANT=cpu")


@pytest.fixture
def shared_folder(tmp_path):
    """A folder that every user may write to, as an artifacts volume is."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    folder.chmod(0o777)
    tmp_path.chmod(0o755)
    return folder


@pytest.fixture
def running(shared_folder):
    """A GRPO run under way in a container, past its first checkpoint; killed at the end if the test has not."""
    words = ["--detach", "--volume", f"{shared_folder}:/artifacts", "--user", ANYONE]
    started = [word for word in CONFINED if word != "--rm"]
    name = docker("run", *started, *words, "tools-grpo:cpu", *SLOW_GRPO).stdout.strip()
    wait_for(shared_folder, "grpo.partial/checkpoints/checkpoint-*/checkpoint.whole", name)
    yield name
    docker("rm", "--force", name)


def wait_for(folder: Path, pattern: str, container: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        state = docker("inspect", "--format", "{{.State.Running}}", container).stdout.strip()
        assert state == "true", docker("logs", container).stderr[-2000:]
        assert time.monotonic() < deadline, f"{pattern} did not appear"
        time.sleep(0.1)


# ---- What an image is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOOLS)
def test_the_entry_point_is_the_tool_for_any_user(name):
    assert f"Usage: tools-{name}" in tool(name, "--help").stdout
    assert re.search(r"\d+\.\d+\.\d+", tool(name, "--version").stdout)


@pytest.mark.parametrize("name", TOOLS)
def test_labels_user_and_size_of_our_code(name):
    image = inspect(f"tools-{name}:cpu")
    labels = image["Config"]["Labels"]
    version = re.search(r"(\d+\.\d+\.\d+)", tool(name, "--version").stdout)[1]
    assert labels["org.opencontainers.image.version"] == version
    assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "org.opencontainers.image.source" in labels
    assert image["Config"]["User"] == "1000:1000"
    assert inspect(f"tools-{name}:{version}-cpu")["Id"] == image["Id"]
    sizes = docker("history", "--human=false", "--format", "{{.Size}}", f"tools-{name}:cpu").stdout.split()
    ours = next(int(size) for size in sizes if size != "0")  # the last layer, which is listed first
    assert ours < 15_000_000
    assert not re.search(r"(?i)token|password|secret", " ".join(image["Config"]["Env"]))


@pytest.mark.parametrize("name", TOOLS)
def test_an_image_holds_what_its_tool_imports_and_no_compiler(name):
    listed = docker("run", *CONFINED, "--entrypoint", "pip", f"tools-{name}:cpu", "list", "--format=json").stdout
    packages = {entry["name"] for entry in json.loads(listed)}
    assert ("trl" in packages) == (name in ("sft", "grpo"))
    assert packages & {"sentence-transformers", "faiss-cpu"} == (
        {"sentence-transformers", "faiss-cpu"} if name == "dedup" else set()
    )
    assert "vllm" not in packages
    assert {p for p in packages if p.startswith("tools-")} == {"tools-shared", f"tools-{name}"}
    found = docker(
        "run", *CONFINED, "--entrypoint", "sh", f"tools-{name}:cpu", "-c", "command -v gcc cc g++", check=False
    )
    assert found.stdout == ""


def test_images_share_the_layers_below_their_tool():
    layers = {name: inspect(f"tools-{name}:cpu")["RootFS"]["Layers"] for name in TOOLS}
    for pair in (("sft", "grpo"), ("sft", "bench"), ("traces", "scorer"), ("sft", "traces")):
        assert sum(map(str.__eq__, *(layers[name] for name in pair))) >= 5, pair


def test_a_changed_line_of_a_tool_changes_only_the_last_layer(tmp_path):
    context = tmp_path / "context"
    shutil.copytree(ROOT, context, ignore=shutil.ignore_patterns(".*", "__pycache__", "artifacts", "dist", "tests"))
    shutil.copy(ROOT / ".dockerignore", context)
    code = context / "tools" / "sft" / "src" / "tools_sft" / "train.py"
    code.write_text(code.read_text() + "# one more line\n")
    build = ["--build-arg", "TOOL=sft", "--build-arg", "VARIANT=cpu", "--tag", "tools-sft:changed-line", context]
    docker("buildx", "build", "--load", "--file", context / "docker" / "Dockerfile", *build)
    before, after = (inspect(f"tools-sft:{tag}")["RootFS"]["Layers"] for tag in ("cpu", "changed-line"))
    docker("image", "rm", "tools-sft:changed-line")
    assert before[:-1] == after[:-1]


# ---- The pipeline ----------------------------------------------------------------------------------------------


def compose(folder: Path, *words) -> list[str]:
    project = ["docker", "compose", "--project-name", f"test-{folder.parent.name.replace('_', '-')}"]
    return [*project, "-f", "compose.yaml", "-f", "compose.cpu.yaml", "--profile", "pipeline", *words]


@pytest.fixture
def short_configs(tmp_path):
    """The demo's configurations with fewer steps: long enough for a stage to be killed in its middle."""
    folder = tmp_path / "configs"
    shutil.copytree(ROOT / "configs" / "demo", folder)
    path = folder / "grpo.yaml"
    path.write_text(
        re.sub(r"(?m)^(max_steps|save_steps):.*\n", "", path.read_text()) + "max_steps: 12\nsave_steps: 3\n"
    )
    return folder


def test_compose_from_nothing_with_a_stage_killed_and_gone_on(tmp_path, short_configs):
    folder = tmp_path / "artifacts"
    tmp_path.chmod(0o755)
    settings = {"ARTIFACTS": str(folder), "CONFIGS": str(short_configs), "TOOLS_USER": ANYONE}
    settings |= {"TRAIN_SAMPLES": "128", "EVAL_SAMPLES": "16"}
    try:
        with (tmp_path / "first.log").open("w") as log:
            first = subprocess.Popen(compose(folder, "up"), cwd=ROOT, env=os.environ | settings, stdout=log, stderr=log)
        while not list(folder.glob("grpo.partial/checkpoints/checkpoint-*/checkpoint.whole")):
            assert first.poll() is None, (tmp_path / "first.log").read_text()[-3000:]
            time.sleep(0.1)
        run(*compose(folder, "kill", "--signal", "KILL", "grpo"), **settings)
        first.wait(timeout=120)
        assert not (folder / "grpo").exists()
        assert not (folder / "compare").exists()
        done = run(*compose(folder, "up"), **settings)
        touch = ["--entrypoint", "touch", "grpo", "/artifacts/prep_sft/model/more", "/artifacts/grpo/more"]
        touched = run(*compose(folder, "run", "--rm", "--no-deps", *touch), check=False, **settings)
    finally:
        run(*compose(folder, "down", "--volumes"), **settings)
    assert (done.stdout + done.stderr).count("already finished, nothing to do") == 3
    compared = json.loads((folder / "compare" / "comparison.json").read_text())
    names = [row["name"] for row in compared["runs"]]
    assert names == ["base_eval", "prep_sft", "full_sft", "grpo", "sft_from_traces"]
    assert (folder / "report.html").stat().st_size > 10_000
    assert (folder / "scorer_eval" / "report.html").stat().st_size > 10_000
    assert compared["n"] == 16
    assert "/artifacts/prep_sft/model/more': Read-only file system" in touched.stderr  # what a job only reads
    assert not (folder / "prep_sft" / "model" / "more").exists()
    assert (folder / "grpo" / "more").exists()
    assert len(read_manifest(folder / "grpo").data["sessions"]) == 2
    assert (folder / "grpo" / "run.json").stat().st_uid == 12345


def test_compose_serves_a_finished_run_with_its_adapter_on_a_cpu(tmp_path, adapter_run):
    """The image with vLLM is built, the run is asked from the host, and says what it says without a server."""
    tmp_path.chmod(0o755)
    trained = adapter_run(tmp_path / "artifacts" / "reasoner")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    settings = {"ARTIFACTS": str(trained.parent), "SERVE_RUN": "reasoner", "SERVE_PORT": port}
    project = compose(trained.parent, "--profile", "serve")
    small = ["--suite", "quick", "--limit", "3", "--max-new-tokens", "48"]
    bench = [sys.executable, "-c", "from tools_bench.cli import main; main()", "run", *small]
    asked = ["--endpoint", f"http://127.0.0.1:{port}/v1", "--profile", trained / "model" / "tools.json"]
    try:
        run(*project, "up", "--build", "--detach", "--wait", "serve", **settings)  # until it is healthy
        said = run(*bench, *asked, "--output-dir", tmp_path / "there").stderr
    finally:
        run(*project, "down", "--volumes", **settings)
    run(*bench, "--model", trained, "--device", "cpu", "--output-dir", tmp_path / "here")
    there, here = (tmp_path / name / "reasoner" / "responses.jsonl" for name in ("there", "here"))
    texts = [
        {(r["task"], r["id"]): r["text"] for r in map(json.loads, f.read_text().splitlines())} for f in (there, here)
    ]
    assert "--model-name reasoner: the one model at" in said
    assert len(texts[0]) == 9
    assert texts[0] == texts[1]


def test_make_in_containers_gives_the_same_bytes_as_without(tmp_path):
    settings = {"OMP_NUM_THREADS": "1", "EVAL_SAMPLES": "8", "PREP_TRAIN_SAMPLES": "32"}
    here, inside = tmp_path / "here", tmp_path / "inside"
    run("make", "prep_sft", f"ARTIFACTS={here}", **settings)
    run("make", "prep_sft", f"ARTIFACTS={inside}", "RUN=docker", "VARIANT=cpu", **settings)
    both = [sorted([*d.glob("prep_sft/model/*"), *d.glob("prep_sft/debug/*")]) for d in (here, inside)]
    assert [sha256_file(path) for path in both[0]] == [sha256_file(path) for path in both[1]]
    assert len(both[0]) == 9
    again = run("make", "prep_sft", f"ARTIFACTS={here}", "RUN=docker", "VARIANT=cpu", **settings)
    assert "docker run" not in again.stdout  # a run made without the containers counts as made


def test_the_users_own_command_on_artifacts_made_outside(tmp_path):
    """`docker run --rm -v ./artifacts:/artifacts tools-grpo --base-model /artifacts/prep_sft`, made short by
    environment variables, under a tag of its own so that a `latest` of CUDA stays what it is."""
    tmp_path.chmod(0o755)
    run("make", "prep_sft", f"ARTIFACTS={tmp_path}/artifacts", EVAL_SAMPLES="8", PREP_TRAIN_SAMPLES="32")
    run("chown", "-R", "1000:1000", tmp_path / "artifacts")
    short = ["-e", "TRAIN_SAMPLES=16", "-e", "EVAL_SAMPLES=8", "-e", "TOOLS_GRPO_MAX_COMPLETION_LENGTH=32"]
    done = docker(
        "run", "--rm", "-v", "./artifacts:/artifacts", *short, "tools-grpo:cpu", "--base-model", "/artifacts/prep_sft",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == "/artifacts/grpo\n"
    prep, grpo = (read_manifest(tmp_path / "artifacts" / name) for name in ("prep_sft", "grpo"))
    assert grpo.parents() == [prep.sha256]


# ---- Cut off and cornered --------------------------------------------------------------------------------------


def test_sigterm_stops_with_exit_3_and_the_next_container_goes_on(running, shared_folder):
    docker("kill", "--signal", "TERM", running)
    assert docker("wait", running).stdout == "3\n"
    said = docker("logs", running).stderr
    assert "SIGTERM: finishing this step and writing a checkpoint" in said
    assert "stopped by SIGTERM" in said.splitlines()[-1]
    assert not (shared_folder / "grpo").exists()
    again = ["--detach", "--volume", f"{shared_folder}:/artifacts", "--user", ANYONE]
    second = docker("run", *again, "tools-grpo:cpu", *SLOW_GRPO).stdout.strip()
    try:
        deadline = time.monotonic() + 300
        while "resuming from step" not in docker("logs", second).stderr:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        docker("rm", "--force", second)


def test_a_second_container_on_one_output_is_refused(running, shared_folder):
    second = tool("grpo", *SLOW_GRPO, options=["--volume", f"{shared_folder}:/artifacts"], check=False)
    assert second.returncode == 1
    assert "another process is writing this run" in second.stderr
    docker("kill", running)
    assert docker("wait", running).stdout == "137\n"
    assert not (shared_folder / "grpo").exists()


def test_a_full_volume_is_exit_3():
    full = ["--mount", "type=tmpfs,destination=/artifacts,tmpfs-size=200k,tmpfs-mode=1777"]
    done = tool("sft", "--train-samples", "16", "--max-steps", "2", *SMALL, options=full, check=False)
    assert done.returncode == 3, done.stderr[-1500:]
    assert "space" in done.stderr.splitlines()[-1]


def test_a_volume_of_someone_else_is_a_sentence(tmp_path):
    tmp_path.chmod(0o755)
    options = ["--volume", f"{tmp_path}:/artifacts"]
    done = tool("sft", "--train-samples", "16", *SMALL, options=options, check=False)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("Error: /artifacts/full_sft.partial: cannot make this folder (Permission denied)")


@pytest.mark.parametrize("output", ["/artifacts/../etc/run", "/artifacts/out"])
def test_an_output_cannot_leave_what_is_mounted(output, shared_folder):
    """`..` ends on the read-only root; a link in the folder ends where nothing is mounted."""
    (shared_folder / "out.partial").symlink_to("/usr/share")
    options = ["--volume", f"{shared_folder}:/artifacts"]
    words = ["--train-samples", "16", *SMALL, "--output-dir", output]
    done = tool("sft", *words, options=options, check=False)
    assert done.returncode == 1, done.stderr[-1500:]
    assert done.stderr.splitlines()[-1].startswith("Error: ")


def test_inputs_are_read_from_a_read_only_mount(shared_folder, tmp_path):
    rows = [{"question": f"What is {n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(16)]
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (data / "dangling.jsonl").symlink_to("/nowhere/train.jsonl")
    mounts = ["--volume", f"{shared_folder}:/artifacts", "--volume", f"{data}:/data:ro"]
    tool("sft", "--train-path", "/data/train.jsonl", "--max-steps", "1", *SMALL, options=mounts)
    assert read_manifest(shared_folder / "full_sft").metrics
    words = ["--train-path", "/data/dangling.jsonl", "--output-dir", "/artifacts/x"]
    missing = tool("sft", *words, options=mounts, check=False)
    assert missing.returncode == 1
    assert "/data/dangling.jsonl" in missing.stderr.splitlines()[-1]


def test_a_cuda_image_without_a_gpu_says_so_and_takes_the_cpu_when_asked(shared_folder):
    words = ["--train-samples", "16", "--max-steps", "1", *SMALL]
    options = ["--env", "TOOLS_DEVICE=cuda", "--volume", f"{shared_folder}:/artifacts"]
    done = tool("sft", *words, options=options, check=False)
    assert done.returncode == 1
    assert "torch sees no GPU here" in done.stderr.splitlines()[-1]
    assert "--device cpu" in done.stderr.splitlines()[-1]
    assert tool("sft", *words, "--device", "cpu", options=options).stdout == "/artifacts/full_sft\n"
