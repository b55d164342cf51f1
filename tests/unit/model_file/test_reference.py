"""The JSON schema of model files: what editors complete, explain and mark."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as WrongValue
from jsonschema.validators import extend
from pydantic import ValidationError
from typer.testing import CliRunner

from podium.cli.main import app
from podium.model_file.compute import HEAVY_QUEUE
from podium.model_file.document import read_document
from podium.model_file.reference import json_schema
from podium.model_file.spec import ModelSpec
from podium.model_file.types import IMPORT_PATH
from podium.settings import PROJECT_ROOT
from support.toy import NUMBER_TOY, RANKING_TOY, TOY

SCHEMA = PROJECT_ROOT / "docs" / "model-file.schema.json"
SHIPPED = sorted((PROJECT_ROOT / "include" / "models").glob("*.yaml"))
GATES = re.findall(r"^\| `(\{.*?\})` \|", (PROJECT_ROOT / "docs" / "gates.md").read_text(), re.MULTILINE)

run = CliRunner().invoke


def as_in_an_editor(_: Any, pattern: str, value: object, __: Any) -> Iterator[WrongValue]:
    """JavaScript's word characters and digits are ASCII, and its $ is the very end."""
    anchored = re.sub(r"\$$", r"\\Z", pattern)
    if isinstance(value, str) and not re.search(anchored, value, re.ASCII):
        yield WrongValue(f"{value!r} does not match {pattern}")


VALIDATOR = extend(Draft202012Validator, {"pattern": as_in_an_editor})(json_schema())


def toy(**sections: Any) -> dict[str, Any]:
    return {**copy.deepcopy(TOY), **sections}


def test_the_command_prints_the_schema_that_the_editors_read() -> None:
    done = run(app, ["validate-spec", "--schema"])
    assert done.exit_code == 0
    assert done.stdout == SCHEMA.read_text(), (
        "To write it: .venv/bin/podium validate-spec --schema > docs/model-file.schema.json"
    )
    Draft202012Validator.check_schema(json.loads(done.stdout))


@pytest.mark.parametrize("arguments", [[], ["--schema", "include/models"]])
def test_the_command_takes_files_or_prints_the_schema(arguments: list[str]) -> None:
    done = run(app, ["validate-spec", *arguments])
    assert done.exit_code == 1
    assert "give either model files, such as include/models, or --schema" in " ".join(done.stderr.split())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_model_file_names_the_schema_and_is_valid_by_it(path: Any) -> None:
    first, _ = path.read_text().split("\n", 1)
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == SCHEMA
    VALIDATOR.validate(read_document(path).content)


OWN = {"metric": "own.metrics:profit", "greater_is_better": True, "columns": ["price"], "threshold": 5}
OF_THE_TRAINER = {
    "metric": "trainer.auc",
    "greater_is_better": True,
    "baseline": "b.json",
    "min_improvement": 0,
}
PARAMS = {"strength": 1.0, "depth": None, "layers": [64, 32], "names": ["a", None]}
SPACE = {"strength": {"low": 0.1, "high": 3}, "kind": {"type": "categorical", "choices": ["a", 1, True]}}
GOOD: list[dict[str, Any]] = [
    TOY,
    NUMBER_TOY,
    RANKING_TOY,
    toy(schedule=None, search=None, scoring=None),
    toy(compute={"cpu": 0.5, "memory": "16Gi", "gpu": 1, "queue": HEAVY_QUEUE, "image": "podium:2"}),
    toy(scoring={"source": "in/*.csv", "output": "out", "schedule": "@daily", "keys": ["id"]}),
    toy(scoring={"source": "sql:SELECT 1", "output": "sql:scores", "database": "SHOP_DB_URL"}),
    toy(
        params={"strength": 1.0, "kind": "a"},
        search={"trials": 5, "metric": "f1", "validation": {"share": 0.2}, "space": SPACE},
    ),
    toy(profiles={"smoke": {}, "ci-smoke": {"rows": 0.1, "gates": [{"min_holdout_rows": 5}]}}),
    toy(gates=[OWN, OF_THE_TRAINER]),
    toy(params=PARAMS),
    toy(gates=[{"label_coverage": "qa/labels.json", "of": ["predictions"], "level": "required"}]),
]


@pytest.mark.parametrize("content", GOOD)
def test_a_good_model_file_is_valid(content: dict[str, Any]) -> None:
    ModelSpec.model_validate(content)
    VALIDATOR.validate(content)


@pytest.mark.parametrize("gate", GATES)
def test_each_gate_that_its_document_shows_is_valid(gate: str) -> None:
    VALIDATOR.validate(toy(gates=[yaml.safe_load(gate)]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"shedule": "@daily"},
        {"name": "My Model"},
        {"task": "clustering"},
        {"trainer": "toy_trainer"},
        {"holdout": {"days": "7"}},
        {"holdout": {"share": 1}},
        {"data": {**TOY["data"], "undated": "skip"}},
        {"params": {"seed": {"a": 1}}},
        {"params": {"seed": [[1]]}},
        {"approval": {"approvers": []}},
        {"approval": {"approvers": ["amy"], "expires_after": "2 weeks"}},
        {"profiles": {"ci": {}}},
        {"compute": {"cpu": None}},
        {"compute": {"memory": "8GB"}},
        {"search": {"trials": 5, "metric": "logloss", "validation": {"days": 1}, "space": {"a": {}}}},
        {"gates": []},
        {"gates": [{"metrc": "log_loss", "threshold": 1}]},
        {"gates": [{"metric": "logloss", "threshold": 1}]},
        {"gates": [{"metric": "log_loss", "treshold": 1}]},
        {"gates": [{"metric": "log_loss", "threshold": None}]},
        {"gates": [{"metric": "log_loss", "threshold": 1, "min_holdout_rows": 5}]},
        {"gates": [{"columns_schema": {"x": {}}}]},
        {"gates": [{"canary": {"live": {"metric": "pass_rate", "labelled_rows": 50}}}]},
    ],
    ids=str,
)
def test_what_an_editor_should_mark_is_not_valid(wrong: dict[str, Any]) -> None:
    content = toy(**wrong)
    assert not VALIDATOR.is_valid(content)
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(content)


def test_a_key_that_is_missing_is_not_valid() -> None:
    for key in ("name", "owner", "description", "trainer", "task", "data", "holdout", "gates", "approval"):
        content = toy()
        del content[key]
        assert not VALIDATOR.is_valid(content), key


MEMORY = st.from_regex(r"([0-9]+|\d)[MG]i\n?", fullmatch=True)
VALUES = {
    "name": st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*\n?", fullmatch=True),
    "trainer": st.from_regex(IMPORT_PATH),
    "data.examples": st.from_regex(IMPORT_PATH),
    "approval.valid_for": st.from_regex(r"([0-9]{1,3}|\d)\s{,2}[smhd]\n?", fullmatch=True),
    "compute.queue": st.from_regex(r"[\w.-]+", fullmatch=True),
    "compute.image": st.from_regex(r"[a-z0-9._/:-]+(:\w+)?(@sha256:[0-9a-f]{64})?\n?", fullmatch=True),
    "compute": st.fixed_dictionaries({"cpu": st.integers(1, 9999) | st.floats(0, 9999), "memory": MEMORY}),
    "gates.0.metric": st.from_regex(IMPORT_PATH) | st.from_regex(r"trainer\.\w+\n?", fullmatch=True),
    "params.strength": st.integers() | st.floats() | st.text() | st.booleans(),
    "schedule": st.none() | st.sampled_from(["@daily", "0 6 * * 1", "0 6 * * mon#1", "*/5 0-3 * * 0"]),
}


@pytest.mark.parametrize("place", VALUES)
@settings(max_examples=10)
@given(data=st.data())
def test_what_the_code_accepts_is_valid(place: str, data: st.DataObject) -> None:
    content = toy(compute={})
    content["gates"] = [{"metric": "log_loss", "greater_is_better": False, "threshold": 1}]
    *sections, key = place.split(".")
    section: Any = content
    for name in sections:
        section = section[int(name) if name.isdigit() else name]
    section[key] = data.draw(VALUES[place])
    try:
        ModelSpec.model_validate(content)
    except ValidationError:
        return
    VALIDATOR.validate(content)


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in (schema, *schema["$defs"].values()):
        yield from section.get("properties", {}).items()


def test_an_editor_explains_each_key_and_its_default_as_a_file_has_it() -> None:
    schema = json_schema()
    assert [name for name, key in keys(schema) if not key.get("description") or "title" in key] == []
    approval = schema["$defs"]["ApprovalSpec"]["properties"]
    assert (approval["expires_after"]["default"], approval["valid_for"]["default"]) == ("3d", "1d")
    for name, key in keys(schema):
        if key.get("default") is not None:
            validator = Draft202012Validator({**key, "$defs": schema["$defs"]})
            assert validator.is_valid(key["default"]), name
