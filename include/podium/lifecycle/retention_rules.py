"""Retention's decisions, pure: facts of versions in, for each version what is to happen and why.

What keeps a version beats what lets it go. The same function judges a whole model, and, under the model's
lock, the one version that is about to be moved or deleted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from podium.ledger.custody import OnRecord
from podium.ledger.events import EventKind
from podium.model_file.retention import RetentionSpec
from podium.names import in_utc, version_name

ACTOR = "podium retention"
_HELD, _FORMER, _CHAMPION = "held", "former champion", "champion"


class Action(StrEnum):
    """What is to happen to a version.

    ``GONE`` is one that retention deleted, or that MLflow lacks for another reason.
    """

    KEEP = "keep"
    QUARANTINE = "quarantine"
    WAIT = "wait"
    DELETE = "delete"
    GONE = "gone"


@dataclass(frozen=True)
class Facts:
    """One version, from both sides.

    Attributes:
        record: What the ledger says of it.
        there: MLflow has it.
        place: What names its files in the store; versions of one place share them.
        aliases: Those that it bears in MLflow now.
        shared_with: Versions of other models, and such that the ledger does not know, with the same files.
    """

    record: OnRecord
    there: bool
    place: str
    aliases: tuple[str, ...] = ()
    shared_with: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """1, 2, ..."""
        return self.record.number


@dataclass(frozen=True)
class Model:
    """What a model's present says of its versions.

    Attributes:
        name: The registered model.
        champion: By the ledger.
        candidate: By the ledger.
        waiting: Versions about which somebody is asked, or a move of which was begun.
        watched: Versions in an open watch window, or on their ramp.
        former: Former champions, the newest first.
        newest: The numbers of the newest versions, as many as are kept.
        served: Versions with which model servers answer.
        retired_at: When somebody ended the model; None: it goes on.
    """

    name: str
    champion: int | None = None
    candidate: int | None = None
    waiting: frozenset[int] = frozenset()
    watched: frozenset[int] = frozenset()
    former: tuple[int, ...] = ()
    newest: frozenset[int] = frozenset()
    served: frozenset[int] = frozenset()
    retired_at: datetime | None = None


@dataclass(frozen=True)
class Reason:
    """Why a version is kept.

    Attributes:
        kind: Under which it is counted.
        text: In words, about the version.
        until: When it ends by itself; None: nobody can tell.
    """

    kind: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """What is to happen to a version, and why.

    Attributes:
        facts: The version.
        action: What is to happen.
        reasons: Of one that is kept, all of them.
        until: Of one that waits, when its quarantine ends.
    """

    facts: Facts
    action: Action
    reasons: tuple[Reason, ...] = ()
    until: datetime | None = None

    @property
    def number(self) -> int:
        """1, 2, ..."""
        return self.facts.number

    @property
    def due(self) -> datetime | None:
        """Of a version that is kept, when the last reason ends by itself; None where one does not."""
        ends = [reason.until for reason in self.reasons]
        return max((end for end in ends if end), default=None) if all(ends) else None

    def __str__(self) -> str:
        """Say it in words."""
        name = version_name(self.number)
        if self.action is Action.KEEP:
            return f"{name} stays: it {'; it '.join(reason.text for reason in self.reasons)}"
        if self.action is Action.WAIT and self.until is not None:
            return f"{name} is in quarantine until {in_utc(self.until)}"
        return f"{name}: {self.action}"


@dataclass(frozen=True)
class Approved:
    """What people approved.

    Attributes:
        versions: By number what may happen to a version, and the digest of its manifest.
    """

    versions: Mapping[int, tuple[Action, str]]

    def allows(self, verdict: Verdict) -> bool:
        """Whether they approved that this happens to these files."""
        return self.versions.get(verdict.number) == (verdict.action, verdict.facts.record.digest)

    def stays(self, verdict: Verdict) -> bool:
        """Whether they approved that it goes, and something keeps it by now."""
        return verdict.number in self.versions and verdict.action is Action.KEEP


def judge(versions: Sequence[Facts], model: Model, rules: RetentionSpec, now: datetime) -> list[Verdict]:
    """Say of each version what is to happen to it.

    Args:
        versions: What is known of them; of one that shares its files, all that share them.
        model: The present of the model.
        rules: Those of the model file.
        now: The time of the ledger's database.
    """
    own = {facts.number: _reasons(facts, model, rules, now) for facts in versions}
    shared = _shared(versions, own)
    return [
        _verdict(facts, (*own[facts.number], *shared.get(facts.number, ())), rules, now) for facts in versions
    ]


def _verdict(facts: Facts, reasons: tuple[Reason, ...], rules: RetentionSpec, now: datetime) -> Verdict:
    custody, since = facts.record.custody, facts.record.custody_at
    if custody is EventKind.DELETED:
        return Verdict(facts, Action.GONE)
    if custody is EventKind.DELETION_STARTED:
        # Some of its files may be gone already. Only an alias, which would be lost, stops the end of it.
        bears = tuple(reason for reason in reasons if facts.aliases and reason.kind == "alias")
        return Verdict(facts, Action.KEEP if bears else Action.DELETE, bears)
    if not facts.there:
        return Verdict(facts, Action.GONE)
    if reasons:
        return Verdict(facts, Action.KEEP, reasons)
    if custody is EventKind.DELETION_FAILED:
        return Verdict(facts, Action.DELETE)
    if custody is EventKind.QUARANTINED and since is not None:
        until = since + timedelta(days=rules.quarantine_days)
        return Verdict(facts, Action.DELETE if now >= until else Action.WAIT, until=until)
    return Verdict(facts, Action.QUARANTINE)


def _reasons(facts: Facts, model: Model, rules: RetentionSpec, now: datetime) -> tuple[Reason, ...]:
    """Return why a version stays for its own sake."""
    grace = timedelta(days=rules.retired_days)
    if model.retired_at is not None and now - model.retired_at >= grace:
        return tuple(_always(facts, model))
    found = [*_by_use(facts, model), *_always(facts, model), *_by_age(facts, model, rules, now)]
    if model.retired_at is not None:
        until = model.retired_at + grace
        found.append(Reason("grace", f"is of a model that was ended; it stays until {in_utc(until)}", until))
    return tuple(found)


def _by_use(facts: Facts, model: Model) -> Iterable[Reason]:
    """Yield what is true of versions that serve, or are about to."""
    number = facts.number
    if number == model.champion:
        yield Reason(_CHAMPION, "is the champion")
    if number == model.candidate:
        yield Reason("candidate", "is the candidate")
    if number in model.waiting:
        yield Reason("waiting", "waits for a decision")
    if number in model.watched:
        yield Reason("watched", "is in a watch window or on its ramp")
    for alias in facts.aliases:
        yield Reason("alias", f"has the alias {alias}")


def _always(facts: Facts, model: Model) -> Iterable[Reason]:
    """Yield what is true of versions that stay also where their model was ended."""
    record = facts.record
    if record.held_by:
        yield Reason(_HELD, f"is held by {record.held_by}: {record.held_for}")
    if record.copied_to:
        yield Reason("copied", f"is the source of a copy at {record.copied_to}")
    if facts.number in model.served:
        yield Reason("served", "is served by a model server")


def _by_age(facts: Facts, model: Model, rules: RetentionSpec, now: datetime) -> Iterable[Reason]:
    """Yield what the numbers in the model file keep."""
    record, kept = facts.record, timedelta(days=rules.days)
    if facts.number in model.former[: rules.former_champions]:
        yield Reason(_FORMER, f"is {_among(rules.former_champions, 'former champion')}")
    if facts.number in model.newest:
        yield Reason("newest", f"is {_among(rules.versions, 'version')}")
    if now - record.registered_at < kept:
        since = record.registered_at
        yield Reason("recent", f"was registered on {in_utc(since)}, within {rules.days} days", since + kept)
    if record.custody is EventKind.RESTORED and record.custody_at and now - record.custody_at < kept:
        since = record.custody_at
        yield Reason("restored", f"was restored by {record.custody_by} on {in_utc(since)}", since + kept)
    if record.copied_here and not record.judged:
        yield Reason("unjudged", "was brought here and not judged yet")


def _among(count: int, what: str) -> str:
    return f"the newest {what}" if count == 1 else f"among the {count} newest {what}s"


def _shared(versions: Sequence[Facts], own: dict[int, tuple[Reason, ...]]) -> dict[int, tuple[Reason, ...]]:
    """Return why versions stay for the sake of others, which have the same files."""
    found: dict[int, list[Reason]] = defaultdict(list)
    for key in ("place", "digest"):
        by_key: dict[str, list[Facts]] = defaultdict(list)
        for facts in versions:
            named = facts.place if key == "place" else facts.record.digest
            if named and facts.record.custody is not EventKind.DELETED:
                by_key[named].append(facts)
        for group in by_key.values():
            kept = [facts for facts in group if facts.there and own[facts.number]]
            for facts in group:
                others = [version_name(one.number) for one in kept if one.number != facts.number]
                if others:
                    found[facts.number].append(_shares(others[:3]))
    for facts in versions:
        if facts.shared_with:
            found[facts.number].append(_shares(facts.shared_with[:3]))
    return {number: tuple(dict.fromkeys(reasons)) for number, reasons in found.items()}


def _shares(others: Iterable[str]) -> Reason:
    return Reason("shared", f"has the same files as {', '.join(others)}")


def goes(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return what is to be moved or deleted."""
    return [verdict for verdict in verdicts if verdict.action in (Action.QUARANTINE, Action.DELETE)]


def must_ask(verdicts: Sequence[Verdict], rules: RetentionSpec) -> bool:
    """Whether so much would go at once that an approver is asked; what was begun is ended unasked."""
    going = [one for one in goes(verdicts) if one.facts.record.custody is not EventKind.DELETION_STARTED]
    most = rules.ask_above
    return len(going) > most.versions or _bytes(going) > most.gigabytes * 1e9


def counted(verdicts: Sequence[Verdict]) -> str:
    """Say how many versions go to quarantine, and how many are deleted."""
    counts = Counter(one.action for one in verdicts)
    told = []
    if many := counts[Action.QUARANTINE]:
        told.append(f"{many:,} go{'es' * (many == 1)} to quarantine")
    if many := counts[Action.DELETE]:
        told.append(f"{many:,} {'is' if many == 1 else 'are'} deleted for good")
    return ", ".join(told)


def describe(verdicts: Sequence[Verdict]) -> str:
    """Say how many versions there are, and what is to happen, in one sentence."""
    there = [one for one in verdicts if one.action is not Action.GONE]
    if not there:
        return "no versions"
    told = [summary(there)]
    counts = Counter(one.action for one in there)
    named = {
        Action.KEEP: "kept",
        Action.QUARANTINE: "to quarantine",
        Action.WAIT: "in quarantine",
        Action.DELETE: "to delete",
    }
    told.append(", ".join(f"{counts[action]:,} {text}" for action, text in named.items() if counts[action]))
    kinds = Counter(kind for one in there for kind in {reason.kind for reason in one.reasons})
    why = {
        _HELD: "kept by hold",
        _FORMER: "as former champions",
        "shared": "since others have the same files",
    }
    said = [f"{kinds[kind]:,} {text}" for kind, text in why.items() if kinds[kind]]
    return "; ".join([*told, ", ".join(said)] if said else told)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return ``31 versions, 4.2 GB, oldest of March 2025``."""
    count = f"{len(verdicts):,} version{'' if len(verdicts) == 1 else 's'}"
    if not verdicts:
        return count
    oldest = min(one.facts.record.registered_at for one in verdicts)
    return f"{count}, {size_text(_bytes(verdicts))}, oldest of {oldest:%B %Y}"


def size_text(size: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_each:
            return f"{size / bytes_each:,.1f} {unit}"
    return f"{size} bytes"


def _bytes(verdicts: Iterable[Verdict]) -> int:
    """Add up the files; those of one place once."""
    return sum({one.facts.place or one.number: one.facts.record.size for one in verdicts}.values())
