"""What retention sees of a model at one moment: its versions from both sides, and who shares their files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from podium.ledger import custody, history
from podium.ledger.custody import OnRecord
from podium.ledger.events import EventKind
from podium.ledger.history import Present
from podium.ledger.servers import servers_of
from podium.lifecycle.approval import open_requests
from podium.lifecycle.ramped import open_ramp
from podium.lifecycle.retention_rules import Facts, Model, Verdict, goes, judge
from podium.lifecycle.watched import open_window
from podium.lifecycle.witness import witnessed
from podium.model_file.retention import RetentionSpec
from podium.names import version_name
from podium.registry.client import Version
from podium.services import Services

_MODELS = "models:/"


@dataclass(frozen=True)
class Looked:
    """A model as retention sees it at one moment.

    Attributes:
        events: Its present, with all events of the versions that were asked for.
        verdicts: On these versions, by number.
    """

    events: Present
    verdicts: list[Verdict]

    def of(self, number: int) -> Verdict | None:
        """Return the verdict on a version; None where the ledger does not know it."""
        return next((one for one in self.verdicts if one.number == number), None)


def look(
    services: Services,
    model: str,
    rules: RetentionSpec,
    numbers: Collection[int] | None = None,
    events: Present | None = None,
) -> Looked:
    """Judge the versions of a model, or some of them, by what is true now.

    Args:
        services: The registry and the ledger.
        model: The registered model.
        rules: Those of the model file.
        numbers: Which; those that share files with them are looked at too. None: all.
        events: The model's present, if it was read just now.

    Raises:
        OtherLedger: The ledger lacks what MLflow was told.
        Outage: A part did not answer.
    """
    now = custody.now(services.ledger)
    # MLflow last: an alias that is moved meanwhile is seen.
    events = services.ledger.present(model, *(numbers or ())) if events is None else events
    about = _model(services, model, rules, events)
    records = custody.versions_on_record(services.ledger, model, None if numbers is None else sorted(numbers))
    there = _there(services, model, numbers)
    aliases: Mapping[str, int] = witnessed(services, model).aliases
    facts = [_facts(one, there, aliases) for one in records]
    going = goes(judge(facts, about, rules, now))
    if going:
        facts = _with_sharers(services, model, facts, going, there, thoroughly=numbers is not None)
    return Looked(events, judge(facts, about, rules, now))


def forecast(
    services: Services, model: str, rules: RetentionSpec, aliases: Mapping[str, int] | None
) -> Looked:
    """Judge all versions of a model by what the ledger says, in a second where MLflow takes longer.

    It knows of no copy in MLflow, and not whether a version is still there: ``look`` asks for these.

    Args:
        services: Only the ledger is asked.
        model: The registered model.
        rules: Those of the model file.
        aliases: Those in MLflow; None: MLflow did not tell, and those that the ledger knows count.

    Raises:
        Outage: The ledger did not answer.
    """
    events = services.ledger.present(model)
    if aliases is None:
        aliases = {str(alias): number for alias, number in history.aliases(events).items()}
    facts = [
        Facts(
            record=one,
            there=one.custody is not EventKind.DELETED,
            place="",
            aliases=tuple(sorted(alias for alias, number in aliases.items() if number == one.number)),
        )
        for one in custody.versions_on_record(services.ledger, model)
    ]
    about = _model(services, model, rules, events)
    return Looked(events, judge(facts, about, rules, custody.now(services.ledger)))


def _model(services: Services, model: str, rules: RetentionSpec, events: Present) -> Model:
    window, ramp, begun = open_window(events), open_ramp(events), history.unfinished_move(events)
    watched = set() if window is None else {window.new, window.old}
    if ramp is not None:
        watched |= {ramp.window.new, ramp.window.old}
    waiting = {request.version for request in open_requests(events) if request.version is not None}
    # Of a move that was begun neither side goes.
    if begun is not None:
        waiting |= {number for number in (begun.version, begun.from_version) if number is not None}
    ended = history.retirement(events)
    return Model(
        name=model,
        champion=history.champion(events),
        candidate=history.candidate(events),
        waiting=frozenset(waiting),
        watched=frozenset(watched),
        former=tuple(history.former_champions(events)),
        newest=frozenset(custody.newest_numbers(services.ledger, model, rules.versions)),
        served=frozenset(
            number
            for server in servers_of(services.ledger, [model])[model]
            for number in server.versions
            if number is not None
        ),
        retired_at=None if ended is None else ended.at,
    )


def sharers(services: Services, model: str, number: int) -> set[int]:
    """Return a version and those of its model that share its files."""
    version = services.registry.find_version(model, number)
    if version is None:
        return {number}
    sharing = services.registry.versions_sharing([version.run_id], _sources(version))
    return {number} | {one.number for one in sharing if one.model == model}


def _there(services: Services, model: str, numbers: Collection[int] | None) -> dict[int, Version]:
    if numbers is None:
        return {version.number: version for version in services.registry.versions(model)}
    found = {number: services.registry.find_version(model, number) for number in numbers}
    return {number: version for number, version in found.items() if version is not None}


def _facts(one: OnRecord, there: Mapping[int, Version], aliases: Mapping[str, int]) -> Facts:
    version = there.get(one.number)
    return Facts(
        record=one,
        there=version is not None,
        place="" if version is None else _place(version, there),
        aliases=tuple(sorted(alias for alias, number in aliases.items() if number == one.number)),
    )


def _place(version: Version, there: Mapping[int, Version]) -> str:
    """Return what names a version's files: the logged model, also where it is a copy of another version."""
    seen = {version.number}
    while version.source.startswith(f"{_MODELS}{version.model}/"):
        number = version.source.rpartition("/")[2]
        original = there.get(int(number)) if number.isdecimal() else None
        if original is None or original.number in seen:
            break
        seen.add(original.number)
        version = original
    return version.source.removeprefix(_MODELS)


def _sources(version: Version) -> list[str]:
    """Return what the source of another version with the same files can be."""
    return [version.source, f"{_MODELS}{version.model}/{version.number}"]


def _with_sharers(  # noqa: PLR0913 - what is known of them
    services: Services,
    model: str,
    facts: Sequence[Facts],
    going: Sequence[Verdict],
    there: Mapping[int, Version],
    *,
    thoroughly: bool,
) -> list[Facts]:
    """Add which versions of other models, or such that the ledger does not know, have the same files."""
    known = {one.number for one in facts}
    few = {one.number for one in going}
    sources = [source for number in few if number in there for source in _sources(there[number])]
    # Of a few versions each source is asked for; of a whole model the runs, by as few requests as possible.
    found = services.registry.versions_sharing(
        {one.facts.record.run_id for one in going}, sources if thoroughly else ()
    )
    others: dict[str, list[str]] = defaultdict(list)
    for version in found:
        if version.model == model and version.number in known:
            continue
        others[version.run_id].append(f"{version.model} {version_name(version.number)}")
        others[version.source.removeprefix(_MODELS)].append(f"{version.model} {version_name(version.number)}")
    return [
        replace(one, shared_with=tuple(dict.fromkeys(_of(others, one, model)))) if one.number in few else one
        for one in facts
    ]


def _of(others: Mapping[str, Sequence[str]], one: Facts, model: str) -> Iterable[str]:
    for name in (one.record.run_id, one.place, f"{model}/{one.number}"):
        if name:
            yield from others.get(name, ())
