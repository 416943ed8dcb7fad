import pytest

from tools_shared.demo import model_path
from tools_shared.errors import ToolError
from tools_shared.models import resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts import PROFILES, chat_template, end_of_turn_id, render_question
from tools_shared.prompts.chat_template import TemplateRefusedError, render

HUNDRED = "{% for i in range(100000) %}"
TEMPLATES = {
    "endless": f"{HUNDRED}{HUNDRED}{HUNDRED}{{% endfor %}}{{% endfor %}}{{% endfor %}}",
    "huge text": "{{ 'a' * 10000000000 }}",
    "huge number": "{{ 9 ** (9 ** 9) }}",
    "long text": "{{ 'a' * 100000000 }}",
    "memory in a list": "{% set x = namespace(a=['a' * 999]) %}" + HUNDRED + "{% set x.a = x.a + x.a %}{% endfor %}",
    "raises": "{{ raise_exception('only for cats') }}",
    "syntax": "{% for %}",
    "no such attribute": "{{ messages.nothing.more }}",
    "divides by zero": "{{ 1 / 0 }}",
    "reaches out": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "recursion": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "filter": "{{ messages | nosuch }}",
}


@pytest.fixture
def tokenizer():
    return load_tokenizer(resolve(str(model_path())))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_template_is_one_line_within_seconds(name, tokenizer):
    tokenizer.chat_template = TEMPLATES[name]
    for use in (lambda: render_question(tokenizer, PROFILES["boxed"], "1 + 1?"), lambda: end_of_turn_id(tokenizer)):
        with pytest.raises(ToolError, match="its chat template") as caught:
            use()
        assert len(str(caught.value)) < 700


def test_a_template_is_probed_once_and_messages_it_refuses_are_told_apart(tokenizer, monkeypatch):
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m.content }}{% endfor %}"
    )
    forks = []
    run = chat_template._in_a_child
    monkeypatch.setattr(chat_template, "_in_a_child", lambda *given: forks.append(1) or run(*given))
    assert render_question(tokenizer, PROFILES["boxed"], "1 + 1?").text.endswith("1 + 1?")
    with pytest.raises(TemplateRefusedError, match="no system"):
        render(tokenizer, [{"role": "system", "content": "a"}], PROFILES["boxed"].template_options)
    assert len(forks) == 1


def test_what_depends_on_the_messages_is_bounded_too(tokenizer):
    tokenizer.chat_template = "{{ messages[0].content * (1000 if 'magic' in messages[0].content else 1) }}"
    assert render(tokenizer, [{"role": "user", "content": "a" * 9000}]) == "a" * 9000
    with pytest.raises(ToolError, match="writes more"):
        render(tokenizer, [{"role": "user", "content": "magic" + "a" * 9000}])
