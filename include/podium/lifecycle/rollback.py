"""Roll back: a former champion serves again, after proof that it can."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from podium.errors import (
    BytesChanged,
    CannotRollBack,
    ChampionChanged,
    NotFound,
    NothingToDo,
    Outage,
    PodiumError,
)
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import Present
from podium.lifecycle.approval_policy import Person, may_decide, reason_problem, who_may_decide
from podium.lifecycle.asked import Asked, asking_problem, refused_before
from podium.lifecycle.champion import (
    begin,
    begun_before,
    compare,
    describe_move,
    done_before,
    refusals_on_record,
    refuse_frozen,
    swap,
)
from podium.lifecycle.custody_rules import use_problem
from podium.lifecycle.profile_rules import promotion_problem
from podium.model_file.approval import ApprovalSpec
from podium.names import in_utc, version_name
from podium.registry.example import example_problem
from podium.registry.model_files import load_model
from podium.registry.signature import incompatibilities
from podium.services import Services
from podium.versions import verified

log = logging.getLogger(__name__)


def rollback(services: Services, request: NewEvent, asked: Asked | None) -> Event:
    """Move the champion alias back to a version that was champion, after proof that it can serve.

    Args:
        services: The registry and the ledger.
        request: Who asks and why, from ``rollback_request``.
        asked: When it was asked for; None only finishes a rollback that was begun.

    Returns:
        The ``rolled_back`` event; on a re-run, the first one.

    Raises:
        CannotRollBack: There is no earlier champion, the target never was champion, it fails its proof, this
            run was refused before, or nobody can tell what its asker saw.
        ChampionChanged: The champion was moved after this was asked for.
        Frozen: The champion was moved outside Podium.
        NothingToDo: The target is the champion already, or this run did it and the champion was moved since.
        Outage: A part did not answer; run it again.
    """
    with services.ledger.lock(request.model) as lock:
        events = _looked_at(services, request)
        if done := done_before(services, events, EventKind.ROLLED_BACK, str(request.run)):
            return done
        move = begin(services, lock, events, request, EventKind.ROLLED_BACK)
        if refused := refused_before(events, request.run):
            refuse_frozen(request.model, events, move.live)
            raise CannotRollBack(refused)
        if asked is not None:
            request = replace(request, details={**request.details, "asked_at": asked.at.isoformat()})
        with refusals_on_record(services, request):
            refuse_frozen(request.model, events, move.live)
            with _other_way_named(services, events, request):
                chosen = _choose_target(services, events, request, asked)
        move = replace(move, intent=chosen)
        with refusals_on_record(services, chosen):
            compare(move)
            with _other_way_named(services, events, chosen):
                prove(services, request.model, move.recorded, move.target)
        return swap(move)


def rollback_request(
    model: str, to_version: int | None, *, asks: Person | None, reason: str, run: str
) -> NewEvent:
    """Describe a rollback that somebody asks for; ``force_version`` adds to it.

    Args:
        model: The registered model.
        to_version: A former champion, or None for the previous one.
        asks: Who asks, as Airflow's login says.
        reason: Why, in words.
        run: The Airflow run; the same run never rolls back twice.

    Raises:
        CannotRollBack: The reason is none (``reason_problem``), or nobody is known to ask.
    """
    if asks is None:
        raise CannotRollBack(
            f"{model}: the person who asks is unknown; log in to Airflow and trigger the rollback there"
        )
    if not reason.strip():
        raise CannotRollBack(f"{model}: a rollback needs a reason; say why, in words")
    if wrong := reason_problem(reason, at_least=1):
        raise CannotRollBack(f"{model}: {wrong}")
    return NewEvent(
        event=EventKind.ROLLBACK_STARTED,
        model=model,
        version=to_version,
        actor=asks.name,
        reason=reason.strip(),
        run=run,
    )


def force_version(request: NewEvent, policy: ApprovalSpec, asks: Person) -> NewEvent:
    """Let a rollback go to a version that never was champion; it is marked so on record.

    Raises:
        CannotRollBack: No version is named, who asks is none of the model's approvers, or approving takes
            more than one person.
    """
    if request.version is None:
        raise CannotRollBack(f"{request.model}: to force a version, name it")
    if not may_decide(policy, asks):
        raise CannotRollBack(
            f"{request.model}: only an approver may force a version that never was champion, and {asks.name} "
            f"is not one (approvers: {who_may_decide(policy)})"
        )
    if policy.required > 1:
        raise CannotRollBack(
            f"{request.model}: nobody may force a version alone, since approving takes "
            f"{policy.required} people; run the lifecycle for it"
        )
    return replace(request, details={**request.details, "forced": True})


def _looked_at(services: Services, request: NewEvent) -> Present:
    """Read where the model stands, with all of the versions that this may move between."""
    events = services.ledger.present(request.model)
    targets = [request.version] if request.version is not None else history.former_champions(events)[:1]
    return services.ledger.present(request.model, *targets, history.champion(events), run=request.run)


@contextmanager
def frozen_first(services: Services, model: str) -> Iterator[None]:
    """Where a request is refused, say first that the model is frozen: with that nothing else helps.

    Raises:
        Frozen: The champion was moved outside Podium.
    """
    try:
        yield
    except CannotRollBack:
        with services.ledger.lock(model):
            refuse_frozen(model, services.ledger.present(model), services.registry.champion(model))
        raise


@contextmanager
def _other_way_named(services: Services, events: Sequence[Event], request: NewEvent) -> Iterator[None]:
    """Add to a refusal where the champion can go back to instead."""
    try:
        yield
    except CannotRollBack as error:
        former = [number for number in history.former_champions(events) if number != request.version]
        if not former:
            raise
        found = next((number for number in former if _can_serve(services, events, request, number)), None)
        way = (
            f"no former champion can serve ({', '.join(map(version_name, former))} cannot either)"
            if found is None
            else f"the newest former champion that can serve is {version_name(found)}: ask for that one"
        )
        raise CannotRollBack(f"{str(error).rstrip('.')}. Nothing was moved; {way}.") from error


def _can_serve(services: Services, events: Sequence[Event], request: NewEvent, number: int) -> bool:
    seen = services.ledger.present(request.model, number)
    if promotion_problem(seen, number) or use_problem(seen, number):
        return False
    try:
        prove(services, request.model, history.champion(events), number)
    except CannotRollBack as error:
        log.warning("%s", error)
        return False
    return True


def _choose_target(
    services: Services, events: Sequence[Event], request: NewEvent, asked: Asked | None
) -> NewEvent:
    """Name the target and the champion that it replaces; a rollback that began keeps those of its intent."""
    model = request.model
    if begun := begun_before(events, request):
        return replace(request, version=begun.version, from_version=begun.from_version)
    if asked is None:
        raise NothingToDo(f"{model}: nothing of run {request.run} is left to finish")
    _refuse_stale_request(services, events, request, asked)
    former, current = history.former_champions(events), history.champion(events)
    target = request.version if request.version is not None else next(iter(former), None)
    if target is None:
        raise CannotRollBack(
            f"{model}: no earlier champion to go back to; the champion is {version_name(current)}"
        )
    if away := history.rolled_away(events, target):
        raise CannotRollBack(
            f"{model}: {version_name(target)} was itself rolled back on {in_utc(away.at)} by "
            f"{away.actor}: {away.reason}. It can become champion again by a new approval: run the lifecycle "
            "for it."
        )
    if problem := promotion_problem(events, target) or use_problem(events, target):
        raise CannotRollBack(problem)
    was = target in former or history.was_champion(events, target)
    if not was and target != current and not request.details.get("forced"):
        there_are = ", ".join(map(version_name, former)) or "none"
        raise CannotRollBack(
            f"{model}: {version_name(target)} was never champion; earlier champions: {there_are}. "
            "An approver may force another version."
        )
    return replace(request, version=target, from_version=current)


def _refuse_stale_request(
    services: Services, events: Sequence[Event], request: NewEvent, asked: Asked
) -> None:
    """Refuse a rollback whose asker saw another champion: two that are asked for at once go back once."""
    if problem := asking_problem(events, request.model, request.run, asked):
        raise CannotRollBack(problem)
    before, newest = services.ledger.present(request.model, at=asked.at), history.champion_move(events)
    seen, outside = history.champion(before), history.outside_move(before)
    if newest is not None and newest.at > asked.at:
        raise ChampionChanged(request.model, seen, newest.version, describe_move(newest))
    if outside is not None and history.outside_move(events) is None:
        raise CannotRollBack(
            f"{request.model}: when this was asked for, the champion was {version_name(outside.version)}, "
            f"moved outside Podium; that was settled since. Look at champion {version_name(seen)}, and "
            "trigger a new one"
        )


def prove(services: Services, model: str, champion: int | None, number: int) -> None:
    """Prove that a version can take the champion's place.

    It is READY, its files are those of its manifest, it takes what the champion's clients send, it loads, and
    it predicts its stored input example to the stored output.

    Args:
        services: The registry and the ledger.
        model: The registered model.
        champion: Whose clients it would have.
        number: The version.

    Raises:
        CannotRollBack: One of these is not so; says which and how.
        Outage: The registry or the store did not answer.
    """
    name, events = f"{model} {version_name(number)}", services.ledger.present(model, number, champion)
    try:
        if not services.registry.version(model, number).ready:
            raise CannotRollBack(f"{name} is not READY in MLflow")
        _accepts_champions_clients(events, name, number)
        with verified(services, events, model, number) as (folder, manifest):
            if problem := example_problem(load_model(folder), history.example_of(events, number)):
                raise CannotRollBack(f"{name} {problem}")
    except (NotFound, BytesChanged) as error:
        raise CannotRollBack(str(error)) from error
    except PodiumError:
        raise
    except OSError as error:
        raise Outage(f"{name} could not be loaded here: {error}") from error
    except Exception as error:
        raise CannotRollBack(f"{name} does not load and predict: {error}") from error
    log.info("%s: %s files as registered; it loads and predicts its example.", name, len(manifest.files))


def _accepts_champions_clients(events: Sequence[Event], name: str, number: int) -> None:
    """Compare signatures from the ledger: the champion's own files may be what is broken."""
    champion = history.champion(events)
    served = history.registration(events, champion) if champion is not None else None
    offered = history.registration(events, number)
    if served is None or offered is None:
        return
    signatures = served.details["signature"], offered.details["signature"]
    if not all(signatures):
        return  # A champion that was accepted without a signature tells nothing of its clients.
    if found := incompatibilities(*signatures):
        raise CannotRollBack(
            f"{name} does not fit the clients of champion {version_name(champion)}: {'; '.join(found)}"
        )
