"""Adopt: the versions that a registry had before Podium go on record, and its champion is taken over.

Nothing is moved. The alias `champion` is set only where there is none yet; all other aliases stay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from podium.errors import CannotAdopt, NothingToDo, Outage
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Lock
from podium.lifecycle.adoption import Plan, Seen, plan_adoption, read_versions
from podium.lifecycle.approval_policy import Person, approver_of
from podium.lifecycle.asked import Asked, asking_problem, refused_before
from podium.lifecycle.champion import refusals_on_record
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, witnessed
from podium.model_file.approval import ApprovalSpec
from podium.model_file.spec import ModelSpec
from podium.names import Alias, version_name
from podium.services import Services

log = logging.getLogger(__name__)

_TELL_EVERY_SECONDS = 5


@dataclass(frozen=True)
class Adopted:
    """What came of an adoption.

    Attributes:
        model: The registered model.
        versions: How many versions went on record.
        champion: The champion that was taken over now; None if none was.
        waits: The acceptance that was given while more people are missing.
        left_out: Why versions were not adopted, a sentence each.
        notes: What champions lack, a sentence each with what to do.
    """

    model: str
    versions: int
    champion: Event | None
    waits: Event | None
    left_out: Sequence[str]
    notes: Sequence[str]

    def sentence(self) -> str:
        """Say it in one sentence."""
        champion = "no champion was taken over"
        if self.champion is not None:
            champion = (
                f"champion {version_name(self.champion.version)} was taken over by {self.champion.actor}"
            )
        elif self.waits is not None:
            champion = f"{version_name(self.waits.version)} needs more people to be taken over as champion"
        said = f"{self.model}: {self.versions:,} versions adopted, {champion}"
        return "; ".join([said, *self.left_out[:3], *self.notes])


def adopt_request(spec: ModelSpec, *, asks: Person | None, reason: str, run: str) -> NewEvent:
    """Describe who asks to adopt what is there, and why.

    Raises:
        PodiumError: Nobody is known to ask, who asks is no approver, or the reason is none.
    """
    model = spec.name
    actor = approver_of(model, spec.approval, asks, reason)
    return NewEvent(
        event=EventKind.CHAMPION_ADOPTED,
        model=model,
        actor=actor,
        reason=reason.strip(),
        run=run,
        key=f"{EventKind.CHAMPION_ADOPTED}:{run}",
    )


def adopt(  # noqa: PLR0913 - what is adopted, for whom, and who is told
    services: Services,
    spec: ModelSpec,
    request: NewEvent,
    asked: Asked,
    champion: str | None = None,
    stage: str | None = None,
) -> Adopted:
    """Put the versions of a registered model on record, and take its champion over.

    Run again, it goes on where it stopped.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        request: Who asks and why, from ``adopt_request``.
        asked: When it was asked for.
        champion: An alias or a number; None: the alias `champion`.
        stage: Instead of it the stage whose version is champion.

    Raises:
        NothingToDo: All that is there is on record.
        NotFound: There is no such model, alias, stage or version.
        CannotAdopt: What is there lacks something; says what, and how to give it.
        Frozen: The ledger has a champion, and it was moved outside Podium.
        OutOfUse: The champion to adopt is in quarantine.
        BytesChanged: The files of a version on record are not those that were recorded.
        OtherLedger: The ledger lacks what MLflow was told.
        Outage: A part did not answer; run it again.
    """
    model = spec.name
    witnessed(services, model)
    events = services.ledger.present(model, run=request.run)
    if refused := refused_before(events, request.run) or asking_problem(events, model, request.run, asked):
        raise CannotAdopt(refused)
    with refusals_on_record(services, request):
        plan = plan_adoption(services, spec, champion, stage)
        if not plan.versions and (plan.recorded or plan.champion is None):
            raise NothingToDo(f"{model}: all of its versions are on record; nothing is left to adopt")
        seen = list(_entered(services, spec, plan, request))
        entered = [one for one in seen if not one.left_out]
        notes = [note for one in seen for note in one.notes]
        moved = None
        if plan.champion is not None and not plan.recorded:
            with services.ledger.lock(model) as lock:
                moved = _take_over(
                    services, lock, spec.approval, plan, replace(request, details={"notes": notes})
                )
        with services.ledger.lock(model):
            mirror(services, model)
    took = moved is not None and moved.event is EventKind.CHAMPION_ADOPTED
    return Adopted(
        model,
        len(entered),
        moved if took else None,
        None if took else moved,
        [one.left_out for one in seen if one.left_out],
        notes,
    )


def progress(model: str, say: Callable[[str], None]) -> Callable[[int, int, int], None]:
    """Return what tells now and then how many versions were read, and how fast."""
    begun = told = time.monotonic()

    def tell(done: int, of: int, size: int) -> None:
        nonlocal told
        now = time.monotonic()
        if done == of or now - told >= _TELL_EVERY_SECONDS:
            told = now
            rate = size / 1e6 / max(now - begun, 1e-3)
            say(f"{model}: {done:,} of {of:,} versions read, {size / 1e6:,.1f} MB, {rate:,.0f} MB/s")

    return tell


def _entered(services: Services, spec: ModelSpec, plan: Plan, request: NewEvent) -> list[Seen]:
    """Put each version on record as soon as its bytes were read; so a second try reads none of them again."""
    seen = []
    for one in read_versions(services, spec, plan, progress(plan.model, log.info)):
        seen.append(one)
        if one.left_out:
            log.warning("Left out: %s", one.left_out)
            continue
        number = one.version.number
        services.ledger.append(
            replace(
                request,
                event=EventKind.ADOPTED,
                version=number,
                key=f"adopted:{plan.model}:{number}",
                details=one.details,
            )
        )
    for note in (note for one in seen for note in one.notes):
        log.warning("%s", note)
    return seen


def _take_over(services: Services, lock: Lock, policy: ApprovalSpec, plan: Plan, request: NewEvent) -> Event:
    """Record the champion, once enough people have asked for it; return what was recorded."""
    model, number, registry = plan.model, int(plan.champion or 0), services.registry
    events = services.ledger.present(model, number)
    if done := history.with_key(events, str(request.key)):
        return done
    if history.champion(events) is not None or registry.champion(model) not in (None, number):
        raise Outage(f"{model}: its champion was moved or recorded meanwhile; run it again")
    registered = history.registration(events, number)
    about = {"adopts": number, "manifest_digest": registered and registered.details["manifest_digest"]}
    given = replace(
        request,
        event=EventKind.ACCEPTANCE_GIVEN,
        version=number,
        key=f"adopts:{model}:{number}:{about['manifest_digest']}:{request.actor}",
        details=about,
    )
    acceptance = record(services, given)
    all_given = services.ledger.history(model, kinds=[EventKind.ACCEPTANCE_GIVEN])
    people = dict.fromkeys(event.actor for event in all_given if event.details == about)
    if len(people) < policy.required:
        return acceptance
    lock.assert_held()
    if not plan.alias:
        registry.set_alias(model, Alias.CHAMPION, number)
        if (found := registry.champion(model)) != number:
            raise Outage(f"{model}: champion was set to {version_name(number)}, reads {version_name(found)}")
    taken = replace(request, version=number, from_version=plan.former, actor=", ".join(people))
    return services.ledger.append_move(taken, after=history.champion_move(events))
