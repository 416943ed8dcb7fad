"""Anything at all in the files that the tools read: a result or one line, and never a traceback, a hang or much memory.

The slow suite tries 10,000 files; the quick one some hundreds. Numbers stand in docs/reliability.md.
"""

import bz2
import gzip
import importlib
import json
import lzma
import resource
import time
from contextlib import contextmanager

import click
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools_shared.cli import ToolCommand, config_options, resolve
from tools_shared.errors import ToolError
from tools_shared.models import resolve as resolve_model
from tools_shared.prompts import load_profile
from tools_shared.runs import read_manifest
from tools_shared.sources import read_examples, read_rows

CONFIGS = {
    name: getattr(importlib.import_module(f"tools_{tool}.{module}"), name)
    for tool, module, name in (
        ("sft", "config", "SftConfig"),
        ("grpo", "config", "GrpoConfig"),
        ("traces", "config", "TracesConfig"),
        ("dedup", "config", "DedupConfig"),
        ("bench", "config", "BenchConfig"),
        ("bench", "config", "EvaluateConfig"),
        ("scorer", "config.scorer", "TrainConfig"),
        ("scorer", "config.scorer", "ServeConfig"),
    )
}
SECONDS, MEMORY = 5, 1 << 20  # processor time, and KiB as getrusage counts them
text = st.text(max_size=30)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=10**300, max_value=10**320), st.floats(), text,
    st.sampled_from(["0x1f", "1:30:30", "2020-13-45", "1e999", "-", "=", "~", "\x00", "\ud800", "*a", "NaN"]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(text, inner, max_size=5)),
    max_leaves=12,
)
SNIPPETS = (
    "&a [", "*a", "<<: ", "!!set {", "!!binary ", "!!timestamp ", "? ", ": ", "- ", "[", "]", "{", "}", "'", '"', "|\n",
    ">\n", "---\n", "...\n", "%YAML 9\n", "# ", "\n", "  ", "\t", "!x ", "!!python/object/apply:os.system ", "\ufeff",
)  # fmt: skip
broken_yaml = st.lists(st.one_of(st.sampled_from(SNIPPETS), text), max_size=25).map("".join)


@contextmanager
def bounded():
    """A ToolError passes; anything else fails, as do more than 5 s of processor time and more than 1 GiB."""
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    except (ToolError, click.ClickException) as error:
        said = error.format_message() if isinstance(error, click.ClickException) else str(error)
        assert len(said) < 3000, said
    assert time.process_time() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


def as_yaml(value):
    try:
        return yaml.safe_dump(value, allow_unicode=True)
    except UnicodeEncodeError:
        return repr(value)


def options_of(config_class):
    return st.sampled_from([*config_class.__dataclass_fields__, *config_class.aliases(), "nosuch", "model", "<<"])


def command_of(config_class):
    @click.command(cls=ToolCommand)
    @config_options(config_class)
    def command(**options):
        resolve(config_class, options, "0")

    return command


COMMANDS = {name: command_of(config_class) for name, config_class in CONFIGS.items()}


def config_case(data, folder):
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    made = st.dictionaries(options_of(CONFIGS[name]), values, max_size=6).map(as_yaml)
    path = folder / "config.yaml"
    path.write_text(data.draw(st.one_of(made, broken_yaml)), encoding="utf-8", errors="surrogatepass")
    COMMANDS[name].main(["--config", str(path)], standalone_mode=False)


def profile_case(data, folder):
    keys = st.sampled_from(["name", "system", "answer", "think", "template_options", "x"])
    tags = st.one_of(st.lists(text, min_size=2, max_size=2), values)
    made = st.dictionaries(keys, tags, max_size=6).map(as_yaml)
    path = folder / "profile.yaml"
    path.write_text(data.draw(st.one_of(made, broken_yaml)), encoding="utf-8", errors="surrogatepass")
    load_profile(str(path))


PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def rows_case(data, folder):
    keys = st.sampled_from(["question", "answer", "messages", "prompt", "response", "id", "role", "content", "goal"])
    row = st.dictionaries(st.one_of(keys, text), values, max_size=5)
    lines = st.lists(row.map(lambda r: json.dumps(r)), max_size=5).map(lambda rows: "\n".join(rows).encode())
    whole = st.one_of(values, st.lists(row, max_size=4)).map(lambda v: json.dumps(v).encode())
    content = data.draw(
        st.one_of(lines, whole, st.binary(max_size=200), text.map(lambda t: t.encode("utf-8", "replace")))
    )
    cut = data.draw(st.one_of(st.none(), st.integers(0, 200)))
    ending, suffix = data.draw(st.sampled_from(sorted(PACK))), data.draw(st.sampled_from(SUFFIXES))
    path = folder / f"rows{suffix}{ending}"
    path.write_bytes(PACK[ending](content)[:cut])
    with bounded():
        list(read_rows(path))
    read_examples(str(path))


SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow")


def manifest_case(data, folder):
    keys = st.sampled_from(["schema_version", "kind", "status", "identity", "inputs", "outputs", "metrics", "options"])
    made = st.dictionaries(
        st.one_of(keys, text), st.one_of(values, st.sampled_from([1, "finished", "sft"])), max_size=8
    )
    content = data.draw(st.one_of(made.map(json.dumps), values.map(json.dumps), text))
    for name in ("run.json", "tools.json", "config.json", "adapter_config.json"):
        (folder / name).unlink(missing_ok=True)
    name = data.draw(st.sampled_from(["run.json", "tools.json", "adapter_config.json"]))
    (folder / name).write_text(content, encoding="utf-8", errors="replace")
    if name == "run.json":
        read_manifest(folder)
        return
    (folder / "config.json").write_text("{}")
    resolve_model(str(folder))


CASES = {"config": config_case, "profile": profile_case, "rows": rows_case, "manifest": manifest_case}


def run(case, folder, examples):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def attempt(data):
        with bounded():
            case(data, folder)

    attempt()


@pytest.mark.parametrize("name", CASES)
def test_hundreds_of_hostile_files(name, tmp_path):
    run(CASES[name], tmp_path, 80)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_ten_thousand_hostile_files(name, tmp_path):
    run(CASES[name], tmp_path, 2500)
