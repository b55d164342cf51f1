"""Each gate that docs/gates.md shows is parsed and judged."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from podium.gates.baseline_file import read_baseline_files
from podium.gates.collection import JUDGED, Case, assemble
from podium.gates.evidence import Cost, Evidence, Side
from podium.gates.report import GateStatus
from podium.gates.rules import evaluate
from podium.model_file.gates import KINDS, Gate, TaggedGate, kind_of
from podium.model_file.spec import ModelSpec
from podium.registry.client import Version
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.training import holdout
from podium.training.examples import DataWindow, TrainingExamples
from support.toy import TOY

DOCUMENT = (PROJECT_ROOT / "docs" / "gates.md").read_text()
EXAMPLES = re.findall(r"^\| `(\{.*?\})` \|", DOCUMENT, re.MULTILINE)
LABELS = ("home", "draw", "away")
ROWS = 200


def parse(example: str) -> Gate:
    gate: Gate = TypeAdapter(TaggedGate).validate_python(yaml.safe_load(example))
    return gate


def side(noise: float, seconds: float) -> Side:
    draws = np.random.default_rng(1)
    truth = np.arange(ROWS) % 3
    scores = np.eye(3)[truth] * 1.5 + draws.normal(scale=noise, size=(ROWS, 3))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    signature = {"inputs": '[{"name": "x", "type": "double"}]', "outputs": "[]"}
    return Side(shares, LABELS, signature, Cost(seconds, 1.0, seconds, 1 / seconds))


def spec_of(gate: Gate) -> ModelSpec:
    data = {**TOY["data"], "inputs": ["x"]}
    return ModelSpec.model_validate(
        {
            **TOY,
            "labels": LABELS,
            "data": data,
            "gates": [{"min_holdout_rows": 1}, gate],
            "approval": {**TOY["approval"], "expires_after": "30d"},
        }
    )


@pytest.fixture
def evidence_for(services: Services, tmp_path: Path) -> object:
    """Make evidence as a validation does, from a stored holdout."""
    (tmp_path / "qa").mkdir()
    block = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)[0]
    (tmp_path / "qa" / "baseline_metrics.json").write_text(block)

    def make(gate: Gate) -> Evidence:
        spec = spec_of(gate)
        place = np.arange(ROWS)
        examples = TrainingExamples(
            inputs=pd.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS)}),
            label=pd.Series(np.asarray(LABELS)[place % 3]),
            time=pd.Series(pd.date_range("2025-01-01", periods=ROWS)),
            others=pd.DataFrame(
                {
                    "region": np.asarray(["north", "south", "west"])[place // 3 % 3],
                    "age": place % 100,
                    "person": [f"person {number}" for number in place],
                }
            ),
        )
        earlier = TrainingExamples(
            examples.inputs + 10, examples.label, examples.time, examples.others.assign(person="nobody")
        )
        moment = datetime(2025, 1, 1, tzinfo=UTC)
        prior = np.full((ROWS, 3), 1 / 3)
        holdout.store_holdout(
            tmp_path, spec, DataWindow("v", earlier, examples, moment, moment), {"class_prior": prior}
        )
        version = Version("toy", 2, "", True, {}, moment)
        sides = {JUDGED: side(0.5, 0.001), "champion": side(0.6, 0.001), "candidate": side(0.7, 0.001)}
        case = Case(services, (), spec, version, tmp_path)
        made = assemble(case, sides, {"champion": 1, "candidate": 3})
        return Evidence(**{**vars(made), "trainer_metrics": {"final_loss": 1.0}})

    return make


def test_every_kind_is_shown() -> None:
    assert {kind_of(parse(example)) for example in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_parsed_and_judged(example: str, evidence_for: object) -> None:
    gate = parse(example)
    evidence = evidence_for(gate)  # type: ignore[operator]
    contract, _, judged = evaluate(spec_of(gate).gates, evidence)
    assert contract.status is GateStatus.PASSED
    expected = GateStatus.LATER if "canary" in example else GateStatus.PASSED
    assert judged.status is expected, judged


def test_the_baseline_file_of_the_document_is_read(tmp_path: Path, evidence_for: object) -> None:
    spec = spec_of(parse('{"label_coverage": "qa/baseline_metrics.json"}'))
    (file,) = read_baseline_files(spec, tmp_path).values()
    assert file.metrics == {"accuracy": 0.61}
    assert file.labels == LABELS
