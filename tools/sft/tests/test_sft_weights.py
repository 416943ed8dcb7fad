"""Sources with weights: counted, the same each time, and refused where they cannot be."""

import json

import pytest
from click.testing import CliRunner

from tools_sft.cli import main
from tools_sft.config import SftConfig
from tools_sft.train import prepare
from tools_shared.errors import ToolError


@pytest.fixture
def sources(tmp_path):
    """Ten rows about volumes, six about angles, of which one has the id of another."""
    paths = [tmp_path / "volumes.jsonl", tmp_path / "angles.jsonl"]
    volumes = [{"question": f"Volume of a cube with side {n}?", "answer": f"#### {n**3}"} for n in range(10)]
    angles = [
        {"id": "a", "question": f"Third angle beside {n} and 60 degrees?", "answer": f"#### {120 - n}"}
        for n in range(6)
    ]
    for path, rows in zip(paths, (volumes, angles), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(map(str, paths))


def counts(given):
    """How often each row's examples are learned, most often first."""
    seen = {}
    for name in given.encoded.row_ids:
        seen[name] = seen.get(name, 0) + 1
    return sorted(seen.values(), reverse=True)


def test_rows_are_learned_as_often_as_their_source_weighs(sources):
    config = SftConfig(data=tuple(sources), data_weight=(2.5, 0.5), eval=False)
    given = prepare(config)
    assert counts(given) == [3] * 5 + [2] * 5 + [1] * 3
    assert given.encoded.n_rows == 16
    assert len(given.encoded.examples) == len(given.encoded.row_ids) == 28
    assert given.weights == [
        f"{sources[0]}: 10 rows, weight 2.5: 25 an epoch",
        f"{sources[1]}: 6 rows, weight 0.5: 3 an epoch",
    ]
    assert prepare(config).encoded == given.encoded
    assert prepare(SftConfig(data=tuple(sources), data_weight=(2.5, 0.5), eval=False, seed=1)).encoded != given.encoded


def test_held_out_rows_have_no_copies_in_training(sources):
    given = prepare(SftConfig(data=tuple(sources), data_weight=(3, 1), eval=False, validation_split=0.25))
    assert given.held_out.n_rows == 4
    learned = {tuple(example.token_ids) for example in given.encoded.examples}
    assert not learned & {tuple(example.token_ids) for example in given.held_out.reporting.examples}
    assert given.encoded.n_rows + given.held_out.n_rows == 16


def test_weights_of_one_are_as_none(sources):
    plain, ones = (prepare(SftConfig(data=tuple(sources), data_weight=w, eval=False)) for w in ((), (1, 1)))
    assert plain.encoded == ones.encoded


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (("2",), "--data-weight is given 1 times for 2 sources"),
        (("2", "0"), "--data-weight must be above 0 and at most 1000, got 2 0"),
        (("2", "nan"), "--data-weight"),
        (("0.01", "0.01"), "--data-weight 0.01 0.01 leaves no row"),
    ],
)
def test_weights_that_cannot_be_are_refused(sources, weights, message):
    words = [word for one in sources for word in ("--data", one)]
    words += [word for one in weights for word in ("--data-weight", one)]
    done = CliRunner().invoke(main, [*words, "--no-eval", "--dry-run"])
    assert done.exit_code == 1, done.output
    assert message in done.stderr


def test_a_weight_counts_in_a_configuration(sources):
    with pytest.raises(ToolError, match="3 times for 2 sources"):
        SftConfig(data=tuple(sources), data_weight=(1.0, 1.0, 1.0))
