"""A ledger, a registry and a store in memory, in which retention is killed and interfered with anywhere.

A step is a call of one of them. The ledger's clock may go back, as one that is set does; what is on record
keeps its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from podium.errors import NotFound, PodiumError
from podium.ledger import history
from podium.ledger.custody import OnRecord
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import Present
from podium.lifecycle import orphans, retention, retention_look
from podium.lifecycle.approval_policy import Act
from podium.model_file.retention import AskAboveSpec, RetentionSpec
from podium.names import Tag
from podium.registry.client import Version
from podium.registry.labels import Labels
from podium.registry.leftovers import LoggedModel

LONGEST_RUN = 4
RULES = RetentionSpec(
    former_champions=1,
    versions=1,
    days=2,
    quarantine_days=3,
    ask_above=AskAboveSpec(versions=1000),
    longest_run=f"{LONGEST_RUN}d",  # type: ignore[arg-type]
)
MODEL, OTHER = "m", "elsewhere"
FILES = frozenset({"MLmodel", "model.skops"})
BEGUN = (EventKind.DELETION_STARTED, EventKind.DELETED)


class Killed(BaseException):
    """The process of a run was killed."""


@dataclass
class Logged:
    """A run that logged a model, which no version may name.

    Attributes:
        model: What it logged.
        taken: On which day a lifecycle began that registers it, or took it again; no clock changes days.
        mark: Its tag, since when it is reported; "" without.
        trained: A training of equal inputs would find it.
        deleted: It was deleted softly.
        begun: The deletion of its model began.
    """

    model: LoggedModel
    taken: int
    mark: str = ""
    trained: bool = True
    deleted: bool = False
    begun: bool = False


@dataclass
class World:
    """All that there is; see ``Version`` and ``Event`` for what the names mean."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    events: list[Event] = field(default_factory=list)
    versions: dict[tuple[str, int], Version] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    files: dict[str, set[str]] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    served: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    # Runs by their ids, and how many days went by, whatever the clock says.
    logged: dict[str, Logged] = field(default_factory=dict)
    day: int = 0
    # After so many steps the process is killed, or something happens; asked is how many there were.
    kill_at: int | None = None
    happens_at: int | None = None
    happens: Callable[[World], None] | None = None
    asked: int = 0
    locked: bool = False
    sure: bool = False
    swept: orphans.Swept = field(default_factory=orphans.Swept)

    def step(self) -> None:
        """Count a step, and let happen what is to happen before it."""
        self.asked += 1
        # Nobody can ask and delete at once: between the two a hand in MLflow is faster than any lock.
        due = self.happens_at is not None and self.asked >= self.happens_at
        if self.happens is not None and due and not self.sure:
            happens, self.happens = self.happens, None
            asked, kill_at, self.kill_at = self.asked, self.kill_at, None
            happens(self)
            self.asked, self.kill_at = asked, kill_at
        if self.kill_at is not None and self.asked >= self.kill_at:
            self.kill_at = None
            raise Killed

    # The ledger.

    def append(self, new: NewEvent) -> Event:
        self.step()
        if new.key is not None and (found := next((e for e in self.events if e.key == new.key), None)):
            return found
        if new.event in (EventKind.QUARANTINED, EventKind.DELETION_STARTED):
            assert new.version not in self.protected(), f"{new.event}, and v{new.version} is protected"
        at = max([self.now, *(event.at for event in self.events[-1:])])
        made = Event(**asdict(new), seq=len(self.events) + 1, at=at, previous_hash="", hash="")
        self.events.append(made)
        return made

    def present(self, model: str, *numbers: int | None, **_: Any) -> Present:
        self.step()
        return Present([e for e in self.events if e.model == model], filter(None, numbers), 10**9)

    def find(self, key: str) -> Event | None:
        return next((event for event in self.events if event.key == key), None)

    @contextmanager
    def lock(self, _: str) -> Iterator[Any]:
        self.step()
        self.locked = True
        try:
            yield SimpleNamespace(assert_held=self.step)
        finally:
            self.locked = self.sure = False

    def on_record(self, _: Any, model: str, numbers: Any = None) -> list[OnRecord]:
        self.step()
        found = []
        for event in self.events:
            number = int(event.version or 0)
            if event.event is EventKind.REGISTERED and (numbers is None or number in numbers):
                seen = Present(self.events, [number], 10**9)
                kept, held = history.custody(seen, number), history.hold(seen, number)
                found.append(
                    OnRecord(
                        number=number,
                        registered_at=event.at,
                        run_id=event.details["run"],
                        digest=self.digests[number],
                        size=10,
                        files=len(FILES),
                        copied_here=False,
                        judged=True,
                        copied_to="",
                        custody=kept and kept.event,
                        custody_at=kept and kept.at,
                        custody_by=kept.actor if kept else "",
                        held_by=held.actor if held else "",
                        held_for=held.reason if held else "",
                    )
                )
        return found

    def newest(self, _: Any, model: str, limit: int) -> list[int]:
        registered = [e.version for e in self.events if e.event is EventKind.REGISTERED and e.model == model]
        return sorted((number for number in registered if number), reverse=True)[:limit]

    # The registry and its store.

    def registry(self) -> Any:
        def find_version(model: str, number: int) -> Version | None:
            self.step()
            return self.versions.get((model, number))

        def sharing(run_ids: Any, sources: Any = ()) -> list[Version]:
            self.step()
            runs, places = set(run_ids), set(sources)
            return [one for one in self.versions.values() if one.run_id in runs or one.source in places]

        return SimpleNamespace(
            find_version=find_version,
            versions=lambda model: [one for one in self.versions.values() if one.model == model],
            versions_sharing=sharing,
            tracking_uri="",
            deleted_runs=lambda runs: {run for run in runs if self.logged[run].deleted},
            run=lambda run: SimpleNamespace(tags={Tag.ORPHAN_SINCE: self.logged[run].mark}),
            is_deleted=self.is_deleted,
        )

    # What runs left in MLflow.

    def is_deleted(self, run: str) -> bool:
        self.step()
        # The last look at what a hand can do to a run.
        self.sure = self.sure or self.locked
        return self.logged[run].deleted

    def models(self, _: str, before: datetime) -> list[LoggedModel]:
        self.step()
        found = [one.model for one in self.logged.values() if one.model.place in self.files]
        return [one for one in found if one.made_at < before]

    def marked(self, _: str) -> dict[str, str]:
        self.step()
        return {run: one.mark for run, one in self.logged.items() if one.mark and not one.deleted}

    def mark(self, run: str, since: str = "") -> None:
        self.step()
        self.logged[run].mark = since

    def history(self, model: str, kinds: Any) -> list[Event]:
        self.step()
        return [event for event in self.events if event.model == model and event.event in kinds]

    def forget_inputs(self, run: str) -> None:
        self.step()
        if run in self.logged:
            one = self.logged[run]
            kept = run in self.registered() or one.begun or not one.deleted
            assert kept, f"{run} was deleted softly, and may be restored"
            one.trained, one.begun = False, True

    def delete_logged_model(self, place: str) -> None:
        self.step()
        assert not self.files.pop(place), f"{place} has files, and nobody would find them any more"

    def wanted(self) -> set[str]:
        """The models without a version that may not be harmed, said anew."""
        kept = (one for run, one in self.logged.items() if run not in self.registered())
        return {
            one.model.place
            for one in kept
            if (one.deleted and not one.begun) or self.day - one.taken < LONGEST_RUN
        }

    def registered(self) -> set[str]:
        return {str(event.details["run"]) for event in self.events if event.event is EventKind.REGISTERED}

    def server(self) -> Any:
        self.sure = self.locked
        return SimpleNamespace(versions=set(self.served))

    def witnessed(self, *_: Any) -> Labels:
        self.step()
        self.sure = self.locked
        return Labels(dict(self.aliases), {})

    def delete_files(self, place: str) -> None:
        for name in sorted(self.files.get(place, ())):
            self.step()
            assert place not in self.wanted(), f"{name} of {place} is deleted, and a run needs it"
            for number in self.protected():
                assert self.place(number) != place, f"{name} of {place} is deleted, and v{number} needs it"
            self.files[place].discard(name)

    def files_of(self, place: str) -> dict[str, int]:
        self.step()
        if not place.startswith("m-"):
            raise PodiumError(f"'{place}' is not the id of a logged model")
        return dict.fromkeys(self.files.get(place, ()), 5)

    def delete_version(self, model: str, number: int) -> None:
        self.step()
        assert number not in self.aliases.values() or self.began(number)
        self.versions.pop((model, number), None)
        self.aliases = {alias: n for alias, n in self.aliases.items() if n != number}

    # What must be true.

    def place(self, number: int) -> str:
        return next(str(e.details["place"]) for e in self.events if e.key == f"registered:{number}")

    def began(self, number: int) -> bool:
        return any(event.version == number and event.event in BEGUN for event in self.events)

    def protected(self) -> set[int]:
        """What may not be harmed, said anew; what a hand protects after its deletion began is lost."""
        seen = Present(self.events, range(1000), 10**9)
        champion, former = history.champion(seen), history.former_champions(seen)
        kept = {*former[: RULES.former_champions], *self.newest(None, MODEL, RULES.versions), *self.served}
        kept |= {*self.aliases.values(), *self.waiting} | ({champion} if champion else set())
        for event in self.events:
            if event.event is EventKind.REGISTERED and self.now - event.at < timedelta(days=RULES.days):
                kept.add(int(event.version or 0))
        kept |= {n for n in range(1, len(self.digests) + 1) if history.hold(seen, n)}
        copied = {one.source for one in self.versions.values() if one.model == OTHER}
        sources = {n: {f"models:/{self.place(n)}", f"models:/{MODEL}/{n}"} for n in self.digests}
        kept |= {n for n, names in sources.items() if names & copied}
        return {number for number in kept if not self.began(number)}

    def assert_whole(self) -> None:
        """Fail if a version that is protected could not be loaded."""
        for number in self.protected():
            assert (MODEL, number) in self.versions, f"v{number} has no entry"
            assert self.files[self.place(number)] == FILES, f"v{number} has lost files"
        for place in self.wanted():
            assert self.files.get(place) == FILES, f"{place} has lost files, and a run needs it"

    def check_bytes(self, _: Any, __: Any, ___: str, number: int) -> None:
        self.step()
        if (MODEL, number) not in self.versions:
            raise NotFound(f"v{number} is gone")
        assert self.files[self.place(number)] == FILES, f"v{number} has lost files"

    def run(self) -> retention.Done:
        """Run retention once."""
        services: Any = SimpleNamespace(ledger=self, registry=self.registry())
        disposal: Any = SimpleNamespace(
            forget_inputs=self.forget_inputs,
            delete_files=self.delete_files,
            files=self.files_of,
            delete_version=self.delete_version,
            delete_logged_model=self.delete_logged_model,
        )
        run = f"retention/{len(self.events)}"
        done = retention.run_retention(services, disposal, MODEL, RULES, run)
        self.swept = orphans.sweep(services, disposal, MODEL, RULES, run)
        return done


@contextmanager
def patched(monkeypatch: Any, world: World) -> Iterator[None]:
    """Let retention see this world."""
    with monkeypatch.context() as patch:
        patch.setattr(retention.custody, "now", lambda _: world.now)
        patch.setattr(retention.custody, "versions_on_record", world.on_record)
        patch.setattr(retention.custody, "newest_numbers", world.newest)
        patch.setattr(retention_look, "servers_of", lambda *_: {MODEL: [world.server()]})
        patch.setattr(
            retention_look,
            "open_requests",
            lambda _: [SimpleNamespace(version=one, act=Act.PROMOTION) for one in world.waiting],
        )
        patch.setattr(retention_look, "witnessed", world.witnessed)
        for module in (retention, orphans):
            patch.setattr(module, "record", lambda _, new: world.append(new))
        left = SimpleNamespace(models=world.models, marked=world.marked, mark=world.mark, unmark=world.mark)
        patch.setattr(orphans, "Leftovers", lambda _: left)
        patch.setattr(retention, "mirror", lambda *_: world.step())
        patch.setattr(retention, "check_bytes", world.check_bytes)
        patch.setattr(retention, "_forget_answers", lambda *_: 0)
        yield
