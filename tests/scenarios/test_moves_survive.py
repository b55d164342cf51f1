"""Promote and roll back killed at every step, with a part away or slow at every step, and 50 at once."""

from __future__ import annotations

import multiprocessing
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import mlflow
import pytest
from sqlalchemy import make_url

from podium.errors import Outage
from podium.ledger import history
from podium.ledger.chain import walk
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import register
from podium.lifecycle.verify import alias_differences, told_heads
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.registry.client import Registry
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from podium.stack.layout import Paths, load_layout
from podium.training.run import train_model
from support.database import postgres_state
from support.mlflow_client import raw
from support.moves import Move, Steps, killed_at, race
from support.patience import PATIENCE_SECONDS
from support.proxy import Proxy
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    decide,
    new_run,
    nominate_unjudged,
    pass_gates,
    promote_as_of,
)
from support.toy import TOY, write_toy_rows

KINDS = ("promote", "rollback")
MOVED = {"promote": "promoted", "rollback": "rolled_back"}


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Starts processes from one that has imported everything and opened nothing."""
    folders = (PROJECT_ROOT / name for name in ("include", "plugins", "tests"))
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, folders))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.moves"])
    return context


def prepare(services: Services, spec: ModelSpec, kind: str, ledger_url: str) -> Move:
    """Bring a model to where the next call moves its champion to another version."""
    run = new_run()
    champion = services.registry.champion(spec.name)
    if champion is None:
        promote_as_of(services, spec, FIRST)
        champion = 1
    if kind == "promote":
        nominate_unjudged(services, spec, SECOND if champion == 1 else FIRST, run)
        decide(services, spec, run)
    elif champion == 1:
        promote_as_of(services, spec, SECOND)
    return Move(kind, spec.name, run, services.registry.tracking_uri, ledger_url)


def assert_done_once(services: Services, move: Move, target: int) -> None:
    """The champion is the target; alias, tags and ledger agree; nothing is recorded twice."""
    events = services.ledger.history(move.model)
    assert history.champion(events) == services.registry.champion(move.model) == target
    assert alias_differences(services, move.model) == []
    for version in services.registry.versions(move.model):
        stage = history.lifecycle_stage(events, version.number)
        assert version.tags[Tag.LIFECYCLE_STAGE] == stage
    recorded = Counter(event.event.value for event in events if event.run == move.run)
    started = "promotion_started" if move.kind == "promote" else "rollback_started"
    assert recorded[started] == recorded[MOVED[move.kind]] == 1
    assert max(recorded.values()) == 1
    assert "promotion_refused" not in recorded
    assert "rollback_refused" not in recorded


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_killed_at_any_step_ends_as_intended_when_it_is_run_again(
    services: Services,
    toy_spec: ModelSpec,
    ledger_url: str,
    processes: ForkServerContext,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = []
    step = 0
    while True:
        step += 1
        move = prepare(services, toy_spec, kind, ledger_url)
        before = services.registry.champion(move.model)
        target = 1 if before == 2 else 2
        listen, tell = processes.Pipe(duplex=False)
        process = processes.Process(target=killed_at, args=(move, step, tell))
        process.start()
        process.join(PATIENCE_SECONDS)
        name = listen.recv() if listen.poll() else "never told"
        if process.exitcode == 0:
            assert name == ""
            assert_done_once(services, move, target)
            break
        assert process.exitcode == -9, f"step {step} ({name}) ended with {process.exitcode}"
        left = services.registry.champion(move.model)
        assert left in (before, target)
        move.go(services.registry, services.ledger)
        assert_done_once(services, move, target)
        table.append(f"{step:>4}  {name:<40} v{before} -> v{target}   v{left:<14} v{target}")
    assert walk(services.ledger.record(), told_heads(services, [toy_spec.name])).difference is None
    assert any("set_alias champion" in line for line in table)
    with capsys.disabled():
        print(f"\n{kind}, killed (SIGKILL) before each of its {len(table)} steps")
        print(f"{'step':>4}  {'killed before':<40} {'intended':<10} {'champion then':<15} when run again")
        print("\n".join(table))


@pytest.fixture(scope="module")
def mlflow_on_postgres(ledger_url: str) -> str:
    """MLflow's own database of the tests' Postgres."""
    layout = load_layout(Paths(postgres_state()))
    assert layout is not None
    return layout.database_url("mlflow", "mlflow")


@pytest.fixture
def parts_on_postgres(services: Services, mlflow_on_postgres: str, tmp_path: Path) -> Iterator[Services]:
    """The same ledger, and MLflow on Postgres, with the toy trained there as well."""
    registry = Registry(mlflow_on_postgres)
    there = Services(services.settings, registry=registry, ledger=services.ledger)
    elsewhere = dict(TRAINED)
    settings = Settings(
        MLFLOW_TRACKING_URI=mlflow_on_postgres, PODIUM_LEDGER_URL="unused", PODIUM_HOME=tmp_path
    )
    spec = ModelSpec.model_validate({**TOY, "name": "trained-on-postgres"})
    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    TRAINED.update({as_of: train_model(spec, settings, as_of, {}, "once") for as_of in (FIRST, SECOND)})
    yield there
    TRAINED.update(elsewhere)
    mlflow.set_tracking_uri(services.registry.tracking_uri)


@pytest.fixture
def proxies(ledger_url: str, mlflow_on_postgres: str) -> Iterator[dict[str, Proxy]]:
    """A proxy before the ledger and one before MLflow's database."""
    made = {
        "ledger": Proxy(int(make_url(ledger_url).port or 0)),
        "registry": Proxy(int(make_url(mlflow_on_postgres).port or 0)),
    }
    yield made
    for proxy in made.values():
        proxy.close()


def through(url: str, proxy: Proxy) -> str:
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


def part_of(step: str) -> str:
    return "registry" if step.startswith("registry") else "ledger"


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_is_away_at_any_step_is_an_outage_and_the_next_try_ends_as_intended(
    parts_on_postgres: Services,
    toy_spec: ModelSpec,
    ledger_url: str,
    proxies: dict[str, Proxy],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = parts_on_postgres
    ledger = Ledger(through(ledger_url, proxies["ledger"]))
    registry = Registry(through(parts.registry.tracking_uri, proxies["registry"]))
    away = []
    while True:
        move = prepare(parts, toy_spec, kind, ledger_url)
        before = parts.registry.champion(move.model)
        target = 1 if before == 2 else 2
        steps = Steps(len(away) + 1, lambda name: proxies[part_of(name)].cut())
        with monkeypatch.context() as patched:
            steps.watch(patched.setattr)
            try:
                move.go(registry, ledger)
            except Outage:
                away.append(steps.names[-1])
            else:
                assert len(steps.names) == len(away), f"{steps.names[len(away)]} did not notice"
                break
            finally:
                for proxy in proxies.values():
                    proxy.mend()
        assert parts.registry.champion(move.model) in (before, target)
        recorded = [event.event for event in parts.ledger.history(move.model) if event.run == move.run]
        assert not {"promotion_refused", "rollback_refused"} & set(recorded)
        move.go(parts.registry, parts.ledger)
        assert_done_once(parts, move, target)
    assert {part_of(name) for name in away} == {"ledger", "registry"}


@pytest.mark.parametrize("kind", KINDS)
def test_parts_that_are_slow_at_every_step_only_take_time(
    parts_on_postgres: Services, toy_spec: ModelSpec, ledger_url: str, proxies: dict[str, Proxy], kind: str
) -> None:
    parts = parts_on_postgres
    move = prepare(parts, toy_spec, kind, ledger_url)
    target = 1 if parts.registry.champion(move.model) == 2 else 2
    for proxy in proxies.values():
        proxy.delay_seconds = 0.01
    move.go(
        Registry(through(parts.registry.tracking_uri, proxies["registry"])),
        Ledger(through(ledger_url, proxies["ledger"])),
    )
    assert_done_once(parts, move, target)


def test_of_fifty_promotions_at_once_from_separate_processes_exactly_one_wins(
    services: Services, toy_spec: ModelSpec, ledger_url: str, processes: ForkServerContext
) -> None:
    moves = [approved_version(services, toy_spec, ledger_url) for _ in range(50)]
    start, told = processes.Barrier(len(moves)), processes.Queue()
    children = [processes.Process(target=race, args=(move, start, told)) for move in moves]
    for child in children:
        child.start()
    outcomes = [told.get(timeout=PATIENCE_SECONDS) for _ in children]
    for child in children:
        child.join(PATIENCE_SECONDS)
    ended = Counter(name for name, _, _ in outcomes)
    assert ended == {"moved": 1, "ChampionChanged": 49}
    winner = next(version for name, version, _ in outcomes if name == "moved")
    assert all(
        f"is now v{winner} (promoted by amy on" in told for name, _, told in outcomes if name != "moved"
    )
    events = services.ledger.history(toy_spec.name)
    assert services.registry.champion(toy_spec.name) == winner == history.champion(events)
    kinds_of_runs = {
        event.run: event.event.value for event in events if event.event in ("promoted", "promotion_refused")
    }
    assert Counter(kinds_of_runs.values()) == {"promoted": 1, "promotion_refused": 49}
    assert set(kinds_of_runs) == {move.run for move in moves}
    assert [event.event.value for event in events].count("promotion_started") == 1
    assert walk(services.ledger.record()).difference is None


def approved_version(services: Services, spec: ModelSpec, ledger_url: str) -> Move:
    """Make one more version of the same training, approved over no champion."""
    run, trained = new_run(), TRAINED[FIRST]
    digest = trained.tags[Tag.INPUTS_DIGEST]
    raw(services.registry).set_tag(trained.run_id, Tag.INPUTS_DIGEST, uuid.uuid4().hex)
    try:
        version = register.register_version(services, spec, trained.run_id, run)
    finally:
        raw(services.registry).set_tag(trained.run_id, Tag.INPUTS_DIGEST, digest)
    pass_gates(services, spec, version, run)
    services.ledger.append(NewEvent(EventKind.NOMINATED, spec.name, version, run=run, key=f"nominated:{run}"))
    decide(services, spec, run)
    return Move("promote", spec.name, run, services.registry.tracking_uri, ledger_url)
