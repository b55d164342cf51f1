"""The model card, on a version that was judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.lifecycle import validate
from podium.lifecycle.model_card import ARTIFACT, after_promotion, description, in_sight
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
        "- Rows: file toy.csv, bytes ",
        f"version `{tags['podium.data_version'][:12]}`, as of 2025-06-01",
        "- Params: `strength` = `1.0`",
        "- Search: none",
        f"**{report.sentence()}.**",
        "| log_loss | ",
        "| label | rows | recall candidate v1 | precision candidate v1 |",
        "| x &lt; 0 | ",
        "Judged as candidate v1 against no champion yet.",
        "- ✅ passed: log_loss at most 0.69 (measured 0.",
        "## After a promotion\n\n- No watch window: the model file has no section `watch`.\n- Not monitored:",
    ):
        assert part in described, part
    for picture in ("calibration.png", "gates/v1-against-none/slices_1.png"):
        assert f"]({picture})" in card
        assert mlflow.artifacts.download_artifacts(f"runs:/{TRAINED[FIRST].run_id}/{picture}")


def test_the_card_says_how_a_champion_is_watched_and_monitored(toy_file: Callable[..., Path]) -> None:
    monitoring = {"windows": "0 0 1 * *", "tolerance": 0.03, "alarms": {"at_most_one_in": 2000}}
    spec = load_spec(toy_file(watch={"rows": 5000}, monitoring=monitoring))
    assert after_promotion(spec) == [
        f"- Compared with the previous champion on the next 5,000 rows (`podium watch {spec.name}`).",
        "- Monitored in windows `0 0 1 * *` (UTC): log loss may get worse by 0.03; at most one false alarm "
        f"in 2,000 windows (`podium drift {spec.name}`).",
    ]
    quiet = load_spec(toy_file(monitoring={"windows": "0 0 1 * *"}))
    assert "(UTC): nobody asks whether it does harm; at most one" in after_promotion(quiet)[1]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4000), min_size=2))
def test_a_description_is_the_first_whole_sections_that_fit(sections: list[str]) -> None:
    told = description(sections)
    assert len(told) <= 5000
    *shown, more = told.split("\n\nMore, and pictures, in ")
    if shown:
        assert more == "`model_card.md` of the training run."
        assert "\n\n".join(sections[:-1]).startswith("\n\nMore, and pictures, in ".join(shown))


def test_pictures_have_addresses_where_mlflow_is_a_server(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    number = register(services, toy_spec, FIRST, run)
    public = services.settings.model_copy(update={"mlflow_public_url": "https://mlflow.example.org/"})
    monkeypatch.setattr(services, "settings", public)
    validate.validate_version(services, toy_spec, number, run)
    run_id = TRAINED[FIRST].run_id
    card = mlflow.artifacts.load_text(f"runs:/{run_id}/{ARTIFACT}")
    there = f"https://mlflow.example.org/get-artifact?path=calibration.png&run_uuid={run_id}"
    assert f"![calibration]({there})" in card


def test_no_table_has_more_rows_than_mlflow_shows() -> None:
    table = ["| a |", "|---|", *(f"| {n} |" for n in range(12))]
    shown = in_sight([*table, "", *table[:4]])
    tables = "\n".join(shown).strip().split("\n\n")
    assert [len(one.split("\n")) - 2 for one in tables] == [5, 5, 2, 2]
    assert {one.split("\n")[0] for one in tables} == {"| a |"}
    assert [row for row in shown if row.strip("| ").isdigit()] == [*table[2:], *table[2:4]]
    assert in_sight([]) == []


def test_a_card_without_limits_says_that_nobody_wrote_any(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    number = register(services, toy_spec, FIRST, run)
    validate.validate_version(services, toy_spec, number, run)
    described = raw(services.registry).get_model_version(toy_spec.name, str(number)).description
    assert "- None are written down in the model file (`limits`)." in described
    assert "No slice was scored." in described
