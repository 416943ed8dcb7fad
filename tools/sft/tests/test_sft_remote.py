"""The loop and batches of SFT on a service, with a backend in torch: what is learned, in which order, and stopping."""

import json
import math
from pathlib import Path

import pytest
from torch_backend import TorchBackend

from tools_sft.config import SftConfig
from tools_sft.remote.train import ExampleBatches, batch_of
from tools_sft.train import prepare
from tools_shared.cli import Invocation
from tools_shared.errors import Incomplete, ToolError
from tools_shared.processes.stopping import StopRequest
from tools_shared.runs import draft, read_metrics
from tools_shared.training.steps import run_steps
from tools_shared.training.tinker.run import plan_of

WEIGHING = [
    {
        "prompt": f"A crate of {n} pears weighs {3 * n} kg. What does one pear weigh?",
        "response": f"{3 * n} / {n} = 3 kg",
    }
    for n in range(2, 9)
]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pears")
    (folder / "pears.jsonl").write_text("".join(json.dumps(row) + "\n" for row in WEIGHING))
    return SftConfig(
        data=str(folder / "pears.jsonl"),
        output_dir=str(folder / "run"),
        backend="tinker",
        batch_size=3,
        epochs=4,
        learning_rate=5e-3,
        eval=False,
    )


@pytest.fixture(scope="module")
def examples(config):
    return prepare(config).encoded.examples


def test_every_epoch_has_each_example_once_in_an_order_of_its_own(config, examples):
    batches = ExampleBatches(examples, config)
    assert batches.n_steps == 12
    epochs = [[row.token_ids for step in range(e * 3, e * 3 + 3) for row in batches(step).rows] for e in range(4)]
    assert all(sorted(epoch) == sorted(example.token_ids for example in examples) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert [len(batches(step).rows) for step in range(3)] == [3, 3, 1]
    assert ExampleBatches(examples, config)(7) == batches(7)


def test_weights_are_the_mask_and_sum_to_one(examples):
    batch = batch_of(examples[:3])
    assert sum(sum(row.weights) for row in batch.rows) == pytest.approx(1)
    for row, example in zip(batch.rows, examples, strict=False):
        assert [weight > 0 for weight in row.weights] == list(example.loss_mask[1:])


def test_loop_lowers_the_loss_logs_every_step_and_stops_in_order(config, examples):
    batches, backend = ExampleBatches(examples, config), TorchBackend()
    plan, stop = plan_of(config, batches.n_steps), StopRequest()
    with draft(Path(config.output_dir), config, Invocation("tools-sft", "0"), "sft") as run:
        stop.ask("stopped by the test")
        with pytest.raises(Incomplete, match="step 0 of 12 is saved"):
            run_steps(backend, run, plan, batches, stop, [], {})
        run_steps(backend, run, plan, batches, StopRequest(), [], {"loss": "loss"})
        rows = list(read_metrics(run.path))
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[0]["learning_rate"] < rows[1]["learning_rate"] == pytest.approx(5e-3)
    assert all(math.isfinite(row["loss"]) for row in rows)


def test_training_here_is_refused_what_is_asked_of_a_service(config):
    from tools_sft.train import train

    with pytest.raises(ToolError, match="train_remotely"):
        train(config, Invocation("tools-sft", "0"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"packing": True}, "--packing is not possible with --backend tinker"),
        ({"objective": "distill", "teacher": "demo"}, "--objective distill is not possible"),
        ({"load_in_4bit": True}, "--load-in-4bit is not possible"),
        ({"report_to": "tensorboard"}, "--report-to tensorboard"),
    ],
)
def test_what_a_service_cannot_do_is_refused(options, words):
    with pytest.raises(ToolError) as caught:
        SftConfig(backend="tinker", **options)
    assert words in str(caught.value)
