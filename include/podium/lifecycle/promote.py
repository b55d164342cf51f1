"""Promote: the approved version becomes champion, if nothing changed since it was approved."""

from __future__ import annotations

from datetime import UTC, datetime

from podium.errors import DecisionVoid, FrozenByWatch, ProfileOnly
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle import approval
from podium.lifecycle.champion import (
    Move,
    begin,
    compare,
    done_before,
    refusals_on_record,
    swap,
    swapped_before,
)
from podium.lifecycle.custody_rules import refuse_damaged, refuse_out_of_use, refuse_retired
from podium.lifecycle.profile_rules import promotion_problem
from podium.lifecycle.ramped import last_moment
from podium.lifecycle.watched import WATCH, Terms
from podium.names import in_utc, version_name
from podium.services import Services
from podium.versions import check_bytes


def promote(
    services: Services, model: str, run: str, terms: Terms | None = None, *, ramped: bool = False
) -> Event:
    """Make the version that a run's decision approved the champion.

    Args:
        services: The registry and the ledger. The decision on record counts, not the state of any task: it
            names the version, and the champion that the approver compared with.
        model: The registered model.
        run: The Airflow run, as ``dag_id/run_id``.
        terms: How the new champion is watched; None: it is not.
        ramped: Whether the model file asks for a ramp before.

    Returns:
        The ``promoted`` event; on a re-run, the first one.

    Raises:
        NotApproved: There is no decision of this run on record.
        Refused: The decision was no approval.
        NothingToDo: The version is the champion already, or this run made it so and it was moved since.
        DecisionVoid: The decision is too old, what it was about has changed since, or its ramp did not end
            well.
        ChampionChanged: The champion is not the one that the approver saw.
        Frozen: The champion was moved outside Podium.
        FrozenByWatch: A watch window ended badly, and nobody has settled that.
        BytesChanged: The version's files are not those that were registered.
        OutOfUse: The version is in quarantine, or retention deleted it.
        Retired: The model was ended.
        Damaged: A deletion changed files that had to stay.
        ProfileOnly: The version was trained in a profile, and the registry is none that is thrown away.
        Outage: A part did not answer; run it again.

    What is refused has moved nothing. After an Outage the champion may have moved: run the same call again.
    """
    decision = approval.find_approval(services, model, run)
    intent = NewEvent(
        event=EventKind.PROMOTION_STARTED,
        model=model,
        version=decision.version,
        from_version=decision.from_version,
        actor=decision.actor,
        reason=decision.reason,
        run=run,
        details={"decision": decision.seq, **({} if terms is None else {WATCH: terms.as_json()})},
    )
    with services.ledger.lock(model) as lock:
        events = services.ledger.present(model, decision.version, decision.from_version, run=run)
        if done := done_before(services, events, EventKind.PROMOTED, run):
            return done
        move = begin(services, lock, events, intent, EventKind.PROMOTED)
        with refusals_on_record(services, intent):
            compare(move)
            _refuse_profile(move)
            _refuse_by_retention(move)
            _refuse_frozen_by_watch(move)
            _assert_holds(move, decision, ramped=ramped)
            check_bytes(services, events, model, move.target)
        return swap(move)


def _assert_holds(move: Move, decision: Event, *, ramped: bool) -> None:
    """Refuse a decision that is too old, or about something that has changed since."""
    name = f"{move.intent.model} {version_name(move.target)}"
    request = approval.find_request(move.services, str(decision.run))
    changed = approval.changes_since(request, move.events, move.live)
    # Once the alias has moved, the champion is another one, and gates that run again compare with itself.
    if changed and not swapped_before(move):
        raise DecisionVoid(
            f"{name}: the approval by {decision.actor} is void, since {'; '.join(changed)}. Nothing was "
            "moved. Run the lifecycle again."
        )
    valid_until = last_moment(move.events, decision, ramped=ramped)
    if datetime.now(UTC) > valid_until:
        raise DecisionVoid(
            f"{name}: the approval by {decision.actor} was valid until {in_utc(valid_until)}. "
            "Nothing was moved. Run the lifecycle again."
        )


def _refuse_frozen_by_watch(move: Move) -> None:
    """Refuse while nobody has looked at why a watch window ended badly."""
    frozen = history.watch_freeze(move.events)
    if frozen is not None and not swapped_before(move):
        raise FrozenByWatch(move.intent.model, frozen.reason, in_utc(frozen.at))


def _refuse_by_retention(move: Move) -> None:
    """Refuse a version in quarantine, an ended model, and one whose files were damaged."""
    refuse_out_of_use(move.events, move.target)
    if not swapped_before(move):
        refuse_retired(move.events)
        refuse_damaged(move.events)


def _refuse_profile(move: Move) -> None:
    """Refuse a version of a profile, whoever approved it."""
    if problem := promotion_problem(move.events, move.target):
        raise ProfileOnly(problem)
