"""What the model tests share: the demo's tokenizer and model, loaded once, and tokenizers of other kinds."""

import pytest


@pytest.fixture(scope="session")
def demo():
    from tools_shared.models import load, resolve

    return load(resolve("demo"), device="cpu")


@pytest.fixture(scope="session")
def plain_tokenizer(demo):
    """The demo's tokenizer without its chat template, as a base model's often is."""
    from copy import deepcopy

    tokenizer = deepcopy(demo.tokenizer)
    tokenizer.chat_template = None
    return tokenizer


@pytest.fixture(scope="session")
def opening_tokenizer(demo):
    """A tokenizer whose template already opens the thinking tag, as DeepSeek-R1's and some of Qwen3's do."""
    from copy import deepcopy

    tokenizer = deepcopy(demo.tokenizer)
    end = "<|im_start|>assistant\n' }}"
    assert end in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(end, end.replace("' }}", "<think>\n' }}"))
    return tokenizer
