"""The real vLLM on this machine: the demo with and without LoRA, offline and served, in the environment of `make vllm`.

Greedy decoding is compared with the transformers engine, token by token: float32 and a tiny model leave no ties.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools_shared.engines import Draw, EngineConfig, SamplingParams, open_engine
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.models import load, resolve
from tools_shared.prompts import PROFILES, render_question
from tools_shared.sources import read_problems
from tools_shared.training.save import save
from tools_shared.training.trainable import LoraOptions, make_trainable

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

PROFILE = PROFILES["gsm8k-tags"]
GREEDY = SamplingParams(max_new_tokens=48)
N = 24


@pytest.fixture(scope="module")
def questions():
    return [p.question for p in read_problems(f"demo://problems?split=test&size={N}").items]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """The folder of a LoRA adapter on the demo whose weights are random enough to change what it says."""
    import torch

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    loaded = make_trainable(load(resolve("demo"), device="cpu"), LoraOptions())
    with torch.no_grad():
        for name, weights in loaded.model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.05)
    save(loaded, folder, folder, PROFILE, full_weights=False)
    return str(folder)


def with_transformers(model, questions, params=GREEDY):
    loaded = load(resolve(model), device="cpu")
    engine = TransformersEngine(loaded.model, loaded.tokenizer)
    return engine.generate([render_question(engine.tokenizer, PROFILE, q) for q in questions], params)


@pytest.fixture(scope="module")
def engine():
    engine = open_engine(resolve("demo"), EngineConfig(engine="vllm", device="cpu"))
    yield engine
    engine.close()


def ids(drawn):
    return [[c.token_ids for c in completions] for completions in drawn]


def test_greedy_equals_transformers(engine, questions):
    prompts = [render_question(engine.tokenizer, PROFILE, q) for q in questions]
    ours, theirs = engine.generate(prompts, GREEDY), with_transformers("demo", questions)
    assert ids(ours) == ids(theirs)
    assert [c[0].text for c in ours] == [c[0].text for c in theirs]
    assert {c[0].finish_reason for c in ours} <= {"stop", "length"}


def test_a_draw_belongs_to_its_seed_key_and_number(engine, questions):
    """In the same company: vLLM does not promise the same bits in another batch."""
    prompts = [render_question(engine.tokenizer, PROFILE, q) for q in questions]
    params = SamplingParams(1.0, 32, n=2, seed=3)
    first = engine.generate(prompts, params, keys=questions)
    assert ids(engine.generate(prompts, params, keys=questions)) == ids(first)
    assert ids(engine.generate(prompts, SamplingParams(1.0, 32, n=2, seed=4), keys=questions)) != ids(first)
    assert any(a.token_ids != b.token_ids for a, b in first)


def test_a_result_may_call_for_the_next_draw(engine, questions):
    queue = [Draw(render_question(engine.tokenizer, PROFILE, q), q) for q in questions[:4]]
    told = []

    def note(draw, completion):
        told.append((draw.key, draw.sample))
        if draw.sample < 2:
            queue.append(Draw(draw.prompt, draw.key, draw.sample + 1))

    engine.stream(lambda: queue.pop(0) if queue else None, SamplingParams(1.0, 16), note, n_slots=2)
    assert sorted(told) == sorted((q, k) for q in questions[:4] for k in range(3))


def test_logprobs_are_those_of_transformers(engine, questions):
    prompts = [render_question(engine.tokenizer, PROFILE, q) for q in questions[:4]]
    params = SamplingParams(max_new_tokens=16, logprobs=True)
    for mine, other in zip(
        engine.generate(prompts, params), with_transformers("demo", questions[:4], params), strict=True
    ):
        assert mine[0].logprobs == pytest.approx(other[0].logprobs, abs=1e-3)


def test_an_adapter_is_served_without_merging(adapter, questions):
    """In a process of its own: one vLLM a process."""
    code = (
        "import json, sys\n"
        "from tools_shared.engines import EngineConfig, SamplingParams, open_engine\n"
        "from tools_shared.models import resolve\n"
        "from tools_shared.prompts import PROFILES, render_question\n"
        "def main():\n"
        "    engine = open_engine(resolve(sys.argv[1]), EngineConfig(engine='vllm', device='cpu'))\n"
        "    questions = json.loads(sys.argv[2])\n"
        "    prompts = [render_question(engine.tokenizer, PROFILES['gsm8k-tags'], q) for q in questions]\n"
        "    drawn = engine.generate(prompts, SamplingParams(max_new_tokens=48))\n"
        "    print('\\n' + json.dumps([list(c[0].token_ids) for c in drawn]))\n"
        "    engine.close()\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, adapter, json.dumps(questions)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("[["))
    expected = [list(c[0].token_ids) for c in with_transformers(adapter, questions)]
    same = sum(a == b for a, b in zip(found, expected, strict=True))
    assert found == expected, f"{same} of {len(expected)} alike"
    assert expected != [list(c[0].token_ids) for c in with_transformers("demo", questions)]


IN_A_RUN = """
import json, sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tools_shared.cli import Invocation
from tools_shared.evaluation import EvalConfig, evaluate_in_run, read_csv, read_test_problems
from tools_shared.models import load, resolve
from tools_shared.training.trainable import LoraOptions
from tools_shared.training.trainable import make_trainable
from tools_shared.training.save import save
from tools_shared.prompts import PROFILES
from tools_shared.runs import RunConfig, draft


@dataclass(frozen=True)
class Config(EvalConfig, RunConfig):
    TOOL: ClassVar[str] = "test"


def main():
    import torch

    profile, engine, folder = PROFILES["gsm8k-tags"], sys.argv[1], Path(sys.argv[2])
    config = Config(
        output_dir=str(folder), eval_data="demo://problems?split=test&size=16", eval_max_new_tokens=32,
        engine=engine, device="cpu",
    )
    with draft(folder, config, Invocation("tools-test", "0"), "test") as run:
        tests = read_test_problems(config).items
        evaluate_in_run(run, resolve("demo"), tests, profile, config, "_before")
        torch.manual_seed(0)
        loaded = make_trainable(load(resolve("demo"), device="cpu"), LoraOptions())
        with torch.no_grad():
            for name, weights in loaded.model.named_parameters():
                if "lora_B" in name:
                    weights.normal_(std=0.05)
        save(loaded, run.model_dir, run.final / "model", profile, full_weights=False)
        evaluate_in_run(run, loaded, tests, profile, config)
        rows = [[row["generated_text"] for row in read_csv(run.debug_path(f"{e}.csv"))] for e in ("_before", "")]
        run.finish({})
    print("ROWS" + json.dumps(rows))


if __name__ == "__main__":
    main()
"""


def test_trainers_evaluate_with_vllm_what_they_evaluate_with_transformers(tmp_path):
    """Before training a model by name, after it the adapter that was trained and saved: two vLLMs, one by one."""
    (tmp_path / "in_a_run.py").write_text(IN_A_RUN)
    found = {}
    for engine in ("vllm", "transformers"):
        command = [sys.executable, str(tmp_path / "in_a_run.py"), engine, str(tmp_path / engine)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found[engine] = next(json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("ROWS"))
    assert found["vllm"] == found["transformers"]
    assert found["vllm"][0] != found["vllm"][1]


@pytest.fixture(scope="module")
def server(vllm_server, tmp_path_factory):
    with vllm_server(tmp_path_factory.mktemp("serve"), "--max-model-len", "1024") as address:
        yield address


def test_a_served_model_says_what_transformers_says(server, questions):
    engine = open_engine(resolve("demo"), EngineConfig(engine="http", endpoint=server, model_name="demo"))
    prompts = [render_question(None, PROFILE, q) for q in questions]
    served = [c[0].text for c in engine.generate(prompts, GREEDY)]
    assert served == [c[0].text for c in with_transformers("demo", questions)]


def test_traces_of_a_served_model(server, tmp_path):
    (tmp_path / "plain.yaml").write_text('name: plain\nsystem: Solve it.\nanswer: [" The answer is ", "."]\n')
    command = [
        str(Path(sys.executable).parent / "tools-traces"), "--engine", "http", "--endpoint", server, "--model-name",
        "demo", "--profile", str(tmp_path / "plain.yaml"), "--num-samples", "16", "--max-attempts", "3",
        "--max-new-tokens", "64", "--output-dir", str(tmp_path / "run"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    rows = [json.loads(line) for line in (tmp_path / "run" / "traces.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    assert any(row["source"] == "model" for row in rows)
