"""What MLflow's page of a registered model says; it is written only when it would say something else."""

from __future__ import annotations

import mlflow
import pytest

from podium.model_file.spec import ModelSpec
from podium.reporting.registered_model import describe_model, description
from podium.services import Services
from support.steps import FIRST, new_run, register


def described(services: Services, model: str) -> tuple[str, int]:
    """The description in MLflow, and when the model was last written."""
    client = mlflow.MlflowClient(services.registry.tracking_uri)
    (found,) = client.search_registered_models(f"name = '{model}'")
    return found.description, found.last_updated_timestamp


def test_a_registered_model_says_what_it_predicts_who_owns_it_and_where_people_decide(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(services, toy_spec, FIRST, new_run())
    public = services.settings.model_copy(update={"airflow_public_url": "https://airflow.example.org"})
    monkeypatch.setattr(services, "settings", public)
    describe_model(services, toy_spec)
    text, at = described(services, toy_spec.name)
    assert text.startswith(f"{toy_spec.description}\n\nOwner: {toy_spec.owner}\n\n")
    assert f"[Models](https://airflow.example.org/podium/models/{toy_spec.name})" in text
    describe_model(services, toy_spec)
    assert described(services, toy_spec.name) == (text, at), "equal words are written again"
    other = toy_spec.model_copy(update={"owner": "somebody else"})
    describe_model(services, other)
    assert "Owner: somebody else" in described(services, toy_spec.name)[0]


def test_without_an_address_of_airflow_there_is_no_link(toy_spec: ModelSpec) -> None:
    assert "The page Models in Airflow" in description(toy_spec, "")
