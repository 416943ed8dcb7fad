"""The forward passes that a step's completions go through fit it unless the user says otherwise."""

import pytest

from tools_grpo.config import GrpoConfig
from tools_shared.errors import ToolError


@pytest.mark.parametrize("n_generations", range(2, 18))
@pytest.mark.parametrize("n_prompts", [1, 2, 7, 8])
@pytest.mark.parametrize("n_processes", [1, 2])
def test_the_default_is_the_largest_divisor_that_fits(n_generations, n_prompts, n_processes):
    config = GrpoConfig(num_generations=n_generations, prompts_per_step=n_prompts * n_processes, processes=n_processes)
    mine = n_generations * n_prompts
    assert mine % config.batch_size == 0
    assert not any(mine % larger == 0 for larger in range(config.batch_size + 1, 17))
    assert config.to_dict()["batch_size"] == config.batch_size <= 16


def test_one_that_was_asked_for_has_to_divide():
    with pytest.raises(ToolError, match="--batch-size 16 does not divide the 40 completions"):
        GrpoConfig(num_generations=5, batch_size=16)
