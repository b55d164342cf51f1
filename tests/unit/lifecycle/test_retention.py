"""Retention on the real registry code and a real ledger: what goes, and what stays."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from podium.errors import (
    CannotRollBack,
    Damaged,
    NotFound,
    NothingToDo,
    OutOfUse,
    PodiumError,
    Retired,
)
from podium.ledger import custody
from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle import custody_rules, retention, retention_look, rollback
from podium.lifecycle import promote as promote_module
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.holding import Ending, Keeping, ending_request, keeping_request, say
from podium.lifecycle.retention import Done, run_retention
from podium.lifecycle.retention_rules import Action
from podium.lifecycle.settle import Settlement, settle, settle_request
from podium.lifecycle.train import train
from podium.lifecycle.verify import all_differences
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.registry.disposal import Disposal
from podium.scoring.pinned_version import pin
from podium.services import Services
from podium.serving.follower import Follower
from podium.serving.loaded_version import ServedTarget, check_may_serve
from podium.serving.settings import ServingSettings
from podium.serving.trial import LiveTrial
from support.mlflow_client import raw
from support.retained import RULES, add_version, crown, disposal, later, loads, run_of
from support.steps import FIRST, asked_now, new_run
from support.store import changed_bytes, stored_files

AMY = Person("amy")


def go(services: Services, model: str, **options: object) -> Done:
    return run_retention(services, disposal(services), model, RULES, new_run(), **options)  # type: ignore[arg-type]


def tell(services: Services, spec: ModelSpec, keeping: Keeping, number: int) -> None:
    request = keeping_request(spec, keeping, number, asks=AMY, reason="the court asks", run=new_run())
    say(services, request)


@pytest.fixture
def model(services: Services, toy_spec: ModelSpec) -> str:
    """Five versions: v2 is champion, v1 was; v5 is the newest; nothing keeps v3 and v4."""
    name = toy_spec.name
    for _ in range(5):
        add_version(services, name)
    crown(services, name, 1)
    crown(services, name, 2, 1)
    return name


def test_what_nothing_keeps_waits_in_quarantine_and_is_deleted_with_its_files_then(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = go(services, model)
    assert (first.quarantined, first.deleted) == ([3, 4], [])
    assert first.seen.startswith("5 versions, ")
    assert "3 kept, 2 to quarantine; 1 as former champions" in first.seen
    assert all(loads(services, model, number) for number in range(1, 6))
    assert "is in quarantine since" in services.registry.version(model, 3).tags[Tag.RETENTION]
    assert (go(services, model).quarantined, go(services, model).deleted) == ([], [])
    run_id, stored = run_of(services, model, 3), stored_files(services, model, 3)
    monkeypatch.setattr(custody, "now", later(15))
    last = go(services, model)
    assert (last.deleted, last.checked, last.damages, last.failed) == ([3, 4], 3, [], [])
    assert not [path for path in stored.rglob("*") if path.is_file()]
    assert services.registry.find_version(model, 3) is None
    assert [loads(services, model, number) for number in (1, 2, 5)] == [True] * 3
    assert Tag.INPUTS_DIGEST not in raw(services.registry).get_run(run_id).data.tags
    again = go(services, model)
    assert (again.quarantined, again.deleted, again.checked) == ([], [], 0)
    # Other tests share this registry.
    assert not [said for said in all_differences(services, [model]) if model in said]


def test_every_door_is_shut_for_a_version_in_quarantine_until_it_is_restored(
    services: Services, toy_spec: ModelSpec, model: str
) -> None:
    go(services, model)
    services.ledger.append(NewEvent(EventKind.PROMOTED, model, 3, 1, actor="of old"))
    services.ledger.append(NewEvent(EventKind.PROMOTED, model, 2, 3, actor="of old"))
    asks = rollback.rollback_request(model, 3, asks=AMY, reason="back to it", run=new_run())
    with pytest.raises(CannotRollBack, match=r"v3 is in quarantine since .*`podium restore .* 3 --reason"):
        rollback.rollback(services, asks, asked_now())
    with pytest.raises(OutOfUse, match="v3 is in quarantine since"):
        pin(services, model, "3")
    tell(services, toy_spec, Keeping.RESTORE, 3)
    assert pin(services, model, "3").version == 3
    assert Tag.RETENTION not in services.registry.version(model, 3).tags
    with pytest.raises(NothingToDo, match="v3 is not in quarantine"):
        tell(services, toy_spec, Keeping.RESTORE, 3)


def test_a_deleted_version_is_named_with_its_digest_by_whoever_asks_for_it(
    services: Services, toy_spec: ModelSpec, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(services, model)
    monkeypatch.setattr(custody, "now", later(15))
    go(services, model)
    record = next(one for one in custody.versions_on_record(services.ledger, model) if one.number == 3)
    sentence = f"v3 was deleted on .* by podium retention; its files had the digest {record.digest[:12]}"
    for keeping in Keeping:
        with pytest.raises(OutOfUse, match=sentence):
            tell(services, toy_spec, keeping, 3)
    with pytest.raises(OutOfUse, match=sentence):
        pin(services, model, "3")
    request = rollback.rollback_request(model, 3, asks=AMY, reason="back", run=new_run())
    with pytest.raises(CannotRollBack, match=sentence):
        rollback.rollback(services, request, asked_now())


def test_a_hold_keeps_a_version_also_in_quarantine(
    services: Services, toy_spec: ModelSpec, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(services, toy_spec, Keeping.HOLD, 3)
    assert go(services, model).quarantined == [4]
    tell(services, toy_spec, Keeping.HOLD, 4)
    monkeypatch.setattr(custody, "now", later(15))
    assert "2 kept by hold" in go(services, model).seen
    assert loads(services, model, 4)
    tell(services, toy_spec, Keeping.RELEASE, 4)
    assert go(services, model).deleted == [4]
    with pytest.raises(NotFound, match="v9 is not on record; the newest is v5"):
        tell(services, toy_spec, Keeping.HOLD, 9)
    with pytest.raises(NothingToDo, match="v3 is held already, by amy: the court asks"):
        tell(services, toy_spec, Keeping.HOLD, 3)
    with pytest.raises(PodiumError, match="olga is not an approver"):
        keeping_request(toy_spec, Keeping.HOLD, 3, asks=Person("olga"), reason="for olga", run="r")


def test_an_alias_that_is_moved_while_it_runs_wins(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(services, model)
    monkeypatch.setattr(custody, "now", later(15))
    asked = retention.sharers

    def moved(services: Services, name: str, number: int) -> set[int]:
        if number == 4:
            services.registry.set_alias(name, Alias.SMOKE, 4)
        return asked(services, name, number)

    monkeypatch.setattr(retention, "sharers", moved)
    done = go(services, model)
    assert done.deleted == [3]
    assert done.kept_meanwhile == ["v4 stays: it has the alias smoke"]
    assert loads(services, model, 4)


def test_files_that_another_version_needs_stay(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = add_version(services, model, of=run_of(services, model, 3))
    verdict = retention_look.look(services, model, RULES).of(3)
    assert verdict is not None
    assert str(verdict) == f"v3 stays: it has the same files as v{shares}"
    raw(services.registry).create_registered_model(f"{model}-copy")
    raw(services.registry).copy_model_version(f"models:/{model}/4", f"{model}-copy")
    verdict = retention_look.look(services, model, RULES).of(4)
    assert verdict is not None
    assert str(verdict) == f"v4 stays: it has the same files as {model}-copy v1"
    # Nothing keeps either of the two: the first goes without its files, the second takes them along.
    services.ledger.append(NewEvent(EventKind.QUARANTINED, model, shares))
    services.ledger.append(NewEvent(EventKind.QUARANTINED, model, 3))
    add_version(services, model)
    monkeypatch.setattr(custody, "now", later(15))
    stored = stored_files(services, model, 3)
    assert go(services, model).deleted == [3, shares]
    assert not [path for path in stored.rglob("*") if path.is_file()]
    assert loads(services, model, 4)


def test_what_a_run_that_was_killed_began_the_next_one_ends(
    services: Services, toy_spec: ModelSpec, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(services, model)
    monkeypatch.setattr(custody, "now", later(15))
    with monkeypatch.context() as killed:
        killed.setattr(Disposal, "delete_version", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            go(services, model)
    with pytest.raises(OutOfUse, match="v3 is being deleted since"):
        tell(services, toy_spec, Keeping.RESTORE, 3)
    with monkeypatch.context() as killed:
        killed.setattr(retention, "_look_at_what_stays", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            go(services, model)
    again = go(services, model)
    assert (again.deleted, again.checked) == ([], 3), "v3 and v4 are gone, and nobody looked at what stays"
    assert go(services, model).checked == 0


def test_a_store_that_deletes_nothing_leaves_the_version_whole_and_is_named(
    services: Services, toy_spec: ModelSpec, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(services, model)
    monkeypatch.setattr(custody, "now", later(15))
    with monkeypatch.context() as refuses:
        refuses.setattr(Disposal, "delete_files", lambda *_: None)
        done = go(services, model)
    assert done.deleted == []
    assert done.failed[0].endswith(
        "v3 was not deleted: the store did not delete 2 of its files: data/MLmodel, model.skops; "
        "it stays whole, in quarantine"
    )
    tell(services, toy_spec, Keeping.RESTORE, 3)
    assert go(services, model).deleted == [4]


def test_damage_to_what_stays_freezes_the_model_until_its_files_are_back(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(services, model)
    monkeypatch.setattr(custody, "now", later(15))
    with changed_bytes(stored_files(services, model, 1), "missing"):
        done = go(services, model)
        assert len(done.damages) == 1
        assert "v1 is not what was registered" in done.damages[0]
        with pytest.raises(Damaged):
            custody_rules.refuse_damaged(services.ledger.present(model))
        for _ in range(2):
            with pytest.raises(
                Damaged, match=r"nothing moves since .* v1 is not what was registered: .* is missing"
            ):
                go(services, model)
    add_version(services, model)
    assert go(services, model).quarantined == [5]


def test_an_ended_model_keeps_its_versions_for_its_days_of_grace_and_then_only_what_is_held(
    services: Services, toy_spec: ModelSpec, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(services, toy_spec, Keeping.HOLD, 1)
    ended = ending_request(toy_spec, Ending.RETIRE, asks=AMY, reason="nobody needs it", run=new_run())
    say(services, ended)
    with pytest.raises(Retired, match="was retired on .* by amy: nobody needs it"):
        pin(services, model, "champion")
    assert services.registry.labels(model).tags[Tag.RETIRED].endswith("by amy: nobody needs it")
    assert go(services, model).quarantined == []
    undo = ending_request(toy_spec, Ending.UNDO, asks=AMY, reason="they do need it", run=new_run())
    say(services, undo)
    assert pin(services, model, "champion").version == 2
    assert services.registry.labels(model).tags[Tag.RETIRED] == ""
    with pytest.raises(NothingToDo, match="is not retired"):
        say(
            services,
            ending_request(toy_spec, Ending.UNDO, asks=AMY, reason="they need it once more", run=new_run()),
        )
    say(
        services,
        ending_request(toy_spec, Ending.RETIRE, asks=AMY, reason="now it ends for good", run=new_run()),
    )
    monkeypatch.setattr(custody, "now", later(91))
    seen = retention_look.look(services, model, RULES)
    assert {one.number for one in seen.verdicts if one.action is Action.KEEP} == {1}


def test_a_quarantined_version_that_was_approved_is_not_promoted(
    services: Services, toy_spec: ModelSpec, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = services.ledger.append(
        NewEvent(
            EventKind.APPROVED,
            model,
            3,
            2,
            run="lifecycle_toy/r",
            details={"valid_until": "2999-01-01T00:00:00+00:00"},
        )
    )
    services.ledger.append(NewEvent(EventKind.QUARANTINED, model, 3))
    monkeypatch.setattr(promote_module.approval, "find_approval", lambda *_: decision)
    with pytest.raises(OutOfUse, match="v3 is in quarantine"):
        promote_module.promote(services, model, "lifecycle_toy/r")
    assert services.registry.champion(model) == 2


def test_a_move_outside_to_a_version_in_quarantine_is_not_accepted(
    services: Services, toy_spec: ModelSpec, model: str
) -> None:
    go(services, model)
    services.registry.set_alias(model, Alias.CHAMPION, 3)
    services.ledger.append(NewEvent(EventKind.MOVED_OUTSIDE, model, 3, 2))

    def accept() -> Event:
        said = {"asks": AMY, "reason": "it is what we want", "run": new_run()}
        return settle(services, toy_spec, settle_request(toy_spec, Settlement.ACCEPT, **said), asked_now())

    with pytest.raises(OutOfUse, match=r"v3 is in quarantine since .*`podium restore .* 3 --reason"):
        accept()
    assert services.ledger.history(model)[-1].event is EventKind.SETTLEMENT_REFUSED
    tell(services, toy_spec, Keeping.RESTORE, 3)
    accepted = accept()
    assert (accepted.event, accepted.version) == (EventKind.OUTSIDE_MOVE_ACCEPTED, 3)


@pytest.mark.parametrize("followed", ["v3", Alias.CANDIDATE])
def test_no_server_loads_a_version_in_quarantine_beside_the_champion(
    services: Services, model: str, followed: str
) -> None:
    """Neither as the shadow that ``--shadow v3`` names, nor as the candidate of a canary."""
    go(services, model)
    services.registry.set_alias(model, Alias.CANDIDATE, 3)
    settings = ServingSettings(
        models=(model,), shadow=followed, canary=10.0 if followed == Alias.CANDIDATE else 0.0
    )
    trial = LiveTrial(services, settings, model, lambda: "")
    for follower in (trial._shadowed, trial._canary):
        if follower is not None:
            follower.follow_once()
    said = trial.as_json()
    for beside in said.values():
        assert beside["version"] is None
        assert "v3 is in quarantine since" in beside["problem"]
    assert set(said) == ({"shadow"} if followed == "v3" else {"shadow", "canary"})


def test_servers_and_runs_know_that_a_model_was_retired(
    services: Services, toy_spec: ModelSpec, model: str
) -> None:
    follower = Follower(services, ServedTarget(model, Alias.CHAMPION, None), 10)
    follower.current = SimpleNamespace(number=2)  # type: ignore[assignment]
    say(services, ending_request(toy_spec, Ending.RETIRE, asks=AMY, reason="nobody needs it", run=new_run()))
    follower.follow_once()
    assert follower.problem.endswith("by amy: nobody needs it")
    assert follower.current is not None
    form = {"mlflow_run": None, "version": None, "profile": None, "params": {}}
    with pytest.raises(Retired, match="nobody needs it"):
        train(services, toy_spec, FIRST, form, new_run(), started_again=False)
    with pytest.raises(Retired, match="nobody needs it"):
        check_may_serve(services.ledger.present(model, 2), 2, ServedTarget(model, Alias.CHAMPION, None))


@pytest.mark.parametrize(
    ("entered", "details"),
    [(EventKind.ADOPTED, {}), (EventKind.REGISTERED, {"podium.copied_from": "http://dev"})],
)
def test_a_version_that_was_adopted_or_copied_here_stays_until_it_was_judged_once(
    services: Services, model: str, entered: EventKind, details: dict[str, str]
) -> None:
    brought = add_version(services, model, entered=entered, **details)
    add_version(services, model)
    assert brought not in go(services, model).quarantined
    verdict = retention_look.look(services, model, RULES).of(brought)
    assert str(verdict) == f"v{brought} stays: it was brought here and not judged yet"
    services.ledger.append(
        NewEvent(EventKind.GATES_REFUSED, model, brought, run="r", details={"digest": "d"})
    )
    assert go(services, model).quarantined == [brought]


def test_a_version_whose_run_was_deleted_softly_goes_and_the_restored_run_is_not_trained_of(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, client = run_of(services, model, 3), raw(services.registry)
    inputs = services.registry.run(run).tags[Tag.INPUTS_DIGEST]
    client.delete_run(run)
    go(services, model)
    monkeypatch.setattr(custody, "now", later(15))
    done = go(services, model)
    assert (done.deleted, done.failed) == ([3, 4], [])
    assert client.get_run(run).info.lifecycle_stage == "deleted", "it stays as somebody left it"
    client.restore_run(run)
    assert services.registry.finished_run(services.registry.ensure_experiment(model), inputs) is None
