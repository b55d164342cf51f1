"""What MLflow is told of runs."""

from __future__ import annotations

import pytest
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModelTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from podium.errors import Outage, PodiumError
from podium.registry.errors import mlflow_errors
from podium.services import Services
from support.mlflow_client import raw


@pytest.mark.usefixtures("trained_only")
def test_a_param_of_any_length_is_logged(services: Services) -> None:
    registry = services.registry
    run = registry.create_run(registry.ensure_experiment("long params"), "long", {})
    registry.log_numbers(run, {"kept_features": "a feature, " * 606, "seed": "1e-4"}, {})
    logged = raw(registry).get_run(run).data.params
    assert logged["kept_features"].startswith("a feature, a feature")
    assert logged["seed"] == "1e-4"


def test_two_who_write_the_same_at_once_try_again(services: Services) -> None:
    """MLflow calls it a bad request that its database holds the tag already which it was about to add."""
    raw(services.registry).create_registered_model("at-once", tags={"seen": "first"})
    store = SqlAlchemyStore(services.registry.tracking_uri)
    with (
        pytest.raises(Outage, match="tagging"),
        mlflow_errors("tagging"),
        store.ManagedSessionMaker(read_only=False) as session,
    ):
        session.add(SqlRegisteredModelTag(name="at-once", key="seen", value="second"))


def test_what_mlflow_refuses_is_not_tried_again(services: Services) -> None:
    with pytest.raises(PodiumError, match="MLflow refused") as refused, mlflow_errors("making a model"):
        raw(services.registry).create_registered_model("no/name")
    assert not isinstance(refused.value, Outage)
