from dataclasses import dataclass, field

import click
import pytest
from click.testing import CliRunner

from tools_shared.cli import ToolCommand, config_options, resolve
from tools_shared.config import Config, option, read_yaml
from tools_shared.errors import ToolError, brief
from tools_shared.files import yaml_text
from tools_shared.prompts import Profile, load_profile

LAUGHS = "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9) if i else '1'}]" for i in range(10))
MERGED = "m0: &m0 {k: 1}\n" + "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 10))
KEY = "sk-PLANTEDKEY123456"


@dataclass(frozen=True)
class Options(Config):
    TOOL = "dedup"
    learning_rate: float = option(1e-4, "Rate.", minimum=0)
    seed: int = option(0, "Seed.")
    train_path: tuple[str, ...] = option((), "Files.")
    name: str | None = option(None, "Name.")
    more: dict = field(
        default_factory=dict, metadata={"help": "-", "env": None, "flags": (), "flag_value": None, "secret": None}
    )


WRONG = {
    "unknown tag": "learning_rate: !env LR",
    "python tag": "name: !!python/object/apply:os.system ['touch /tmp/owned']",
    "no such date": "seed: 2020-13-45",
    "deep flow": f"train_path: {'[' * 5000}{']' * 5000}",
    "deep block": "\n".join("  " * i + f"k{i}:" for i in range(200)),
    "deep before the end is missing": "train_path: " + "[" * 100_000,
    "billion laughs": LAUGHS + "\ntrain_path: *x9",
    "billion merges": MERGED + "\n<<: *m9",
    "holds itself": "train_path: &a [*a]",
    "mapping that holds itself": "&a\nname: x\nmodel: *a",
    "unknown alias": "name: *nobody",
    "merge of no mapping": "<<: 5",
    "huge integer": "seed: " + "9" * 6000,
    "huge hexadecimal": "learning_rate: 0x" + "f" * 2000,
    "infinite": "learning_rate: .inf",
    "text for a number": "seed: five",
    "not a number": "learning_rate: .nan",
    "list as a key": "? [a, b]\n: 1",
    "mapping as a key": "? {a: b}\n: 1",
    "broken binary": "name: !!binary '*'",
    "two documents": "name: a\n---\nname: b",
    "control character": "name: 'a\x07b'",
    "zero byte": 'name: "a\\0b"',
    "half a surrogate": 'name: "\\ud800"',
    "key twice": "name: a\nname: b",
    "not closed": "name: 'abc",
    "a list": "- 1\n- 2",
    "large": "name: " + "a" * 300_000,
    "many": "train_path: [" + "1," * 60_000 + "]",
    "key in the message": f"endpoint: http://host/v1?api_key={KEY}\nname: 'abc",
    "not UTF-8": b"name: caf\xe9",
    "set for a number": "seed: !!set {1, 2}",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_hostile_configuration_is_one_short_line(text, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    @click.command(cls=ToolCommand)
    @config_options(Options, leave_out=("more",))
    def main(**options):
        resolve(Options, {**options, "more": {}}, "0")

    done = CliRunner().invoke(main, ["--config", str(path)])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 2)
    assert done.output.splitlines()[-1].startswith("Error: ")
    assert len(done.output) < 700
    assert KEY not in done.output
    assert "run.yaml" in done.output or "--" in done.output
    for read in (yaml_text.load, lambda path: load_profile(str(path))):
        said = refusal(read, path)
        assert len(said) < 500
        assert KEY not in said


def refusal(read, path):
    """What a reader says of a file; nothing when it reads it."""
    try:
        read(path)
    except ToolError as error:
        return str(error)
    return ""


def test_aliases_merges_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(
        b"\xef\xbb\xbfmodel: &m {learning_rate: 3e-4, seed: '7'}\nother: {<<: *m, seed: 8, learning_rate: 1}\n"
    )
    assert yaml_text.load(path)["other"] == {"learning_rate": 1, "seed": 8}
    path.write_text("base: &b {learning_rate: 3e-4}\n")
    assert read_yaml(path, Options) == {"learning_rate": "3e-4"}


GOOD = {"name": "p", "system": "s", "answer": ["<a>", "</a>"], "think": None}


@pytest.mark.parametrize(
    "changed",
    [
        {"template_options": [1]},
        {"template_options": {"tokenize": True}},
        {"template_options": {1: 2}},
        {"template_options": {"when": {1, 2}}},
        {"template_options": {"x": float("nan")}},
        {"name": 5},
        {"system": None},
        {"system": ["a"]},
        {"answer": "ab"},
        {"answer": 5},
        {"answer": None},
        {"answer": {"a": 1, "b": 2}},
        {"answer": ["", "b"]},
        {"think": ["a"]},
        {"think": [1, 2]},
        {"unknown": 1},
    ],
)
def test_a_profile_of_the_wrong_kind_is_refused_naming_what(changed):
    with pytest.raises(ToolError, match=r"p\.yaml"):
        Profile.from_json({**GOOD, **changed}, where="p.yaml")
    assert Profile.from_json(GOOD).answer == ("<a>", "</a>")


def test_a_value_is_quoted_short_whatever_it_is():
    lists = [1]
    for _ in range(20):
        lists = [lists] * 9
    for value in (10**10000, [10**10000], "x" * 10**6, lists, {"a": lists}, {1, 2}, None):
        assert len(brief(value)) < 200
