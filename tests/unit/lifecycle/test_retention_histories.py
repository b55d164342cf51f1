"""Random histories of versions: no version that something protects ever loses a file or its entry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.ledger import history
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.history import Present
from podium.lifecycle.custody_rules import use_problem
from podium.registry.client import Version
from support.retention_world import FILES, MODEL, OTHER, Killed, World, patched

BY_HAND = ("alias", "no alias", "copy", "serve")
REGISTERED = ("register", "share", "twin")
SAID = ("promote", "roll back", "hold", "release", "restore", "ask", "decide")
PICKS = st.integers(0, 30)


def register(world: World, how: str, pick: int) -> None:
    number = len(world.digests) + 1
    one_of = pick % number or number
    shares = how == "share" and (MODEL, one_of) in world.versions and not world.began(one_of)
    place = world.place(one_of) if shares else f"m-{number}"
    world.files.setdefault(place, set(FILES))
    if world.files[place] != FILES:
        return
    run = world.versions[MODEL, one_of].run_id if shares else f"run-{number}"
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


OPS = st.tuples(st.sampled_from((*BY_HAND, *SAID, *REGISTERED, *("register",) * 4)), PICKS)
RUN = st.tuples(
    st.none() | st.integers(1, 120),
    st.integers(1, 50),
    st.sampled_from((*BY_HAND, "alias", "nothing")),
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
            world.now += timedelta(days=days)
            if run is not None:
                let_run(world, *run)
                world.assert_whole()
        world.run()
        again = world.run()
        world.assert_whole()
    assert (again.quarantined, again.deleted, again.failed, again.damages) == ([], [], [], [])
    referred = {world.place(number) for model, number in world.versions if model == MODEL}
    referred |= {world.place(n) for n in world.digests if f"models:/{MODEL}/{n}" in copies(world)}
    left = {place for place, files in world.files.items() if files}
    assert left <= referred, "files are left that no version needs"


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
        world.kill_at, world.happens, world.sure = None, None, False
