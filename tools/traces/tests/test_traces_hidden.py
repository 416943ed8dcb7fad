import pytest

from tools_shared.errors import ToolError
from tools_traces.config import TracesConfig

FITTING = {"record_hidden": True, "engine": "vllm", "emit": "graded", "token_ids": True}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"engine": "transformers", "emit": "rows"}, "--emit graded"),
        ({"engine": "http", "endpoint": "http://localhost:1/v1", "model_name": "m"}, "tools-scorer extract"),
        ({"emit": "rows"}, "--emit graded"),
        ({"token_ids": False}, "--token-ids"),
        ({"shard": "0/2"}, "extract after the merge"),
        ({"min_p": 0.1}, "--top-p"),
        ({"hidden_layers": "last"}, "--hidden-layers is numbers"),
        ({"hidden_delimiter": "x"}, "--delimiter must be"),
    ],
)
def test_what_cannot_record_is_refused_at_once(changed, said):
    with pytest.raises(ToolError, match=said):
        TracesConfig(**(FITTING | changed))


def test_without_recording_a_run_is_what_it_was():
    assert not any("hidden" in name for name in TracesConfig().identity())
    assert {"record_hidden", "hidden_layers"} <= set(TracesConfig(**FITTING).identity())


def test_a_layer_that_is_not_there_is_refused_and_a_temperature_on_a_cpu():
    from tools_shared.models import resolve
    from tools_traces.attempts.states import layers_of

    ref, greedy = resolve("demo"), {**FITTING, "device": "cpu", "temperature": 0.0}
    assert layers_of(TracesConfig(**greedy, hidden_layers="-1,2"), ref)[0] == 2
    with pytest.raises(ToolError, match="--hidden-layers 99"):
        layers_of(TracesConfig(**greedy, hidden_layers="99"), ref)
    with pytest.raises(ToolError, match="temperature 0 alone"):
        layers_of(TracesConfig(**FITTING, device="cpu"), ref)
