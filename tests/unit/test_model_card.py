"""The model card, on a version that was judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow

from podium import lifecycle
from podium.model_card import ARTIFACT
from podium.parts import Parts
from podium.spec import ModelSpec, load_spec
from support.steps import FIRST, TRAINED, new_run, register


def test_a_judged_version_has_a_card_as_its_description_and_in_its_run(
    parts: Parts, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    spec = load_spec(toy_file(name=toy_spec.name, limits=["Not for grown-ups."]))
    run = new_run()
    number = register(parts, spec, FIRST, run)
    report = lifecycle.validate_version(parts, spec, number, run)
    card = mlflow.artifacts.load_text(f"runs:/{TRAINED[FIRST].run_id}/{ARTIFACT}")
    described = parts.registry.client.get_model_version(spec.name, str(number)).description
    assert card.startswith(described)
    assert len(described) < 5000
    tags = TRAINED[FIRST].tags
    for part in (
        f"# {spec.name} v1",
        "A toy.",
        "Owner: tests. Predicts `y` (classification, one of no, yes) from 1 inputs: `x`.",
        "- Not for grown-ups.",
        f"- Trained on: {tags['podium.trained_on']}",
        f"- Judged on: {tags['podium.judged_on']}",
        f"version `{tags['podium.data_version'][:12]}`",
        f"**{report.sentence()}.**",
    ):
        assert part in described, part
    assert "| log_loss at most 0.69 |" in card


def test_a_card_without_limits_says_that_nobody_wrote_any(parts: Parts, toy_spec: ModelSpec) -> None:
    run = new_run()
    number = register(parts, toy_spec, FIRST, run)
    lifecycle.validate_version(parts, toy_spec, number, run)
    described = parts.registry.client.get_model_version(toy_spec.name, str(number)).description
    assert "- None are written down in the model file (`limits`)." in described
