"""What a step asks of ledger and registry: the same number of questions, however many versions there are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

from podium.ledger import history
from podium.ledger import store as ledger_store
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import edited
from podium.lifecycle.edited import edits
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.verify import alias_differences, all_differences
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.operations.doctor import model_checks
from podium.operations.doctor.findings import State
from podium.registry.manifest import Manifest
from podium.reporting.status import model_statuses
from podium.services import Services
from support.mlflow_client import raw
from support.moved_outside import look, move_by_hand
from support.steps import (
    FIRST,
    SECOND,
    decide,
    new_run,
    nominate_unjudged,
    promote,
    promote_as_of,
    register,
    roll_back,
)

# Each is one request where MLflow is a server.
_ASKS = {
    RegistryStore: (
        "get_registered_model", "search_registered_models", "create_registered_model", "get_model_version",
        "search_model_versions", "create_model_version", "set_registered_model_alias",
        "set_model_version_tag", "delete_registered_model_alias", "delete_model_version_tag",
        "set_registered_model_tag", "get_model_version_download_uri",
    ),
    TrackingStore: (
        "get_run", "get_experiment", "search_experiments", "search_runs", "log_batch", "set_tag",
        "get_logged_model",
    ),
}  # fmt: skip


@contextmanager
def asked(services: Services) -> Iterator[Counter[str]]:
    """Count the statements to the ledger and the requests to MLflow, and what comes back of what may grow."""
    counts: Counter[str] = Counter()

    def statement(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
        counts[f"SQL {' '.join(text.split())[:60]}"] += 1

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found = real(*args, **kwargs)
            counts[name] += 1
            if name == "search_model_versions":
                counts["versions listed"] += len(found)
            return found

        return call

    sa.event.listen(services.ledger.engine, "before_cursor_execute", statement)
    with pytest.MonkeyPatch.context() as patch:
        for store, names in _ASKS.items():
            for name in names:
                patch.setattr(store, name, counting(name, getattr(store, name)))
        patch.setattr(ledger_store, "_event", counting("events read", ledger_store._event))
        yield counts
    sa.event.remove(services.ledger.engine, "before_cursor_execute", statement)


def grow(services: Services, spec: ModelSpec, versions: int) -> None:
    """Let a model become this old: versions that were champion one after the other, as steps record them."""
    registered = history.registration(services.ledger.history(spec.name), 1)
    assert registered is not None
    client = raw(services.registry)
    first = client.get_model_version(spec.name, "1")
    experiment = client.get_run(first.run_id).info.experiment_id
    for number in itertools.count(len(services.registry.versions(spec.name)) + 1):
        if number > versions:
            break
        trained = client.create_run(experiment).info.run_id
        there = int(client.create_model_version(spec.name, first.source, trained, first.tags).version)
        run = f"lifecycle_{spec.name}/{there}"
        for kind in (EventKind.REGISTERED, EventKind.NOMINATED, EventKind.APPROVED, EventKind.PROMOTED):
            details = {**registered.details, "mlflow_run": trained} if kind is EventKind.REGISTERED else {}
            key = f"decision:{run}" if kind is EventKind.APPROVED else None
            new = NewEvent(kind, spec.name, there, there - 1, run=run, key=key, details=details)
            services.ledger.append(new)
    services.registry.set_alias(spec.name, Alias.CHAMPION, versions)
    mirror(services, spec.name)


def steps(services: Services, spec: ModelSpec) -> dict[str, Callable[[], object]]:
    """What is done of a model, in this order."""
    run = new_run()

    def champion() -> int | None:
        return history.champion(services.ledger.present(spec.name))

    return {
        "register": lambda: register(services, spec, SECOND, run),
        "nominate": lambda: nominate_unjudged(services, spec, SECOND, run),
        "ask and decide": lambda: decide(services, spec, run),
        "promote": lambda: promote(services, spec, run),
        "reconcile what is as it must be": lambda: look(services, spec),
        "roll back": lambda: roll_back(services, spec),
        "move by hand": lambda: move_by_hand(services, spec, 1),
        "reconcile": lambda: look(services, spec),
        "move back": lambda: move_by_hand(
            services, spec, history.champion(services.ledger.present(spec.name))
        ),
        "reconcile again": lambda: look(services, spec),
        "compare aliases": lambda: alias_differences(services, spec.name),
        "look for edits": lambda: edits(services, spec.name),
    }


@pytest.mark.usefixtures("trained_only")
def test_a_step_asks_as_much_of_many_versions_as_of_few(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_store, "NEWEST_MOVES", 5)
    monkeypatch.setattr(edited, "_MOVES", 5)
    counts: dict[int, dict[str, Counter[str]]] = {}
    for versions in (10, 50):
        spec = toy_spec.model_copy(update={"name": f"{toy_spec.name}-{versions}"})
        promote_as_of(services, spec, FIRST)
        grow(services, spec, versions)
        counts[versions] = {}
        for name, step in steps(services, spec).items():
            with asked(services) as found:
                step()
            counts[versions][name] = found
    assert counts[10] == counts[50]


def test_many_models_are_asked_about_at_once(
    own_ledger: Ledger, services: Services, toy_spec: ModelSpec
) -> None:
    services = Services(services.settings, registry=services.registry, ledger=own_ledger)
    counts = []
    for more in (1, 30):
        specs = [toy_spec.model_copy(update={"name": f"{toy_spec.name}-{more}-{n}"}) for n in range(more)]
        for spec in specs:
            own_ledger.append(NewEvent(EventKind.PROMOTED, spec.name, 1))
            own_ledger.append(NewEvent(EventKind.PROMOTED, spec.name, 2, 1))
        with asked(services) as found:
            statuses = model_statuses(services)
        recorded = {status.model: status.recorded_champion for status in statuses}
        assert {recorded[spec.name] for spec in specs} == {2}
        counts.append({what: count for what, count in found.items() if what != "events read"})
    assert counts[0] == counts[1]


def test_the_health_of_many_models_is_asked_about_at_once(
    own_services: Services, toy_spec: ModelSpec
) -> None:
    """But for the files of each champion, which nothing but reading them proves."""
    services, counts = own_services, []
    for models in (2, 12):
        for number in range(models // 2, models):
            promote_as_of(services, toy_spec.model_copy(update={"name": f"toy-{number}"}), FIRST)
        names = services.ledger.models()
        with asked(services) as found, pytest.MonkeyPatch.context() as patch:
            patch.setattr(model_checks, "check_bytes", lambda *_: Manifest(()))
            findings = list(model_checks.check_champions(lambda _: None))
            assert all_differences(services, names) == []
        assert [finding.state for finding in findings] == [State.OK] * len(names)
        grows = ("events read", "versions listed")
        counts.append({what: count for what, count in found.items() if what not in grows})
    assert counts[0] == counts[1]
