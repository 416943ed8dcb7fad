"""The learning rate and the epochs that stand in for those that nobody gave."""

import pytest
from transformers import AutoConfig

from tools_shared.training.defaults import FORMAT_STEPS, MOST_EPOCHS, format_epochs, learning_rate


def config(width):
    return AutoConfig.for_model("qwen2", hidden_size=width)


@pytest.mark.parametrize(("width", "low", "high"), [(4096, 2e-4, 4e-4), (1536, 4e-4, 8e-4), (576, 1e-3, 2e-3)])
def test_lora_s_rate_is_that_of_published_recipes(width, low, high):
    assert low <= learning_rate(config(width), full_finetune=False) <= high


@pytest.mark.parametrize("width", [64, 576, 1536, 5120])
def test_wider_models_learn_slower_and_whole_weights_at_a_tenth(width):
    rate = learning_rate(config(width), full_finetune=False)
    assert rate <= learning_rate(config(width // 2), full_finetune=False) <= 2e-3
    assert learning_rate(config(width), full_finetune=True) == pytest.approx(rate / 10, rel=0.05)


@pytest.mark.parametrize("n_examples", [1, 8, 63, 128, 511, 512, 7400])
@pytest.mark.parametrize("step_examples", [1, 8, 32])
def test_few_rows_are_passed_over_often_enough(n_examples, step_examples):
    epochs = format_epochs(n_examples, step_examples)
    steps = -(-n_examples // step_examples) * epochs
    assert 1 <= epochs <= MOST_EPOCHS
    assert steps >= FORMAT_STEPS or epochs == MOST_EPOCHS
