import json

from tools_shared.files import sha256_file
from tools_shared.runs.lineage import undeduplicated, warning


def data_entry(path, name="train"):
    return {"name": name, "path": str(path), "sha256": sha256_file(path), "run_sha256": None}


def manifest(folder, inputs, kind="prep_sft"):
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"schema_version": 1, "kind": kind, "metrics": {}, "inputs": inputs}))
    return {"name": "base_model", "path": str(folder), "sha256": "w", "run_sha256": "r"}


def cleaned(path):
    path.write_text("{}\n")
    outputs = {"kept": {"sha256": sha256_file(path)}}
    path.with_name(f"{path.stem}.run.json").write_text(json.dumps({"kind": "dedup", "outputs": outputs}))
    return path


def test_what_dedup_kept_is_vouched_for_until_it_changes(tmp_path):
    path = cleaned(tmp_path / "train.jsonl")
    assert undeduplicated([data_entry(path)]) == []
    path.write_text("{}\n{}\n")
    assert undeduplicated([data_entry(path)]) == [str(path)]
    assert "test questions may be among it" in warning([str(path)])
    assert warning([]) == ""


def test_addresses_are_named_as_they_were_given():
    hub = {"name": "train", "path": "hf://owner/name?split=train", "sha256": "x", "run_sha256": None}
    assert undeduplicated([hub]) == ["hf://owner/name?split=train"]
    assert undeduplicated([hub | {"path": "demo://problems?split=train&size=9"}]) == []


def test_ancestors_count_too(tmp_path):
    raw = tmp_path / "raw.jsonl"
    raw.write_text("{}\n")
    parent = manifest(tmp_path / "prep", [data_entry(raw)])
    clean = data_entry(cleaned(tmp_path / "train.jsonl"))
    assert undeduplicated([parent, clean]) == [str(raw)]
    assert undeduplicated([parent | {"name": "teacher"}, clean]) == [str(raw)]
    (tmp_path / "prep" / "run.json").unlink()
    assert undeduplicated([parent, clean]) == []


def test_traces_are_as_clean_as_what_they_were_drawn_from(tmp_path):
    clean, raw = cleaned(tmp_path / "train.jsonl"), tmp_path / "raw.jsonl"
    raw.write_text("{}\n")
    traces = tmp_path / "traces"
    manifest(traces, [data_entry(clean, "data")], kind="traces")
    (traces / "rows.jsonl").write_text("{}\n")
    assert undeduplicated([data_entry(traces / "rows.jsonl")]) == []
    manifest(traces, [data_entry(raw, "data")], kind="traces")
    assert undeduplicated([data_entry(traces / "rows.jsonl")]) == [str(raw)]
