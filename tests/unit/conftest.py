"""What the tests of the lifecycle share."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.legend import Legend

from podium.ledger.store import Ledger, migrate
from podium.model_file.spec import ModelSpec
from podium.registry.client import Registry
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from podium.stack.layout import Layout, Paths, load_layout
from podium.training.run import train_model
from support.database import as_superuser
from support.mlflow_server import GuardedMlflow, guarded_mlflow
from support.steps import FIRST, SECOND, TRAINED
from support.toy import TOY, write_toy_rows


@pytest.fixture(scope="session", autouse=True)
def trained_once(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Train the toy as of both dates; what promotion does with a version does not depend on its training."""
    home = tmp_path_factory.mktemp("trained-once")
    write_toy_rows(home / "toy.csv", first_day="2024-01-01")
    settings = Settings(MLFLOW_TRACKING_URI=mlflow_uri, PODIUM_LEDGER_URL="unused", PODIUM_HOME=home)
    spec = ModelSpec.model_validate({**TOY, "name": "trained-once"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        TRAINED.update({as_of: train_model(spec, settings, as_of, {}, "once") for as_of in (FIRST, SECOND)})


@pytest.fixture(scope="session", autouse=True)
def trained_only(trained_once: None, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database as it is before any test registers a version."""
    source = Path(mlflow_uri.removeprefix("sqlite:///"))
    return Path(shutil.copy(source, tmp_path_factory.mktemp("trained-only") / "mlflow.db"))


@pytest.fixture(scope="session", autouse=True)
def legends_have_a_place() -> Iterator[None]:
    """Matplotlib's search for a free place warns once it takes a second, which is up to the machine."""

    def search(legend: Legend, *_: object) -> None:
        raise AssertionError(f"the legend {[text.get_text() for text in legend.get_texts()]} has no place")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Legend, "_find_best_position", search)
        yield


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger(ledger_url)


@pytest.fixture
def layout(ledger_url: str) -> Layout:
    """Ports and passwords of the Postgres that the tests share."""
    found = load_layout(Paths(PROJECT_ROOT / ".podium" / "test-postgres"))
    assert found is not None
    assert found.ledger_url == ledger_url
    return found


@pytest.fixture
def empty_database(layout: Layout) -> Iterator[str]:
    """A database of its own, for the ledger's owner; nothing is in it yet."""
    name = f"scratch_{uuid.uuid4().hex[:8]}"
    as_superuser(layout, f"CREATE DATABASE {name} OWNER ledger_owner")
    yield name
    as_superuser(layout, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_ledger(layout: Layout, empty_database: str) -> Ledger:
    """An empty ledger that no other test writes to."""
    migrate(layout.database_url("ledger_owner", empty_database), app_role="podium")
    return Ledger(layout.database_url("podium", empty_database))


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
    uri = f"sqlite:///{shutil.copy(trained_only, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("PODIUM_LEDGER_URL", layout.database_url("podium", empty_database))
    return Services(settings=Settings(), registry=Registry(uri), ledger=own_ledger)


@pytest.fixture(scope="session")
def mlflow_server(trained_only: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedMlflow]:
    """A registry of its own behind HTTP and a login."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    database = Path(shutil.copy(trained_only, folder / "mlflow.db"))
    with guarded_mlflow(folder, database) as server:
        yield server
