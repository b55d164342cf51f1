"""MLflow's registry as our server has it: the same answers, and as many objects however old a model is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.workspace_context import WorkspaceContext

from podium.operations.mlflow_registry_store import FlatRegistryStore, make_index
from podium.operations.mlflow_server import own_folder
from podium.stack.layout import Layout
from support.mlflow_server import guarded_environment

Stores = tuple[FlatRegistryStore, WorkspaceAwareSqlAlchemyStore]

STAGES = {1: "Production", 3: "Archived", 4: "Archived", 6: "Deleted_Internal"}


@contextmanager
def loaded_versions() -> Iterator[list[SqlModelVersion]]:
    """Every version that SQLAlchemy makes an object of."""
    loaded: list[SqlModelVersion] = []

    def note(version: SqlModelVersion, _: object) -> None:
        loaded.append(version)

    sa.event.listen(SqlModelVersion, "load", note)
    try:
        yield loaded
    finally:
        sa.event.remove(SqlModelVersion, "load", note)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Ours and MLflow's, on one database with a model of six versions and one of three hundred."""
    database = f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"
    with WorkspaceContext("default"):
        ours, theirs = FlatRegistryStore(database), WorkspaceAwareSqlAlchemyStore(database)
        for name, size in (("young", 6), ("old", 300)):
            theirs.create_registered_model(name, [RegisteredModelTag("of", name)], "what it is")
            with theirs.ManagedSessionMaker(read_only=False) as session:
                session.add_all(
                    SqlModelVersion(name=name, version=number, current_stage=STAGES.get(number, "None"))
                    for number in range(1, size + 1)
                )
            theirs.set_registered_model_alias(name, "champion", 5)
            theirs.set_registered_model_alias(name, "candidate", size - 1)
            for number in (1, size - 1):
                theirs.set_model_version_tag(name, number, ModelVersionTag("number", str(number)))
        theirs.create_registered_model("empty")
        yield ours, theirs


@pytest.mark.parametrize("name", ["young", "old", "empty"])
def test_it_answers_as_mlflows_own(stores: Stores, name: str) -> None:
    ours, theirs = (dict(store.get_registered_model(name)) for store in stores)
    assert by_number(ours.pop("latest_versions")) == by_number(theirs.pop("latest_versions"))
    assert ours == theirs
    for stages in (None, ["Production"], ["None", "Staging"]):
        of_ours, of_theirs = (store.get_latest_versions(name, stages) for store in stores)
        assert by_number(of_ours) == by_number(of_theirs)


def test_versions_that_are_looked_for_are_mlflows_own(stores: Stores) -> None:
    for asked in ("name = 'young'", "tags.number = '299'"):
        of_ours, of_theirs = (by_number(store.search_model_versions(asked)) for store in stores)
        assert of_ours == of_theirs
        assert of_ours[max(of_ours)]["tags"] == {"number": str(max(of_ours))}


def by_number(versions: Iterable[ModelVersion]) -> dict[int, dict[str, object]]:
    return {version.version: dict(version) for version in versions}


def test_a_page_of_models_is_mlflows_own(stores: Stores) -> None:
    of_ours, of_theirs = (
        {
            model.name: dict(model) | {"latest_versions": by_number(model.latest_versions)}
            for model in store.search_registered_models()
        }
        for store in stores
    )
    assert of_ours == of_theirs
    assert list(of_ours) == ["empty", "old", "young"]


def test_a_model_that_is_not_there_is_not_found(stores: Stores) -> None:
    for store in stores:
        with pytest.raises(MlflowException, match="not found"):
            store.get_registered_model("nobody")


def test_an_old_model_costs_what_a_young_one_does(stores: Stores) -> None:
    loaded = {}
    for name in ("young", "old"):
        with loaded_versions() as versions:
            stores[0].get_registered_model(name)
            stores[0].get_latest_versions(name)
            stores[0].search_registered_models(f"name = '{name}'")
        loaded[name] = len(versions)
    assert loaded["old"] == loaded["young"] == 3 * 3  # the newest of None, Production and Archived


def test_many_cost_as_many_questions_as_one(stores: Stores) -> None:
    ours = stores[0]
    assert questions(ours, ours.search_registered_models) == questions(
        ours, lambda: ours.search_registered_models("name = 'old'")
    )
    assert questions(ours, lambda: ours.search_model_versions("name = 'old'")) == questions(
        ours, lambda: ours.search_model_versions("name = 'old' and tags.number = '299'")
    )


def questions(store: FlatRegistryStore, ask: Callable[[], object]) -> int:
    """Return how many SELECT statements the database is sent."""
    sent: list[str] = []

    def note(_: sa.Connection, __: object, statement: str, *___: object) -> None:
        sent.append(statement)

    sa.event.listen(store.engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", note)
    return sum(statement.startswith("SELECT") for statement in sent)


def test_the_newest_versions_are_looked_up_in_an_index(stores: Stores) -> None:
    plans: list[str] = []

    def explain(
        connection: sa.Connection, _: object, statement: str, values: tuple[object, ...], *__: object
    ) -> None:
        if "max(" in statement:
            found = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[func-returns-value]
            plans.extend(row[-1] for row in found)

    sa.event.listen(stores[0].engine, "before_cursor_execute", explain)
    try:
        stores[0].get_registered_model("old")
        stores[0].search_registered_models()
    finally:
        sa.event.remove(stores[0].engine, "before_cursor_execute", explain)
    searches = [plan for plan in plans if plan.startswith("SEARCH")]
    assert (
        sum(
            "podium_newest_of_stage (workspace=? AND name=? AND current_stage=?)" in plan for plan in searches
        )
        == 8
    )
    assert not [plan for plan in plans if "model_versions" in plan and "podium_newest_of_stage" not in plan]


def test_servers_that_start_at_once_make_the_index_once(layout: Layout) -> None:
    engine = sa.create_engine(layout.database_url("mlflow", "mlflow"))
    columns = "workspace text, name text, current_stage text, version int"
    try:
        for _ in range(10):
            with engine.begin() as connection:
                connection.execute(sa.text("DROP TABLE IF EXISTS model_versions"))
                connection.execute(sa.text(f"CREATE TABLE model_versions ({columns})"))
            with ThreadPoolExecutor(8) as servers:
                list(servers.map(make_index, [engine] * 8))
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE model_versions"))
    finally:
        engine.dispose()


def test_the_server_takes_it(tmp_path: Path) -> None:
    environment = guarded_environment(tmp_path, tmp_path / "mlflow.db")
    asked = "from mlflow.server import handlers; print(type(handlers._get_model_registry_store()))"
    told = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=own_folder(tmp_path), env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "FlatRegistryStore" in told.stdout
