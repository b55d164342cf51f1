"""What follows from the verdict on a watch window: a rollback by itself, or people are asked about one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from podium.errors import CannotRollBack, Outage, PodiumError
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import VERDICT, WATCH_ACTOR
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.champion import refusals_on_record
from podium.monitoring.watch_propose import (
    frozen_if_refused,
    overtaken,
    owed_proposals,
    roll_back_as_judged,
    run_of,
    void_overtaken,
)
from podium.monitoring.watch_record import ended_windows, has_verdict, judge_window, open_windows
from podium.monitoring.watching import Ending
from podium.names import version_name
from podium.services import Services

log = logging.getLogger(__name__)

# Rollbacks of a model by itself in any seven days.
AT_MOST_A_WEEK = 2
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Acted:
    """What came of one look at all watch windows.

    Attributes:
        told: What happened, a sentence each.
        rolled_back: Model and run of each rollback.
        proposed: The runs that are to ask people about a rollback, and do not yet.
        closed: The runs whose question somebody else's move has answered.
        still_open: How many windows are open still.
    """

    told: list[str]
    rolled_back: list[tuple[str, str]]
    proposed: list[str]
    closed: list[str]
    still_open: int


def act(services: Services) -> Acted:
    """Record the verdicts that there are, roll back where they say so, and name what people are to be asked.

    Safe to repeat. What is wrong with one model holds up no other.

    Raises:
        Outage: A part did not answer; run it again.
    """
    ledger, told = services.ledger, list[str]()
    models, back, closed = ledger.models(), [], []
    for window in ended_windows(ledger, models):
        with _its_own_problem(told):
            if (judged := judge_window(services, window.model)) is not None:
                told.append(f"{judged.model} {version_name(judged.version)}: {judged.reason}")
    for verdict in owed_rollbacks(ledger, models):
        with _its_own_problem(told):
            moved = roll_back(services, verdict)
            was, now = version_name(verdict.version), version_name(moved.version)
            told.append(f"{moved.model} {was} was rolled back to {now}")
            back.append((moved.model, str(moved.run)))
    for request, champion in overtaken(ledger, models):
        with _its_own_problem(told):
            decision = void_overtaken(services, request, champion)
            told.append(approval.describe_decision(decision))
            closed.append(str(decision.run))
    asked = owed_proposals(services, models)
    told += [
        f"{verdict.model}: people are asked whether to roll back {version_name(verdict.version)} to "
        f"{version_name(verdict.from_version)}"
        for verdict in asked
    ]
    still_open = len(open_windows(ledger, models))
    return Acted(told, back, [run_of(verdict) for verdict in asked], closed, still_open)


@contextmanager
def _its_own_problem(told: list[str]) -> Iterator[None]:
    """Tell what is wrong with one model, and go on with the others; an outage concerns all."""
    try:
        yield
    except Outage:
        raise
    except PodiumError as error:
        log.error("%s", error)
        told.append(str(error))


def is_due(services: Services, asking: Collection[str] = ()) -> bool:
    """Whether ``act`` would do something, or no window is open any more; changes nothing.

    Args:
        services: The ledger, and the folder of the model files.
        asking: Runs that were started to ask people about a rollback, and do not yet.

    Raises:
        Outage: The ledger did not answer.
    """
    ledger = services.ledger
    models = ledger.models()
    windows = open_windows(ledger, models)
    return (
        not windows
        or any(has_verdict(ledger, window) for window in windows)
        or bool(owed_rollbacks(ledger, models))
        or any(run_of(verdict) not in asking for verdict in owed_proposals(services, models))
        or bool(overtaken(ledger, models))
    )


def owed_rollbacks(ledger: Ledger, models: Sequence[str]) -> list[Event]:
    """Return the verdicts from which a rollback is to follow that is neither done nor refused.

    Raises:
        Outage: The ledger did not answer.
    """
    verdicts = [found[-1] for found in ledger.newest(models, [EventKind.WATCH_JUDGED]).values() if found]
    return [verdict for verdict in verdicts if _is_owed(ledger, verdict)]


def roll_back(services: Services, verdict: Event) -> Event:
    """Roll back by the same steps as for a person: proof first, compare and swap, on record.

    Where it is refused the model is frozen: neither of the two versions is good.

    Args:
        services: The registry and the ledger.
        verdict: The event ``watch_judged``.

    Returns:
        The ``rolled_back`` event; on a re-run, the first one.

    Raises:
        CannotRollBack: There were too many in a week, or the version to go back to fails its proof.
        ChampionChanged: The champion was moved since the verdict.
        Outage: A part did not answer; run it again.
    """
    request = NewEvent(
        event=EventKind.ROLLBACK_STARTED,
        model=verdict.model,
        version=verdict.from_version,
        actor=verdict.actor,
        reason=verdict.reason,
        run=verdict.run,
        details={VERDICT: verdict.seq},
    )
    with frozen_if_refused(services, verdict):
        with refusals_on_record(services, request):
            _refuse_too_many(services.ledger, verdict.model)
        return roll_back_as_judged(services, request, verdict)


def _is_owed(ledger: Ledger, verdict: Event) -> bool:
    wanted = verdict.details.get("said") == Ending.BAD and verdict.details.get("auto_rollback") == "on"
    if not wanted or history.champion(ledger.present(verdict.model)) != verdict.version:
        return False
    done = (EventKind.ROLLED_BACK, EventKind.ROLLBACK_REFUSED)
    return not any(event.event in done for event in ledger.of_run(verdict.model, str(verdict.run)))


def _refuse_too_many(ledger: Ledger, model: str) -> None:
    """Refuse a third rollback by itself within a week.

    Raises:
        CannotRollBack: There were two.
    """
    since = ledger.now() - _WEEK
    moves = ledger.newest([model], [EventKind.ROLLED_BACK], each=20)[model]
    of_week = [move for move in moves if move.at > since and move.actor.startswith(WATCH_ACTOR)]
    if len(of_week) >= AT_MOST_A_WEEK:
        back = " and ".join(version_name(move.from_version) for move in of_week)
        raise CannotRollBack(
            f"{model}: {back} were rolled back by their watch windows within seven days; the next rollback "
            "is a person's: see why versions that pass their gates are worse, and run `podium rollback`"
        )
