"""Fixtures that several tiers share: a toy model, and the real parts that need no Airflow."""

from __future__ import annotations

import copy
import gc
import itertools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

from podium.operations import airflow_client
from podium.operations.airflow_client import AirflowClient
from podium.settings import Settings
from support.patience import PATIENCE_SECONDS

# A fixture imports what it needs: MLflow, pandas and SQLAlchemy take seconds that most rooms can do without.
if TYPE_CHECKING:
    from podium.ledger.store import Ledger
    from podium.model_file.spec import ModelSpec
    from podium.services import Services
    from podium.stack.layout import Layout
    from podium.stack.running_stack import Stack
    from support.airflow import LifecycleRun
    from support.mlflow_server import GuardedMlflow

# How long an example takes is up to the machine. `make test` tries more: --hypothesis-profile=thorough.
ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", ANY_MACHINE, max_examples=100)
settings.register_profile("quick", ANY_MACHINE, max_examples=20)
settings.load_profile("quick")

# Shared machines stand still for half a minute now and then.
airflow_client.TIMEOUT_SECONDS = PATIENCE_SECONDS

# pytest-xdist says 80 to each worker; rich would take that for good and ask no test's own environment.
os.environ.pop("COLUMNS", None)

_COLLECT_AFTER = 100
_ENDED = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a training or proves a model as one does, so that ``make test-fast`` leaves it out."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if {"trained_only", "fresh_process"} & {*names} or item.path.parent.name == "models":
            item.add_marker("trains")


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Free now and then what tests left: each pool of connections keeps one of the hundred of Postgres."""
    if "ledger_url" in getattr(item, "fixturenames", ()) and next(_ENDED) % _COLLECT_AFTER == 0:
        gc.collect()


@pytest.fixture
def toy_file(tmp_path: Path) -> Callable[..., Path]:
    """Write the toy's model file with changed keys (``data__source='x'`` goes one level down)."""
    from support.toy import TOY

    def write(**changes: Any) -> Path:
        content = copy.deepcopy(TOY)
        for key, value in changes.items():
            *parents, last = key.split("__")
            section = content
            for parent in parents:
                section = section[parent]
            section[last] = value
        path = tmp_path / f"{content['name']}.yaml"
        path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))
        return path

    return write


@pytest.fixture
def toy_spec(toy_file: Callable[..., Path], tmp_path: Path) -> ModelSpec:
    """A toy of a name of its own, with its rows beside the model file."""
    from podium.model_file.loading import load_spec
    from support.toy import write_toy_rows

    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    return load_spec(toy_file(name=f"toy-{uuid.uuid4().hex[:8]}"))


@pytest.fixture(scope="session")
def ledger_url() -> Iterator[str]:
    """A new ledger database in a real Postgres, migrated."""
    from podium.stack import control
    from podium.stack.layout import Paths
    from podium.stack.running_stack import running_stack
    from support.database import claimed_postgres_state, make_haste

    with claimed_postgres_state() as state:
        control.clean(Paths(state))
        with running_stack(state, parts={"postgres"}) as stack:
            make_haste(Paths(state))
            yield stack.ledger_url
        control.clean(Paths(state))


@pytest.fixture(scope="session")
def ledger_server_url(layout: Layout) -> str:
    """The same ledger for the role of model servers."""
    return layout.ledger_server_url


@pytest.fixture(scope="session")
def hasty_sqlite() -> Iterator[None]:
    """MLflow on a SQLite file waits for no disk, and asks the registry's questions as our server does."""
    import sqlite3

    from mlflow.store.model_registry import sqlalchemy_store
    from sqlalchemy import Engine, event

    from podium.operations.mlflow_registry_store import FlatRegistryStore

    class HastyStore(sqlalchemy_store.SqlAlchemyStore):  # type: ignore[misc]  # MLflow types it Any
        @staticmethod
        def _get_eager_registered_model_query_options() -> Any:
            return FlatRegistryStore._get_eager_registered_model_query_options()

        @staticmethod
        def _get_eager_model_version_query_options() -> Any:
            return FlatRegistryStore._get_eager_model_version_query_options()

    def hasten(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hasten)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlalchemy_store, "SqlAlchemyStore", HastyStore)
        yield
    event.remove(Engine, "connect", hasten)


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory, hasty_sqlite: None) -> str:
    """MLflow on a SQLite file: the same registry code, without a server."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def services(
    ledger_url: str,
    ledger_server_url: str,
    mlflow_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Services]:
    """Registry and ledger, with the temporary folder as the project's."""
    from podium.ledger.store import Ledger
    from podium.registry.client import Registry
    from podium.services import Services

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("PODIUM_LEDGER_URL", ledger_url)
    monkeypatch.setenv("PODIUM_LEDGER_SERVER_URL", ledger_server_url)
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path))
    monkeypatch.setenv("PODIUM_MODELS_DIR", str(tmp_path))
    monkeypatch.delenv("PODIUM_EPHEMERAL", raising=False)
    ledger = Ledger(ledger_url)
    yield Services(settings=Settings(), registry=Registry(mlflow_uri), ledger=ledger)
    # Its connections would stay until Python collects it, and Postgres has a hundred.
    ledger.engine.dispose()


@pytest.fixture(scope="session")
def trained_only(tmp_path_factory: pytest.TempPathFactory, hasty_sqlite: None) -> Path:
    """MLflow with the toy trained as of both dates, before any test registers a version.

    What comes after a training does not depend on it: rooms after it take this one (``support.trained``).
    """
    from podium.model_file.spec import ModelSpec
    from podium.training.run import train_model
    from support.steps import FIRST, SECOND, TRAINED
    from support.toy import TOY, write_toy_rows

    home = tmp_path_factory.mktemp("trained-once")
    uri = f"sqlite:///{home / 'mlflow.db'}"
    write_toy_rows(home / "toy.csv", first_day="2024-01-01")
    settings = Settings(MLFLOW_TRACKING_URI=uri, PODIUM_LEDGER_URL="unused", PODIUM_HOME=home)
    spec = ModelSpec.model_validate({**TOY, "name": "trained-once"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        TRAINED.update({as_of: train_model(spec, settings, as_of, {}, "once") for as_of in (FIRST, SECOND)})
    return home / "mlflow.db"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    from podium.ledger.store import Ledger

    ledger = Ledger(ledger_url)
    yield ledger
    ledger.engine.dispose()


@pytest.fixture(scope="session")
def layout(ledger_url: str) -> Layout:
    """Ports and passwords of the Postgres that the tests share."""
    from podium.stack.layout import Paths, load_layout
    from support.database import postgres_state

    found = load_layout(Paths(postgres_state()))
    assert found is not None
    assert found.ledger_url == ledger_url
    return found


@pytest.fixture(scope="session")
def migrated_database(layout: Layout) -> str:
    """An empty ledger, to be copied."""
    from podium.ledger.store import migrate
    from support.database import as_superuser

    as_superuser(layout, "CREATE DATABASE migrated OWNER ledger_owner")
    url = layout.database_url("ledger_owner", "migrated")
    migrate(url, app_role="podium", server_role="podium_server")
    return "migrated"


@pytest.fixture
def empty_database(layout: Layout, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of its own, for the ledger's owner; nothing is in it, but for ``own_ledger`` its tables."""
    from support.database import BY_FILES, as_superuser

    name = f"scratch_{uuid.uuid4().hex[:8]}"
    migrated = "own_ledger" in request.fixturenames
    template = request.getfixturevalue("migrated_database") if migrated else "template1"
    as_superuser(layout, f"CREATE DATABASE {name} OWNER ledger_owner TEMPLATE {template} {BY_FILES}")
    yield name
    as_superuser(layout, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_ledger(layout: Layout, empty_database: str) -> Iterator[Ledger]:
    """An empty ledger that no other test writes to."""
    from podium.ledger.store import Ledger

    ledger = Ledger(layout.database_url("podium", empty_database))
    yield ledger
    ledger.engine.dispose()


@pytest.fixture
def own_services(
    services: Services,
    own_ledger: Ledger,
    layout: Layout,
    empty_database: str,
    trained_only: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Services:
    """The parts, with a ledger and a registry that no other test writes to."""
    from podium.registry.client import Registry
    from podium.services import Services

    uri = f"sqlite:///{shutil.copy(trained_only, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for name, role in (("PODIUM_LEDGER_URL", "podium"), ("PODIUM_LEDGER_SERVER_URL", "podium_server")):
        monkeypatch.setenv(name, layout.database_url(role, empty_database))
    return Services(settings=Settings(), registry=Registry(uri), ledger=own_ledger)


@pytest.fixture(scope="session")
def mlflow_server(trained_only: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedMlflow]:
    """A registry of its own behind HTTP and a login."""
    from support.mlflow_server import guarded_mlflow

    folder = tmp_path_factory.mktemp("mlflow-server")
    database = Path(shutil.copy(trained_only, folder / "mlflow.db"))
    with guarded_mlflow(folder, database) as server:
        yield server


# Of the tests with a whole stack, which say where it is (``stack``) and which models it has (``models``).


@pytest.fixture(scope="session")
def operator(stack: Stack) -> AirflowClient:
    return AirflowClient(stack.airflow_url, "operator", stack.passwords["operator"])


@pytest.fixture(scope="session")
def approver(stack: Stack) -> AirflowClient:
    return AirflowClient(stack.airflow_url, "approver", stack.passwords["approver"])


@pytest.fixture(scope="session")
def admin(stack: Stack) -> AirflowClient:
    return AirflowClient(stack.airflow_url, "admin", stack.passwords["admin"])


@pytest.fixture
def stack_services(stack: Stack, models: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The stack's own registry and ledger."""
    from podium.services import connect

    for name, value in stack.client_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PODIUM_MODELS_DIR", str(models))
    return connect()


@pytest.fixture(scope="session")
def start(operator: AirflowClient, models: Path) -> Callable[..., LifecycleRun]:
    """Unpause and trigger a model's lifecycle, both as the operator, as the README says."""
    from podium.model_file.loading import find_spec
    from support.airflow import LifecycleRun

    def trigger(
        model: str, as_of: str | None = None, who: AirflowClient = operator, **form: Any
    ) -> LifecycleRun:
        spec = find_spec(models, model)
        operator.wait_for_dag(spec.lifecycle_dag_id)
        operator.set_paused(spec.lifecycle_dag_id, paused=False)
        if as_of is not None:
            form["as_of"] = f"{as_of}T00:00:00+00:00"
        return LifecycleRun(operator, spec, who.trigger(spec.lifecycle_dag_id, form))

    return trigger
