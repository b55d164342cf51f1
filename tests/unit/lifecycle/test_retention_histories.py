"""Random histories of versions: no version that something protects ever loses a file or its entry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import Present
from podium.lifecycle.custody_rules import use_problem
from podium.registry.client import Version
from podium.registry.leftovers import LoggedModel
from support.retention_world import FILES, LONGEST_RUN, MODEL, OTHER, Killed, Logged, World, patched

BY_HAND = ("alias", "no alias", "copy", "serve")
REGISTERED = ("register", "share", "twin")
OF_RUNS = ("log", "log half", "register logged", "take again", "unmark", "delete run", "restore run")
SAID = ("promote", "roll back", "hold", "release", "restore", "ask", "decide")
PICKS = st.integers(0, 30)
# More than any clock was set back.
FAR = 60


def register(world: World, how: str, pick: int, logged: Logged | None = None) -> None:
    number = len(world.digests) + 1
    one_of = pick % number or number
    shares = how == "share" and (MODEL, one_of) in world.versions and not world.began(one_of)
    place = world.place(one_of) if shares else f"m-{number}"
    run = world.versions[MODEL, one_of].run_id if shares else f"run-{number}"
    if logged is not None:
        place, run = logged.model.place, logged.model.run_id
        assert world.files[place] == FILES, f"{place} is registered, and has lost files"
    world.files.setdefault(place, set(FILES))
    if world.files[place] != FILES:
        return
    twin = (how == "twin" and one_of in world.digests) or shares
    world.digests[number] = world.digests[one_of] if twin else f"digest-{number}"
    details = {"run": run, "place": place}
    event = NewEvent(EventKind.REGISTERED, MODEL, number, key=f"registered:{number}", details=details)
    world.append(event)
    world.versions[MODEL, number] = Version(
        MODEL, number, run, True, {}, world.now, source=f"models:/{place}"
    )


def usable(world: World, number: int) -> bool:
    seen = Present(world.events, [number], 10**9)
    return (MODEL, number) in world.versions and not use_problem(seen, number)


def do(world: World, what: str, pick: int) -> None:
    """Do one thing, if Podium or MLflow would let one do it."""
    if what in REGISTERED:
        register(world, what, pick)
        return
    if what in OF_RUNS:
        of_runs(world, what, pick)
        return
    if not world.digests:
        return
    number = pick % len(world.digests) + 1
    is_there = (MODEL, number) in world.versions
    if what in BY_HAND and is_there and not world.began(number):
        by_hand(world, what, number)
    elif what == "no alias":
        world.aliases.pop("theirs", None)
    elif what in SAID:
        by_podium(world, what, number)


def of_runs(world: World, what: str, pick: int) -> None:
    """Let a run log a model, and let somebody do something with one that was logged."""
    if what.startswith("log"):
        run = f"logged-{len(world.logged)}"
        logged = LoggedModel(f"m-{run}", run, world.now, whole=what == "log")
        world.logged[run] = Logged(logged, world.day, trained=logged.whole)
        world.files[logged.place] = set(FILES)
        return
    if not world.logged:
        return
    run = list(world.logged)[pick % len(world.logged)]
    one = world.logged[run]
    if what == "register logged" and not world.locked and one.trained and run not in world.registered():
        # Whoever registers it took it before, and holds the lock now.
        if world.day - one.taken < LONGEST_RUN:
            register(world, "logged", pick, one)
    elif what == "take again" and one.trained and not one.mark and not one.deleted:
        one.taken = world.day
    elif what == "unmark" and not one.deleted:
        one.mark = ""
    elif what in ("delete run", "restore run"):
        one.deleted = what == "delete run"


def by_hand(world: World, what: str, number: int) -> None:
    if what == "alias":
        world.aliases["theirs"] = number
    elif what == "serve":
        world.served = {number} if usable(world, number) else set()
    elif what == "copy":
        source = world.versions[MODEL, number]
        of = len(world.versions) + 1000
        place = f"models:/{MODEL}/{number}"
        world.versions[OTHER, of] = Version(OTHER, of, source.run_id, True, {}, world.now, source=place)


def by_podium(world: World, what: str, number: int) -> None:
    seen = Present(world.events, [number], 10**9)
    held, kept = history.hold(seen, number), history.custody(seen, number)
    champion, former = history.champion(seen), history.former_champions(seen)
    if what == "promote" and usable(world, number) and number != champion:
        world.append(NewEvent(EventKind.PROMOTED, MODEL, number, champion))
        world.aliases["champion"] = number
    elif what == "roll back" and former and usable(world, former[0]):
        world.append(NewEvent(EventKind.ROLLED_BACK, MODEL, former[0], champion))
        world.aliases["champion"] = former[0]
    elif what == "hold" and not held and not world.began(number):
        world.append(NewEvent(EventKind.HELD, MODEL, number, actor="amy", reason="a court"))
    elif what == "release" and held:
        world.append(NewEvent(EventKind.HOLD_RELEASED, MODEL, number, actor="amy"))
    elif what == "restore" and kept and kept.event in (EventKind.QUARANTINED, EventKind.DELETION_FAILED):
        world.append(NewEvent(EventKind.RESTORED, MODEL, number, actor="amy"))
    elif what == "ask" and usable(world, number):
        world.waiting.add(number)
    elif what == "decide":
        world.waiting.discard(number)


OPS = st.tuples(st.sampled_from((*BY_HAND, *SAID, *REGISTERED, *OF_RUNS, *("register", "log") * 3)), PICKS)
RUN = st.tuples(
    st.none() | st.integers(1, 150),
    st.integers(1, 80),
    st.sampled_from((*BY_HAND, *OF_RUNS, "alias", "nothing")),
    PICKS,
)
# What people do, how many days go by, back too, and a run of retention.
ROUNDS = st.lists(
    st.tuples(st.lists(OPS, max_size=5), st.integers(-3, 6), RUN | st.none()), min_size=3, max_size=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(rounds=ROUNDS)
def test_nothing_that_is_protected_is_ever_harmed_and_a_second_run_finds_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, rounds: list[Any]
) -> None:
    world = World()
    with patched(monkeypatch, world):
        for _ in range(4):
            do(world, "register", 0)
        for done, days, run in rounds:
            for what, pick in done:
                do(world, what, pick)
                world.assert_whole()
            pass_days(world, days)
            if run is not None:
                let_run(world, *run)
                world.assert_whole()
        world.run()
        reports = len(world.history(MODEL, [EventKind.ORPHANS_REPORTED]))
        again = world.run()
        world.assert_whole()
        assert (world.swept.deleted, world.swept.failed) == ([], [])
        assert len(world.history(MODEL, [EventKind.ORPHANS_REPORTED])) == reports
    assert (again.quarantined, again.deleted, again.failed, again.damages) == ([], [], [], [])
    referred = {world.place(number) for model, number in world.versions if model == MODEL}
    referred |= {world.place(n) for n in world.digests if f"models:/{MODEL}/{n}" in copies(world)}
    loose = {one.model.place for run, one in world.logged.items() if run not in world.registered()}
    left = {place for place, files in world.files.items() if files}
    assert left <= referred | loose, "files are left that no version needs"
    # Whatever happened, also to the clock: models that no version names go after a report and the wait.
    with patched(monkeypatch, world):
        for _ in range(3):
            pass_days(world, FAR)
            world.run()
            world.assert_whole()
    kept = {one.model.place for one in world.logged.values() if one.deleted}
    left = {place for place in world.files if place in loose}
    assert left <= kept, "models are left that no version names"
    for event in world.events:
        if event.event is EventKind.ORPHAN_DELETED:
            assert was_reported(world, event), "it was deleted, and no run before named it"


def was_reported(world: World, deleted: Event) -> bool:
    place = deleted.details["model_id"]
    reports = [event for event in world.events if event.event is EventKind.ORPHANS_REPORTED]
    return any(place in event.details["orphans"] and event.run != deleted.run for event in reports)


def pass_days(world: World, days: int) -> None:
    """Let days go by; the clock may be set back instead."""
    world.now += timedelta(days=days)
    world.day += max(days, 0)


def copies(world: World) -> set[str]:
    return {one.source for one in world.versions.values() if one.model == OTHER}


def let_run(world: World, kill_at: int | None, happens_at: int, happens: str, pick: int) -> None:
    """Run retention, killed after some steps, while somebody does something in MLflow."""
    world.asked, world.kill_at, world.happens_at = 0, kill_at, happens_at
    world.happens = None if happens == "nothing" else lambda seen: do(seen, happens, pick)
    try:
        world.run()
    except Killed:
        pass
    finally:
        world.kill_at, world.happens, world.sure, world.last_look = None, None, False, False
