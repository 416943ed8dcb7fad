"""hf:// addresses: the cached copy is enough, and without it an offline machine gets one sentence, quickly."""

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json, sys
from tools_shared.errors import ToolError
from tools_shared.sources import read_problems
try:
    found = read_problems(sys.argv[1])
    print(json.dumps([len(found.items), found.items[0].answer, str(found.items[1].origin)]))
except ToolError as error:
    print(json.dumps(str(error)))
"""
COMMIT = "e53f048856ff4f594e959d75785d2c2d37b678ee"


def read(cache, spec, **environment):
    """What a fresh process with this cache says; the endpoint is a port where nobody listens: no waiting."""
    variables = {"HF_HOME": str(cache), "HF_ENDPOINT": "http://127.0.0.1:9", "PATH": os.environ["PATH"], **environment}
    result = subprocess.run([sys.executable, "-c", CODE, spec], env=variables, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The cache as `datasets` leaves it after a download of owner/name, config main."""
    pytest.importorskip("datasets", reason="needs the extra tools-shared[hub]")
    from datasets.packaged_modules.json.json import Json

    home = tmp_path_factory.mktemp("home")
    source = home / "rows.jsonl"
    source.write_text("".join(json.dumps({"question": f"Q{n}?", "answer": f"r\n#### {n}"}) + "\n" for n in range(3)))
    files = {"train": [str(source)], "test": [str(source)]}
    builder = Json(
        cache_dir=str(home / "datasets"),
        dataset_name="name",
        config_name="main",
        config_id="main",
        data_files=files,
        hash=COMMIT,
    )
    builder.download_and_prepare()
    (home / "datasets" / "name").rename(home / "datasets" / "owner___name")
    return home


def test_no_network_and_no_cache_is_one_sentence_at_once(tmp_path):
    said = read(tmp_path, "hf://openai/gsm8k?config=main&split=train")
    assert said == (
        "hf://openai/gsm8k?config=main&split=train: the hub cannot be reached and the dataset is not in the cache; "
        "go online once, or give a local file"
    )
    assert "offline mode is on and the dataset is not in the cache" in read(
        tmp_path, "hf://openai/gsm8k", HF_HUB_OFFLINE="1"
    )


def test_the_cached_copy_is_read_without_a_network(cache):
    spec = "hf://owner/name?config=main&split=train"
    assert read(cache, spec) == [3, "0", f"{spec}:2"]
    assert read(cache, f"{spec}&revision={COMMIT[:7]}", HF_HUB_OFFLINE="1")[0] == 3


def test_what_the_dataset_does_not_have_is_one_sentence(cache):
    assert "has other revisions" in read(cache, "hf://owner/name?config=main&split=train&revision=abc")
    assert read(cache, "hf://owner/name?config=main").endswith("name a split with ?split= (train, test)")
    assert 'Unknown split "dev"' in read(cache, "hf://owner/name?config=main&split=dev")
    assert "other" in read(cache, "hf://owner/name?config=other&split=train")


def test_a_missing_package_is_named_with_its_extra(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "a.jsonl.zst").write_bytes(b"")
    for module, spec, extra in (
        ("datasets", "hf://owner/name", "hub"),
        ("pyarrow", str(tmp_path / "a.parquet"), "tables"),
        ("zstandard", str(tmp_path / "a.jsonl.zst"), "tables"),
    ):
        code = f"import sys; sys.modules[{module!r}] = None\n{CODE}"
        out = subprocess.run([sys.executable, "-c", code, spec], capture_output=True, check=True).stdout
        assert f"needs {module}; pip install 'tools-shared[{extra}]'" in json.loads(out)
