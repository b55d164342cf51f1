"""The model card, on a version that was judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
from hypothesis import given
from hypothesis import strategies as st

from podium.lifecycle import validate
from podium.lifecycle.model_card import ARTIFACT, description
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.services import Services
from support.mlflow_client import raw
from support.steps import FIRST, TRAINED, new_run, register


def test_a_judged_version_has_a_card_as_its_description_and_in_its_run(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    sliced = {
        "metric": "log_loss",
        "threshold": 2,
        "slices": {"column": "x", "bins": [0.0], "min_support": 5},
    }
    gates = [{"metric": "log_loss", "threshold": 0.69}, sliced]
    spec = load_spec(toy_file(name=toy_spec.name, limits=["Not for grown-ups."], gates=gates))
    run = new_run()
    number = register(services, spec, FIRST, run)
    report = validate.validate_version(services, spec, number, run)
    card = mlflow.artifacts.load_text(f"runs:/{TRAINED[FIRST].run_id}/{ARTIFACT}")
    described = raw(services.registry).get_model_version(spec.name, str(number)).description
    more = "\n\nMore, and pictures, in `model_card.md` of the training run."
    assert described.endswith(more)
    assert card.startswith(described.removesuffix(more))
    tags = TRAINED[FIRST].tags
    for part in (
        f"# {spec.name} v1",
        "## Purpose\n\nA toy.",
        "Owner: tests. Predicts `y` (classification, one of no, yes) from 1 inputs: `x`.",
        "## Limits\n\n- Not for grown-ups.",
        f"- Trained on: {tags['podium.trained_on']}",
        f"- Judged on: {tags['podium.judged_on']}",
        f"version `{tags['podium.data_version'][:12]}`, as of 2025-06-01",
        "- Params: `strength` = `1.0`",
        "- Search: none",
        f"**{report.sentence()}.**",
        "| log_loss | ",
        "| x &lt; 0 | ",
        "| log_loss at most 0.69 |",
    ):
        assert part in described, part
    for picture in ("calibration.png", "gates/v1-against-none/slices_1.png"):
        assert f"]({picture})" in card
        assert mlflow.artifacts.download_artifacts(f"runs:/{TRAINED[FIRST].run_id}/{picture}")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4000), min_size=2))
def test_a_description_is_the_first_whole_sections_that_fit(sections: list[str]) -> None:
    told = description(sections)
    assert len(told) <= 5000
    *shown, more = told.split("\n\nMore, and pictures, in ")
    if shown:
        assert more == "`model_card.md` of the training run."
        assert "\n\n".join(sections[:-1]).startswith("\n\nMore, and pictures, in ".join(shown))


def test_a_card_without_limits_says_that_nobody_wrote_any(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    number = register(services, toy_spec, FIRST, run)
    validate.validate_version(services, toy_spec, number, run)
    described = raw(services.registry).get_model_version(toy_spec.name, str(number)).description
    assert "- None are written down in the model file (`limits`)." in described
    assert "No gate of the model file asks for slices." in described
