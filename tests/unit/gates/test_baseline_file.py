from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podium.errors import DataError
from podium.gates.baseline_file import read_baseline_files
from podium.gates.evidence import BaselineFile
from podium.model_file.baseline_file import baseline_paths
from podium.model_file.spec import ModelSpec
from support.toy import TOY

FILE = "qa/baseline.json"


def spec(*gates: dict[str, Any]) -> ModelSpec:
    content = {**TOY, "data": {**TOY["data"], "label_map": {"Ja": "yes", "nein": "no"}}}
    return ModelSpec.model_validate({**content, "gates": [{"min_holdout_rows": 1}, *gates]})


METRIC = {"metric": "log_loss", "baseline": FILE, "max_regression_abs": 0.1}


def read(tmp_path: Path, text: str) -> BaselineFile:
    (tmp_path / "qa").mkdir(exist_ok=True)
    (tmp_path / FILE).write_text(text)
    return read_baseline_files(spec(METRIC), tmp_path)[FILE]


def test_the_files_that_gates_name_are_read_each_once() -> None:
    gates = [METRIC, {**METRIC, "metric": "accuracy"}, {"label_coverage": "labels.json"}]
    gates += [{"label_coverage": "champion"}, {"label_coverage": ["no"]}]
    assert baseline_paths(spec(*gates)) == ["labels.json", FILE]
    assert baseline_paths(spec()) == []


def test_numbers_are_kept_and_what_is_none_is_not(tmp_path: Path) -> None:
    text = '{"log_loss": 1, "rmspe": 0.5, "a": "v7", "b": true, "c": null, "d": NaN, "e": Infinity, "f": [1]}'
    assert read(tmp_path, text).metrics == {"log_loss": 1.0, "rmspe": 0.5}
    assert read(tmp_path, '{"huge": 1' + "0" * 400 + "}").metrics == {}


def test_labels_are_read_under_the_names_of_the_model_file(tmp_path: Path) -> None:
    assert read(tmp_path, '{"labels": ["JA", "yes", " Nein", "maybe"]}').labels == ("yes", "no", "maybe")
    assert read(tmp_path, "{}").labels == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be an object of numbers by name"),
        ('{"labels": "yes"}', "labels must be a list of texts, not 'yes'"),
        ('{"labels": [1]}', r"labels must be a list of texts, not \[1.0\]"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(DataError, match=f"baseline file .*{FILE}:? {why}"):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"baseline file .*{FILE} cannot be read: No such file"):
        read_baseline_files(spec(METRIC), tmp_path)
    (tmp_path / FILE).mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_baseline_files(spec(METRIC), tmp_path)
