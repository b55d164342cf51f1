"""Each receiver is told of what is on record: in order, at least once, whoever dies when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from podium.errors import Outage, PodiumError
from podium.ledger import receivers, store
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.receivers import CHAMPION_ASSET, MOVED_OUTSIDE_ASSET, Receiver
from podium.ledger.store import Ledger, migrate
from podium.lifecycle import reconcile
from podium.lifecycle.announce import LEFT_OVER, OWN_RUN, to_announce
from podium.lifecycle.reconcile import reconcile_all
from podium.lifecycle.settle import Settlement
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.registry.client import Registry
from podium.services import Services
from podium.stack.layout import Layout
from support.mlflow_client import raw
from support.moved_outside import ask, look, move_by_hand
from support.steps import FIRST, SECOND, new_run, promote_as_of, roll_back

ToyFile = Callable[..., Path]
Announced = Callable[[ModelSpec], list[str]]
RECEIVERS = (CHAMPION_ASSET, MOVED_OUTSIDE_ASSET)
# A later receiver: a name and kinds are all.
MAIL = Receiver("mail", (EventKind.APPROVAL_REQUESTED, EventKind.PROMOTED, EventKind.MOVED_OUTSIDE))


class Killed(BaseException):
    """The process ended here."""


class Asset:
    """What Airflow's assets were told, by a task and the task after it, either of which can die."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.told: dict[str, list[int]] = {receiver.name: [] for receiver in (*RECEIVERS, MAIL)}

    def announce(
        self, receiver: Receiver, model: str | None = None, run: str | None = None, dies: str = ""
    ) -> list[int]:
        events = to_announce(self._ledger, receiver, model=model, run=run)
        if dies == "before it was told":
            return []
        told = [event.seq for event in events]
        self.told[receiver.name] += told
        if dies != "before the cursor moved":
            for event in events:
                self._ledger.move_cursor(receiver.name, event.model, event.seq)
        return told


@pytest.fixture
def asset(own_ledger: Ledger) -> Asset:
    return Asset(own_ledger)


@pytest.fixture
def owner_url(layout: Layout, empty_database: str) -> str:
    return layout.database_url("ledger_owner", empty_database)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let every run's time be over, as if all was recorded long ago."""

    def pass_time() -> None:
        for name in ("OWN_RUN", "LEFT_OVER"):
            monkeypatch.setattr(f"podium.lifecycle.announce.{name}", OWN_RUN * 0)

    return pass_time


def record(ledger: Ledger, kind: EventKind, run: str | None = None, model: str = "toy") -> Event:
    return ledger.append(NewEvent(kind, model, 1, run=run))


def test_a_run_announces_its_move_once_however_often_it_is_run_again(
    own_ledger: Ledger, asset: Asset, later: Callable[[], None]
) -> None:
    promoted = record(own_ledger, EventKind.PROMOTED, "lifecycle/1")
    for _ in range(3):
        asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1")
        asset.announce(CHAMPION_ASSET)
    later()
    asset.announce(CHAMPION_ASSET)
    assert asset.told[CHAMPION_ASSET.name] == [promoted.seq]


def test_reconcile_leaves_a_move_to_its_run_and_announces_it_when_that_died(
    own_ledger: Ledger, asset: Asset, later: Callable[[], None]
) -> None:
    promoted = record(own_ledger, EventKind.PROMOTED, "lifecycle/1")
    assert asset.announce(CHAMPION_ASSET) == []
    later()
    assert asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1") == []
    assert asset.announce(CHAMPION_ASSET) == [promoted.seq]
    assert asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1") == []


def test_a_run_and_reconcile_are_never_both_to_announce_the_same() -> None:
    assert LEFT_OVER >= 2 * OWN_RUN


def test_a_run_that_was_overtaken_is_announced_first(own_ledger: Ledger, asset: Asset) -> None:
    promoted = record(own_ledger, EventKind.PROMOTED, "lifecycle/1")
    rolled_back = record(own_ledger, EventKind.ROLLED_BACK, "rollback_champion/2")
    with pytest.raises(Outage, match=f"event {promoted.seq}, promoted, which run lifecycle/1, or reconcile"):
        asset.announce(CHAMPION_ASSET, "toy", "rollback_champion/2")
    asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1")
    asset.announce(CHAMPION_ASSET, "toy", "rollback_champion/2")
    assert asset.told[CHAMPION_ASSET.name] == [promoted.seq, rolled_back.seq]


def test_reconcile_announces_nothing_before_what_a_run_announces_first(
    own_ledger: Ledger, asset: Asset, later: Callable[[], None]
) -> None:
    first = record(own_ledger, EventKind.MOVED_OUTSIDE)
    settled = record(own_ledger, EventKind.OUTSIDE_MOVE_REVERTED, "settle_champion/1")
    again = record(own_ledger, EventKind.MOVED_OUTSIDE)
    other = record(own_ledger, EventKind.MOVED_OUTSIDE, model="other")
    assert asset.announce(MOVED_OUTSIDE_ASSET) == [first.seq, other.seq]
    later()
    assert asset.announce(MOVED_OUTSIDE_ASSET) == [settled.seq, again.seq]


@pytest.mark.parametrize("dies", ["before it was told", "before the cursor moved"])
def test_whoever_dies_nothing_is_lost_and_only_a_cursor_that_did_not_move_tells_twice(
    own_ledger: Ledger, asset: Asset, dies: str
) -> None:
    move = record(own_ledger, EventKind.MOVED_OUTSIDE)
    mine = record(own_ledger, EventKind.PROMOTED, "lifecycle/1")
    asset.announce(MOVED_OUTSIDE_ASSET, dies=dies)
    asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1", dies=dies)
    # The same task is run again.
    asset.announce(MOVED_OUTSIDE_ASSET)
    asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1")
    times = 1 if dies == "before it was told" else 2
    assert asset.told[MOVED_OUTSIDE_ASSET.name] == [move.seq] * times
    assert asset.told[CHAMPION_ASSET.name] == [mine.seq] * times


def test_receivers_do_not_know_of_each_other_and_each_has_its_kinds(
    own_ledger: Ledger, owner_url: str, asset: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RECEIVERS", (*RECEIVERS, MAIL))
    migrate(owner_url, app_role="podium", server_role="podium_server")
    asked = record(own_ledger, EventKind.APPROVAL_REQUESTED, "lifecycle/1")
    promoted = record(own_ledger, EventKind.PROMOTED, "lifecycle/1")
    asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1", dies="before the cursor moved")
    move = record(own_ledger, EventKind.MOVED_OUTSIDE)
    # One process announces all to it, at once: it leaves nothing to runs.
    assert asset.announce(MAIL) == [asked.seq, promoted.seq, move.seq]
    assert asset.announce(MAIL) == []
    assert asset.announce(MOVED_OUTSIDE_ASSET) == [move.seq]
    assert asset.announce(CHAMPION_ASSET, "toy", "lifecycle/1") == [promoted.seq]


def test_a_receiver_that_is_new_begins_at_the_newest_event_of_an_old_ledger(
    own_ledger: Ledger, owner_url: str, asset: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(own_ledger, EventKind.PROMOTED, "lifecycle/1")
    with pytest.raises(PodiumError, match="does not know the receiver 'mail': migrate it"):
        to_announce(own_ledger, MAIL)
    monkeypatch.setattr(store, "RECEIVERS", (*receivers.RECEIVERS, MAIL))
    for _ in range(2):
        migrate(owner_url, app_role="podium", server_role="podium_server")
        assert to_announce(own_ledger, MAIL) == []
    # What comes is told, also of a model that was unknown then, and migrating skips nothing of it.
    new = [record(own_ledger, EventKind.PROMOTED, f"lifecycle/{model}", model) for model in ("toy", "other")]
    migrate(owner_url, app_role="podium", server_role="podium_server")
    assert asset.announce(MAIL) == [event.seq for event in new]


def test_a_cursor_never_goes_back_nor_ahead_of_the_record(own_ledger: Ledger, asset: Asset) -> None:
    first = record(own_ledger, EventKind.MOVED_OUTSIDE)
    second = record(own_ledger, EventKind.MOVED_OUTSIDE)
    with pytest.raises(PodiumError, match="cursor refused: there is no such event yet"):
        own_ledger.move_cursor(MOVED_OUTSIDE_ASSET.name, "toy", second.seq + 1)
    asset.announce(MOVED_OUTSIDE_ASSET)
    for _ in range(2):
        own_ledger.move_cursor(MOVED_OUTSIDE_ASSET.name, "toy", first.seq)
    assert to_announce(own_ledger, MOVED_OUTSIDE_ASSET) == []


@pytest.fixture
def announced(own_services: Services) -> Announced:
    """Announce as reconcile does, and name what the asset of moves outside was told."""
    asset = Asset(own_services.ledger)

    def tell(spec: ModelSpec) -> list[str]:
        told = asset.announce(MOVED_OUTSIDE_ASSET)
        return [str(event.event) for event in own_services.ledger.history(spec.name) if event.seq in told]

    return tell


@pytest.mark.parametrize("how", ["is away", "is gone with the process"])
def test_a_move_outside_is_announced_though_mlflow_fails_in_the_same_second(
    own_services: Services,
    toy_spec: ModelSpec,
    announced: Announced,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    promote_as_of(own_services, toy_spec, FIRST)
    move_by_hand(own_services, toy_spec, None)
    error = Outage("MLflow did not answer") if how == "is away" else Killed()

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "mirror", fails)
        with pytest.raises(type(error)):
            look(own_services, toy_spec)
    # The task is run again: there is nothing new, and it announces what is on record.
    assert look(own_services, toy_spec) is None
    assert announced(toy_spec) == ["moved_outside"]
    assert announced(toy_spec) == []


def test_a_renamed_model_is_said_to_be_renamed_and_is_announced(
    own_services: Services, toy_spec: ModelSpec, announced: Announced
) -> None:
    promote_as_of(own_services, toy_spec, FIRST)
    name = toy_spec.name
    raw(own_services.registry).rename_registered_model(name, f"{name}-old")
    found, errors = reconcile_all(own_services, [toy_spec])
    assert errors
    assert [event.reason for event in found] == [
        f"{name}: the registered model was renamed to {name}-old in MLflow; the ledger has 1 versions of it, "
        "outside Podium; promotions and rollbacks are frozen until that is settled"
    ]
    assert announced(toy_spec) == ["moved_outside"]
    raw(own_services.registry).rename_registered_model(f"{name}-old", name)
    assert look(own_services, toy_spec) is not None
    assert announced(toy_spec) == ["outside_move_reverted"]


def test_a_model_that_was_deleted_is_said_to_be(own_services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(own_services, toy_spec, FIRST)
    raw(own_services.registry).delete_registered_model(toy_spec.name)
    found, _ = reconcile_all(own_services, [toy_spec])
    assert "the registered model was deleted in MLflow" in found[0].reason


def test_an_outage_of_one_model_hides_no_other_models_alarm_and_loses_not_its_own(
    own_services: Services, toy_spec: ModelSpec, toy_file: ToyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load_spec(toy_file(name=f"{toy_spec.name}-other"))
    for spec in (toy_spec, other):
        promote_as_of(own_services, spec, FIRST)
        move_by_hand(own_services, spec, None)
    version = Registry.version

    def away(registry: Registry, model: str, number: int) -> object:
        # What mirroring asks first, and no comparison of a model that is there.
        if model == toy_spec.name and to_announce(own_services.ledger, MOVED_OUTSIDE_ASSET, model=model):
            raise Outage("MLflow did not answer")
        return version(registry, model, number)

    monkeypatch.setattr(Registry, "version", away)
    found, errors = reconcile_all(own_services, [toy_spec, other])
    assert [type(error) for error in errors] == [Outage]
    events = to_announce(own_services.ledger, MOVED_OUTSIDE_ASSET)
    assert (
        [event.model for event in events] == [event.model for event in found] == [toy_spec.name, other.name]
    )


def test_a_move_outside_that_is_reverted_at_once_is_announced_with_its_revert(
    own_services: Services, toy_spec: ModelSpec, toy_file: ToyFile, announced: Announced
) -> None:
    strict = load_spec(toy_file(name=toy_spec.name, champion_moved_outside="revert"))
    promote_as_of(own_services, strict, FIRST)
    move_by_hand(own_services, strict, None)
    look(own_services, strict)
    assert announced(strict) == ["moved_outside", "outside_move_reverted"]


def test_all_that_moves_the_champion_reaches_its_assets_once(
    own_services: Services, toy_spec: ModelSpec, later: Callable[[], None]
) -> None:
    ledger, asset = own_services.ledger, Asset(own_services.ledger)

    def announced(done: Event | None) -> None:
        """By the run that did it, and by reconcile beside it."""
        assert done is not None
        for receiver in RECEIVERS:
            asset.announce(receiver)
            asset.announce(receiver, done.model, done.run or "reconcile/1")
            asset.announce(receiver)

    announced(promote_as_of(own_services, toy_spec, FIRST))
    announced(promote_as_of(own_services, toy_spec, SECOND))
    for settlement in (Settlement.REVERT, Settlement.ACCEPT):
        move_by_hand(own_services, toy_spec, 1)
        announced(look(own_services, toy_spec))
        announced(ask(own_services, toy_spec, settlement, run=new_run()))
    announced(roll_back(own_services, toy_spec))
    later()
    for receiver in RECEIVERS:
        asset.announce(receiver)
    seqs = {str(event.event): event.seq for event in ledger.history(toy_spec.name)}
    moves = [event.seq for event in ledger.history(toy_spec.name) if event.event == "moved_outside"]
    promoted = [event.seq for event in ledger.history(toy_spec.name) if event.event == "promoted"]
    reverted, accepted = seqs["outside_move_reverted"], seqs["outside_move_accepted"]
    assert asset.told[CHAMPION_ASSET.name] == [*promoted, reverted, accepted, seqs["rolled_back"]]
    assert asset.told[MOVED_OUTSIDE_ASSET.name] == [moves[0], reverted, moves[1], accepted]
