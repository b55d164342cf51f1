"""Models of training runs that no version names: reported first, and deleted when nobody can want them.

A run logs its model before Podium registers it, so a young model without a version is none of these. One that
is older than the longest run is reported: it goes on record, and a mark on its run lets no training take that
run again. Whoever took it before is done after the longest run; only then is the model deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from podium.errors import NotFound, Outage, PodiumError
from podium.ledger import custody
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle.retention_rules import ACTOR, size_text
from podium.lifecycle.witness import record
from podium.model_file.retention import RetentionSpec
from podium.names import Tag, in_utc
from podium.registry.disposal import Disposal, delete_bytes
from podium.registry.leftovers import Leftovers, LoggedModel
from podium.services import Services

log = logging.getLogger(__name__)

ORPHANS = "orphans"
_NAMED = 5


@dataclass(frozen=True)
class Orphan:
    """A model of a run that no version names, as it was reported.

    Attributes:
        place: The logged model's id.
        run: The run that made it.
        made_at: When its upload began.
        size: Of its files, in bytes.
        whole: Its upload ended.
        since: Since when it is reported.
    """

    place: str
    run: str
    made_at: datetime
    size: int
    whole: bool
    since: datetime

    def __str__(self) -> str:
        """Say it in words."""
        half = "" if self.whole else ", half written"
        return f"{self.place} of run {self.run} ({size_text(self.size)}, of {in_utc(self.made_at)}{half})"

    def as_json(self) -> dict[str, Any]:
        """Return it with plain JSON values."""
        return {
            "mlflow_run": self.run,
            "made_at": self.made_at.isoformat(),
            "bytes": self.size,
            "whole": self.whole,
            "since": self.since.isoformat(),
        }


@dataclass
class Swept:
    """What a run of retention did about orphans.

    Attributes:
        waiting: Those that are reported.
        deleted: Those that were deleted.
        failed: Those that could not be deleted, and why.
        later: How many are left to later runs, since so many go at once.
    """

    waiting: list[Orphan] = field(default_factory=list)
    deleted: list[Orphan] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    later: int = 0

    def lines(self) -> list[str]:
        """Say it in words, a sentence each."""
        said = []
        if self.waiting:
            named = ", ".join(map(str, self.waiting[:_NAMED]))
            more = f" and {len(self.waiting) - _NAMED:,} more" if len(self.waiting) > _NAMED else ""
            said.append(f"{_count(self.waiting)} that no version names: {named}{more}")
        if self.later:
            said.append(f"{self.later:,} of them are left to later runs, by ask_above")
        if self.deleted:
            said.append(f"{_count(self.deleted)} that no version names deleted")
        return said


def _count(orphans: Sequence[Orphan]) -> str:
    what = "model of a run" if len(orphans) == 1 else "models of runs"
    return f"{len(orphans):,} {what} ({size_text(_bytes(orphans))})"


def sweep(services: Services, disposal: Disposal, model: str, rules: RetentionSpec, run: str) -> Swept:
    """Report models that no version names, and delete those that were reported long enough.

    It deletes no more at once than goes unasked of versions; the next run goes on.

    Args:
        services: The registry and the ledger.
        disposal: What may delete in MLflow.
        model: The registered model, whose experiment is looked at.
        rules: Those of the model file.
        run: The Airflow run.

    Raises:
        Outage: A part did not answer; run it again.
    """
    leftovers = Leftovers(services.registry.tracking_uri)
    now = custody.now(services.ledger)
    # The report first: a mark that somebody takes back meanwhile is seen.
    before = reported(services, model)
    found = _found(services, leftovers, model, now - rules.longest_run)
    marks = leftovers.marked(model)
    for run_id in sorted(set(marks) - {one.run_id for one in found}):
        leftovers.unmark(run_id)
    waiting = _reported_anew(services, leftovers, disposal, found, before, marks, now)
    if waiting != before:
        _record_report(services, model, waiting, run)
    swept = Swept(sorted(waiting.values(), key=lambda one: one.made_at))
    due = due_of(swept.waiting, rules.longest_run, now)
    going = at_once(due, rules)
    swept.later = len(due) - len(going)
    for one in going:
        _delete(services, disposal, model, one, run, swept)
    if swept.deleted:
        gone = {one.place for one in swept.deleted}
        swept.waiting = [one for one in swept.waiting if one.place not in gone]
        _record_report(services, model, {one.place: one for one in swept.waiting}, run)
    return swept


def reported(services: Services, model: str) -> dict[str, Orphan]:
    """Return the orphans of the newest report, by place.

    Raises:
        Outage: The ledger did not answer.
    """
    events = services.ledger.history(model, kinds=[EventKind.ORPHANS_REPORTED])
    if not events:
        return {}
    return {
        place: Orphan(
            place,
            told["mlflow_run"],
            datetime.fromisoformat(told["made_at"]),
            told["bytes"],
            told["whole"],
            datetime.fromisoformat(told["since"]),
        )
        for place, told in events[-1].details[ORPHANS].items()
    }


def due_of(orphans: Iterable[Orphan], longest_run: timedelta, now: datetime) -> list[Orphan]:
    """Return those that were reported so long ago that no run can still want them."""
    return [one for one in orphans if now - one.since >= longest_run]


def _found(services: Services, leftovers: Leftovers, model: str, before: datetime) -> list[LoggedModel]:
    """Return old models of runs that no version names; of a run that was deleted softly none.

    A run that made a version keeps all of its models, and one of a deleted version has none left.
    """
    old = leftovers.models(model, before)
    runs = {one.run_id for one in old}
    kept = {one.run_id for one in custody.versions_on_record(services.ledger, model)}
    kept |= {one.run_id for one in services.registry.versions_sharing(runs - kept)}
    kept |= services.registry.deleted_runs(runs - kept)
    return [one for one in old if one.run_id not in kept]


def _reported_anew(  # noqa: PLR0913 - what is known of them
    services: Services,
    leftovers: Leftovers,
    disposal: Disposal,
    found: Iterable[LoggedModel],
    before: Mapping[str, Orphan],
    marks: Mapping[str, str],
    now: datetime,
) -> dict[str, Orphan]:
    """Return what is reported now; what was reported before, and is still marked so, keeps its moment."""
    by_run: dict[str, list[LoggedModel]] = {}
    for one in found:
        by_run.setdefault(one.run_id, []).append(one)
    waiting: dict[str, Orphan] = {}
    for run_id, models in by_run.items():
        known = [before[one.place] for one in models if one.place in before]
        if len(known) == len(models) and all(marks.get(run_id) == one.since.isoformat() for one in known):
            waiting |= {one.place: one for one in known}
            continue
        if services.registry.versions_sharing([run_id], [_source(one.place) for one in models]):
            continue
        sizes = _sizes(disposal, models)
        # The mark comes before the record: from then on nobody takes the run.
        leftovers.mark(run_id, now.isoformat())
        waiting |= {
            one.place: Orphan(one.place, run_id, one.made_at, sizes[one.place], one.whole, now)
            for one in models
            if one.place in sizes
        }
    return waiting


def _source(place: str) -> str:
    return f"models:/{place}"


def _sizes(disposal: Disposal, models: Iterable[LoggedModel]) -> dict[str, int]:
    sizes = {}
    for one in models:
        try:
            sizes[one.place] = sum(disposal.files(one.place).values())
        except Outage:
            raise
        except PodiumError as error:
            log.warning("Podium reports no model that is elsewhere: %s", error)
    return sizes


def _record_report(services: Services, model: str, waiting: Mapping[str, Orphan], run: str) -> None:
    said = f"{_count(list(waiting.values()))} that no version names" if waiting else "none is left"
    details = {ORPHANS: {place: one.as_json() for place, one in sorted(waiting.items())}}
    with services.ledger.lock(model):
        record(
            services,
            NewEvent(EventKind.ORPHANS_REPORTED, model, actor=ACTOR, reason=said, run=run, details=details),
        )


def at_once(due: Iterable[Orphan], rules: RetentionSpec) -> list[Orphan]:
    """Return so many of the orphans, the oldest first, as may go in one run by ``ask_above``."""
    going: list[Orphan] = []
    for one in due:
        size = _bytes(going) + one.size
        if len(going) < rules.ask_above.versions and size <= rules.ask_above.gigabytes * 1e9:
            going.append(one)
    return going


def _bytes(orphans: Iterable[Orphan]) -> int:
    return sum(one.size for one in orphans)


def _delete(  # noqa: PLR0913 - as it is called
    services: Services, disposal: Disposal, model: str, one: Orphan, run: str, swept: Swept
) -> None:
    with services.ledger.lock(model) as lock:
        if not _still_one(services, one):
            return
        lock.assert_held()
        try:
            delete_bytes(disposal, one.place, one.run)
        except Outage:
            raise
        except PodiumError as error:
            log.error("%s was not deleted: %s", one, error)
            swept.failed.append(f"{one} was not deleted: {error}; the next run tries again")
            return
        record(
            services,
            NewEvent(
                EventKind.ORPHAN_DELETED,
                model,
                actor=ACTOR,
                reason=f"no version names it, and it was reported on {in_utc(one.since)}",
                run=run,
                key=f"{EventKind.ORPHAN_DELETED}:{one.place}",
                details={"model_id": one.place, **one.as_json()},
            ),
        )
        disposal.delete_logged_model(one.place)
        swept.deleted.append(one)


def _still_one(services: Services, one: Orphan) -> bool:
    """Whether its run is marked as it was reported, is not deleted, and no version names it or its run."""
    try:
        marked = services.registry.run(one.run).tags.get(Tag.ORPHAN_SINCE)
    except NotFound:
        return False
    if marked != one.since.isoformat() or services.registry.is_deleted(one.run):
        return False
    # Last: a version that somebody makes by hand meanwhile is seen.
    return not services.registry.versions_sharing([one.run], [_source(one.place)])
