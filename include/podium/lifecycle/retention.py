"""Retention: versions that nothing keeps go to quarantine, and are deleted when nobody restored them.

Whether something keeps a version is asked again under the model's lock, right before each step. Of a version
that is deleted the files go first and the entry last; the ledger keeps all that was ever said of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from podium.errors import BytesChanged, Damaged, NotFound, Outage, PodiumError
from podium.ledger import custody, history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.live_answers import LiveStore
from podium.lifecycle.approval import open_requests
from podium.lifecycle.approval_policy import Act, Request
from podium.lifecycle.custody_rules import refuse_damaged
from podium.lifecycle.orphans import sweep
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.retention_look import Looked, look, sharers
from podium.lifecycle.retention_rules import ACTOR, Action, Approved, Verdict, describe, goes, must_ask
from podium.lifecycle.trials import thin_trials
from podium.lifecycle.watched import open_window
from podium.lifecycle.witness import record
from podium.model_file.retention import RetentionSpec
from podium.model_file.spec import ModelSpec
from podium.names import RETENTION, version_name
from podium.registry.disposal import Disposal, Login, delete_bytes
from podium.services import Services
from podium.versions import check_bytes

log = logging.getLogger(__name__)


@dataclass
class Done:
    """What a run of retention did.

    Attributes:
        model: The registered model.
        seen: What it saw first, in one sentence.
        asks: It removed nothing new, since more would go than goes unasked, or people are asked already.
        quarantined: The versions that went to quarantine.
        deleted: Those that were deleted.
        kept_meanwhile: Those that something kept by the time that their turn came, and what.
        failed: Those that could not be deleted, and why.
        damages: Files that had to stay, and are not those that were registered.
        checked: How many versions' files were looked at afterwards.
        answers: How many live answers were forgotten.
        trials: How many trials of searches were deleted.
        orphans: What was said and done about models that no version names.
    """

    model: str
    seen: str = ""
    asks: bool = False
    quarantined: list[int] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    kept_meanwhile: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    damages: list[str] = field(default_factory=list)
    checked: int = 0
    answers: int = 0
    trials: int = 0
    orphans: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in words."""
        said = [f"{self.model}: {self.seen}"]
        if self.asks:
            said.append("that is more than ask_above allows: no version goes until an approver has decided")
        if self.quarantined or self.deleted:
            said.append(self.went())
        if self.checked:
            said.append(f"the files of {self.checked} versions that stay were looked at")
        if self.answers:
            said.append(f"{self.answers:,} live answers forgotten")
        if self.trials:
            said.append(f"{self.trials:,} trials of searches deleted")
        return "; ".join([*said, *self.orphans, *self.kept_meanwhile, *self.failed, *self.damages])

    def went(self) -> str:
        """Name the versions that went."""
        moved = (("quarantined", self.quarantined), ("deleted", self.deleted))
        told = [f"{what}: {', '.join(map(version_name, numbers))}" for what, numbers in moved if numbers]
        return "; ".join(told) or "no version went"


def removal_asked(events: Sequence[Event]) -> Request | None:
    """Return the request about a removal that waits for people; None if there is none."""
    asked = [request for request in open_requests(events) if request.act is Act.REMOVAL]
    return next((request for request in asked if request.expires_at > datetime.now(UTC)), None)


def retain(
    services: Services, spec: ModelSpec, password: str, run: str, approved: Approved | None = None
) -> Done:
    """Let go what the rules of a model file do not keep; see ``run_retention``.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        password: Of MLflow's account that may delete.
        run: The Airflow run.
        approved: What people approved, if they were asked.

    Raises:
        Damaged: Files that had to stay are not those that were registered.
        PodiumError: A version could not be deleted; names it.
        Outage: A part did not answer; run it again.
    """
    if spec.retention is None:
        return Done(spec.name, "the model file has no section retention; nothing goes")
    disposal = Disposal(services.registry.tracking_uri, Login(RETENTION, password))
    done = run_retention(services, disposal, spec.name, spec.retention, run, approved=approved)
    # A run that fails is told to people; all else of it is done.
    if done.damages:
        raise Damaged(str(done))
    swept = sweep(services, disposal, spec.name, spec.retention, run)
    done.orphans = swept.lines()
    done.failed += swept.failed
    done.trials = thin_trials(services, disposal, spec.name, spec.retention, run)
    if done.failed:
        raise PodiumError(str(done))
    return done


def run_retention(  # noqa: PLR0913 - what a run is given
    services: Services,
    disposal: Disposal,
    model: str,
    rules: RetentionSpec,
    run: str,
    *,
    approved: Approved | None = None,
) -> Done:
    """Move to quarantine what nothing keeps, delete what nobody restored, and look at what stays.

    Run again after it was stopped anywhere, it ends what it began; then it finds nothing more to do.

    Args:
        services: The registry and the ledger.
        disposal: What may delete in MLflow.
        model: The registered model.
        rules: Those of the model file.
        run: The Airflow run.
        approved: What people approved: exactly this may go. None: what the model file lets go unasked.

    Raises:
        OtherLedger: The ledger lacks what MLflow was told.
        Outage: A part did not answer; run it again.
        Damaged: Files that had to stay are not those that were registered.
    """
    done = Done(model)
    if history.damage(services.ledger.present(model)) is not None:
        _look_at_what_stays(services, model, rules, run, done)
        refuse_damaged(services.ledger.present(model))
    seen = look(services, model, rules)
    done.seen = describe(seen.verdicts)
    if approved is not None:
        going = [one for one in goes(seen.verdicts) if approved.allows(one) or _was_begun(one)]
        done.kept_meanwhile += [str(one) for one in seen.verdicts if approved.stays(one)]
    elif must_ask(seen.verdicts, rules) or removal_asked(seen.events) is not None:
        done.asks = True
        going = [one for one in goes(seen.verdicts) if _was_begun(one)]
    else:
        going = goes(seen.verdicts)
    # Deletions last: what was quarantined a moment ago is not deleted in the same run.
    for verdict in sorted(going, key=lambda one: (one.action is Action.DELETE, one.number)):
        if verdict.action is Action.QUARANTINE:
            _quarantine(services, model, rules, verdict.number, run, done)
        else:
            _delete(services, disposal, rules, seen.verdicts, verdict, run, done)
    if done.deleted or _was_not_looked_at(seen):
        _look_at_what_stays(services, model, rules, run, done)
    done.answers = _forget_answers(services, model, rules)
    return done


def _was_not_looked_at(seen: Looked) -> bool:
    """Whether a run was stopped between a deletion and its look at what stays."""
    records = [one.facts.record for one in seen.verdicts]
    deleted = [one.custody_at for one in records if one.custody is EventKind.DELETED and one.custody_at]
    looked = [event.at for event in seen.events if event.event is EventKind.RETENTION_CHECKED]
    return bool(deleted) and (not looked or max(looked) < max(deleted))


def _was_begun(verdict: Verdict) -> bool:
    """Whether a deletion was begun: it is ended, whoever is asked."""
    return verdict.facts.record.custody is EventKind.DELETION_STARTED


def _quarantine(  # noqa: PLR0913 - as it is called
    services: Services, model: str, rules: RetentionSpec, number: int, run: str, done: Done
) -> None:
    with services.ledger.lock(model) as lock:
        seen = look(services, model, rules, sharers(services, model, number))
        verdict = seen.of(number)
        if verdict is None or verdict.action is not Action.QUARANTINE:
            done.kept_meanwhile += [str(verdict)] if verdict else []
            return
        lock.assert_held()
        record(
            services,
            NewEvent(
                event=EventKind.QUARANTINED,
                model=model,
                version=number,
                actor=ACTOR,
                reason=f"no rule keeps it; it is deleted after {rules.quarantine_days} days",
                run=run,
                details={"manifest_digest": verdict.facts.record.digest, "bytes": verdict.facts.record.size},
            ),
        )
        done.quarantined.append(number)
        mirror(services, model)


def _delete(  # noqa: PLR0913 - as it is called
    services: Services,
    disposal: Disposal,
    rules: RetentionSpec,
    all_verdicts: Sequence[Verdict],
    seen_first: Verdict,
    run: str,
    done: Done,
) -> None:
    number, digest = seen_first.number, seen_first.facts.record.digest
    equals = {one.number for one in all_verdicts if one.facts.record.digest == digest}
    with services.ledger.lock(done.model) as lock:
        seen = look(services, done.model, rules, equals | sharers(services, done.model, number))
        verdict = seen.of(number)
        if verdict is None or verdict.action is not Action.DELETE:
            done.kept_meanwhile += [str(verdict)] if verdict else []
            return
        refuse_damaged(seen.events)
        started = _started(services, seen, verdict, run)
        lock.assert_held()
        try:
            _delete_bytes_then_entry(disposal, started)
        except Outage:
            raise
        except PodiumError as error:
            done.failed.append(_failed(services, disposal, started, verdict, error, run))
            return
        record(services, _deleted(started, verdict, run))
        done.deleted.append(number)
        mirror(services, done.model)


def _started(services: Services, seen: Looked, verdict: Verdict, run: str) -> Event:
    """Record that a deletion begins; one that began before goes on with what it knew."""
    before = history.custody(seen.events, verdict.number)
    if before is not None and before.event is EventKind.DELETION_STARTED:
        return before
    record_of, facts = verdict.facts.record, verdict.facts
    # The last version with these files takes them along.
    others = [
        one
        for one in seen.verdicts
        if one.facts.place == facts.place and one.number != facts.number and one.facts.there
    ]
    return record(
        services,
        NewEvent(
            event=EventKind.DELETION_STARTED,
            model=seen.events[-1].model,
            version=verdict.number,
            actor=ACTOR,
            reason="nobody restored it from quarantine",
            run=run,
            details={
                "manifest_digest": record_of.digest,
                "bytes": record_of.size,
                "place": "" if others else facts.place,
                "mlflow_run": record_of.run_id,
            },
        ),
    )


def _delete_bytes_then_entry(disposal: Disposal, started: Event) -> None:
    place, run_id = started.details["place"], started.details["mlflow_run"]
    if place:
        delete_bytes(disposal, place, run_id)
    disposal.delete_version(started.model, int(started.version or 0))


def _failed(  # noqa: PLR0913 - what is said of it
    services: Services, disposal: Disposal, started: Event, verdict: Verdict, error: PodiumError, run: str
) -> str:
    """Say that a version was not deleted; one whose files are all there goes back to quarantine."""
    name = f"{started.model} {version_name(started.version)}"
    try:
        left = disposal.files(started.details["place"])
    except Outage:
        raise
    except PodiumError:
        left = {}
        whole = True  # Podium never asked the store to delete anything there.
    else:
        whole = len(left) == verdict.facts.record.files
    if whole:
        failed = NewEvent(
            event=EventKind.DELETION_FAILED,
            model=started.model,
            version=started.version,
            actor=ACTOR,
            reason=str(error),
            run=run,
            details={"bytes": verdict.facts.record.size},
        )
        record(services, failed)
    said = "it stays whole, in quarantine" if whole else "some of its files are gone; the next run continues"
    log.error("%s was not deleted: %s; %s", name, error, said)
    return f"{name} was not deleted: {error}; {said}"


def _deleted(started: Event, verdict: Verdict, run: str) -> NewEvent:
    facts = verdict.facts.record
    kept = "" if started.details["place"] else ", and its files stay for other versions"
    return NewEvent(
        event=EventKind.DELETED,
        model=started.model,
        version=started.version,
        actor=ACTOR,
        reason=f"{started.reason}{kept}",
        run=run,
        key=f"deleted:{started.model}:{started.version}",
        details={"manifest_digest": facts.digest, "bytes": facts.size, "files": facts.files},
    )


def _look_at_what_stays(services: Services, model: str, rules: RetentionSpec, run: str, done: Done) -> None:
    """Compare the files of all versions that stay with their manifests, and record what was found."""
    seen = look(services, model, rules)
    kept = [
        one.number
        for one in seen.verdicts
        if one.action is Action.KEEP and one.facts.record.custody is not EventKind.DELETION_STARTED
    ]
    for number in kept:
        try:
            check_bytes(services, services.ledger.present(model, number), model, number)
        except (BytesChanged, NotFound) as error:
            done.damages.append(str(error))
    done.checked = len(kept)
    found = (
        "; ".join(done.damages)
        or f"the files of {len(kept)} versions that stay are those that were registered"
    )
    record(
        services,
        NewEvent(
            event=EventKind.RETENTION_CHECKED,
            model=model,
            actor=ACTOR,
            reason=found,
            run=run,
            details={history.DAMAGES: done.damages, "versions": kept, "deleted": done.deleted},
        ),
    )


def _forget_answers(services: Services, model: str, rules: RetentionSpec) -> int:
    """Delete answers and labels that are old enough, but for those that are still counted."""
    events = services.ledger.present(model)
    before = custody.now(services.ledger) - rules.live_answers
    window, candidate = open_window(events), history.candidate(events)
    since = None if candidate is None else history.candidate_since(events, candidate)
    counted = [moment for moment in (window and window.opened, since and since.at) if moment]
    return LiveStore(services.ledger).forget(model, min([before, *counted]))
