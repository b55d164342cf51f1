"""All models at a glance: what each needs, who may give it and until when, what serves since when.

All of it is read from the ledger, by as many queries for one model as for all. MLflow is asked for its
aliases alone, and by whoever calls this: what it does not answer is told, never taken for "there is none".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from podium.errors import PodiumError
from podium.gates.report import number
from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.ledger.history import DECISIONS, GATES, REMOVAL, Present
from podium.ledger.present import FEW_MOVES
from podium.ledger.servers import NOBODY, Following, Server, following, servers_of
from podium.lifecycle.approval import approvals, readable_requests, report_of
from podium.lifecycle.approval_policy import (
    APPROVE,
    Act,
    Answer,
    Person,
    Request,
    act_of,
    problems,
    removal_name,
    rollback_name,
    who_may_decide,
)
from podium.lifecycle.custody_rules import retired_problem
from podium.lifecycle.ramped import open_ramp
from podium.lifecycle.watched import open_window
from podium.model_file.spec import ModelSpec
from podium.names import CHAMPION, in_utc, version_name
from podium.reporting.compare import gated_metric
from podium.reporting.comparison import in_one_sentence
from podium.services import Services

_WEEK = timedelta(days=7)


class State(StrEnum):
    """What a model needs, the most urgent first."""

    YOURS = "waits for you"
    FROZEN = "frozen"
    UNREADABLE = "cannot be read"
    WAITS = "waits"
    REFUSED = "refused"
    SERVES = "champion"
    EMPTY = "no champion"
    RETIRED = "retired"


_URGENCY = {state: place for place, state in enumerate(State)}
# A bad champion serves until somebody decides about that one; old versions can wait.
_PRESSING = (Act.REMOVAL, Act.PROMOTION, Act.ROLLBACK)

# They are about a model, and name no version.
_OF_MODELS = (
    EventKind.REMOVAL_PROPOSED,
    EventKind.REMOVAL_DONE,
    EventKind.RETENTION_CHECKED,
    EventKind.ORPHANS_REPORTED,
    EventKind.ORPHAN_DELETED,
    EventKind.RETIRED,
    EventKind.RETIREMENT_UNDONE,
)
_WORDS = {
    EventKind.REGISTERED: "was registered",
    EventKind.NOMINATED: "became the candidate",
    EventKind.APPROVAL_REQUESTED: "was submitted for approval",
    EventKind.APPROVAL_GIVEN: "got an approval",
    EventKind.ANSWER_INVALID: "got an answer that did not count,",
    EventKind.ASKED_AGAIN: "was asked about again",
    EventKind.PROMOTED: "was promoted to champion",
    EventKind.ROLLED_BACK: "became champion again in a rollback",
    EventKind.ROLLBACK_REFUSED: "was refused as the target of a rollback, requested",
    EventKind.MOVED_OUTSIDE: "was made champion outside Podium",
    EventKind.OUTSIDE_MOVE_REVERTED: "became champion again, the move outside was reverted",
    EventKind.OUTSIDE_MOVE_ACCEPTED: "stays champion, the move outside was accepted",
    EventKind.ACCEPTANCE_GIVEN: "got one acceptance of several",
    EventKind.SETTLEMENT_REFUSED: "was not settled, requested",
    EventKind.PROMOTION_REFUSED: "could not be promoted",
    EventKind.PROMOTION_STARTED: "is being promoted",
    EventKind.ROLLBACK_STARTED: "is being rolled back to",
    EventKind.REFERENCE_MADE: "got its reference for monitoring",
    EventKind.WINDOWS_JUDGED: "was monitored",
    EventKind.RETRAIN_WANTED: "will be trained again",
    EventKind.WATCH_JUDGED: "ended its watch window",
    EventKind.WATCH_FROZE: "is frozen",
    EventKind.WATCH_SETTLED: "stays champion, its watch window was settled",
    EventKind.RAMP_STEP: "is on its ramp",
    EventKind.RAMP_ENDED: "came to the end of its ramp",
    EventKind.ADOPTED: "was adopted",
    EventKind.CHAMPION_ADOPTED: "was adopted as champion",
    EventKind.ADOPTION_REFUSED: "was not adopted, requested",
    EventKind.HELD: "is held",
    EventKind.HOLD_RELEASED: "is no longer held,",
    EventKind.COPIED_TO: "was copied to another registry",
    EventKind.QUARANTINED: "went to quarantine",
    EventKind.RESTORED: "was restored from quarantine",
    EventKind.REMOVAL_PROPOSED: "approvers were asked whether many old versions may go",
    EventKind.REMOVAL_DONE: "the removal was done",
    EventKind.DELETION_STARTED: "is being deleted",
    EventKind.DELETION_FAILED: "could not be deleted",
    EventKind.DELETED: "was deleted",
    EventKind.RETENTION_CHECKED: "the remaining files were checked after a deletion",
    EventKind.ORPHANS_REPORTED: "models that no version names were reported",
    EventKind.ORPHAN_DELETED: "a model that no version names was deleted",
    EventKind.TRIALS_THINNED: "was made by a search, whose other trials were deleted",
    EventKind.RETIRED: "the model was retired",
    EventKind.RETIREMENT_UNDONE: "the model continues",
}


# What the lens Health shows, and nobody decided.
_HEALTH = (EventKind.WINDOWS_JUDGED, EventKind.WATCH_JUDGED)
_ASKED = (
    EventKind.APPROVAL_REQUESTED,
    EventKind.APPROVAL_GIVEN,
    EventKind.ANSWER_INVALID,
    EventKind.ASKED_AGAIN,
    *DECISIONS,
)


@dataclass(frozen=True)
class Waiting:
    """A request that nobody has decided yet.

    Attributes:
        request: What is asked.
        given: How many have approved.
        needed: How many must.
        may_decide: Whose turn it is, in words.
        hindrance: Why the reader of the page cannot approve; "" if nothing is in the way.
    """

    request: Request
    given: int
    needed: int
    may_decide: str
    hindrance: str


@dataclass(frozen=True)
class ModelRow:
    """One model of the overview.

    Attributes:
        model: The registered model.
        owner: As the model file says; "" without one.
        state: What it needs.
        sentence: The same in words.
        champion: The version that serves, as the ledger says.
        move: What made it champion.
        waiting: The request that is open.
        decided: The newest decision or gate report, in words.
        metric: The metric that the gates ask for first, and the newest judged champion's number.
        refused_at: When the newest version was refused by its gates, if it was.
        servers: The model servers that follow the champion, as they told within the last day.
        monitored: What the newest judged windows say; "" without any.
        watched: The open watch window, or how the newest one ended; "" without any.
        ramp: Which share of the clients a version answers on its ramp, or that it stopped; "" without one.
    """

    model: str
    owner: str
    state: State
    sentence: str
    champion: int | None = None
    move: Event | None = None
    waiting: Waiting | None = None
    decided: str = ""
    metric: str = ""
    refused_at: datetime | None = None
    monitored: str = ""
    watched: str = ""
    ramp: str = ""
    servers: Following = NOBODY

    @property
    def follows(self) -> str:
        """How many servers answer with the champion, in words; "" if nobody serves it."""
        told = []
        if behind := len(self.servers.behind):
            told.append(f"{behind} of {behind + len(self.servers.current)} behind")
        elif current := len(self.servers.current):
            told.append(f"{current} of {current} serve{'s' * (current == 1)} {version_name(self.champion)}")
        if silent := len(self.servers.silent):
            told.append(f"{silent} silent")
        return ", ".join(told)


@dataclass(frozen=True)
class Overview:
    """All models that somebody may see, the most urgent first."""

    rows: tuple[ModelRow, ...]
    at: datetime

    def count(self, *states: State) -> int:
        """Return how many models are in one of these states."""
        return sum(row.state in states for row in self.rows)

    def refused_lately(self) -> int:
        """Return how many models' newest versions were refused in the last seven days."""
        return sum(row.refused_at is not None and row.refused_at > self.at - _WEEK for row in self.rows)


def overview(
    services: Services,
    specs: Mapping[str, ModelSpec],
    person: Person,
    may_read: Callable[[str], bool],
    live: Mapping[str, int | None] | None,
) -> Overview:
    """Tell where all models stand, to one person.

    Args:
        services: Only the ledger is asked, by six queries at most.
        specs: The model files, by model.
        person: Who looks.
        may_read: Whether this person may see a model.
        live: The live champions as MLflow tells them; None where it did not answer.

    Raises:
        Outage: The ledger did not answer.
    """
    now = datetime.now(UTC)
    models = [name for name in sorted({*specs, *services.ledger.models()}) if may_read(name)]
    presents = services.ledger.presents(models, moves=FEW_MOVES)
    newest = services.ledger.newest(models, [*GATES, *DECISIONS, *_HEALTH])
    answers = _answers(services, presents.values())
    servers = servers_of(services.ledger, models)
    rows = [
        _with_servers(
            _row_of(specs.get(model), model, presents[model], newest[model], answers, person, live),
            servers[model],
        )
        for model in models
    ]
    return Overview(tuple(sorted(rows, key=_urgency)), now)


def _answers(services: Services, presents: Iterable[Present]) -> Mapping[str, list[Event]]:
    """Return what was answered to all open requests, by their runs."""
    runs = [request.run for events in presents for request in readable_requests(events)]
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in services.ledger.of_runs(runs) if runs else ():
        found[str(event.run)].append(event)
    return found


def _row_of(  # noqa: PLR0913 - all that is known of a model
    spec: ModelSpec | None,
    model: str,
    events: Present,
    newest: Sequence[Event],
    answers: Mapping[str, list[Event]],
    person: Person,
    live: Mapping[str, int | None] | None,
) -> ModelRow:
    """Describe one model; what cannot be read of it hides no other."""
    try:
        return _row(spec, model, events, newest, answers, person, live)
    except (PodiumError, AttributeError, KeyError, TypeError, ValueError) as error:
        owner = "" if spec is None else spec.owner
        said = f"Its record cannot be read: {error}. `podium verify {model}` says more."
        return ModelRow(model, owner, State.UNREADABLE, said)


def _row(  # noqa: PLR0913 - as above
    spec: ModelSpec | None,
    model: str,
    events: Present,
    newest: Sequence[Event],
    answers: Mapping[str, list[Event]],
    person: Person,
    live: Mapping[str, int | None] | None,
) -> ModelRow:
    judged = [event for event in newest if event.event in GATES]
    decided = [event for event in newest if event.event not in _HEALTH]
    monitored = [event for event in newest if event.event is EventKind.WINDOWS_JUDGED]
    last = judged[-1] if judged else None
    row = ModelRow(
        model=model,
        owner="" if spec is None else spec.owner,
        state=State.SERVES,
        sentence="",
        champion=history.champion(events),
        move=history.champion_move(events),
        waiting=_waiting(spec, readable_requests(events), answers, person),
        decided=describe(decided[-1]) if decided else "no decision yet",
        metric=_numbers(spec, last),
        refused_at=last.at if last is not None and last.event is EventKind.GATES_REFUSED else None,
        watched=_watch_window(events, newest),
        monitored=f"{version_name(monitored[-1].version)}, {monitored[-1].reason}" if monitored else "",
    )
    return _with_ramp(_with_state(row, events, last, live, spec), events)


def _with_ramp(row: ModelRow, events: Present) -> ModelRow:
    """Say which share of the clients an approved version answers, or that its ramp stopped, in any state."""
    ramp = open_ramp(events)
    if ramp is None:
        return row
    said = f"{str(ramp)[0].upper()}{str(ramp)[1:]}."
    return replace(row, sentence=f"{row.sentence} {said}", ramp=said)


def _with_servers(row: ModelRow, servers: Iterable[Server]) -> ModelRow:
    return replace(row, servers=following(servers, row.champion))


def _with_state(
    row: ModelRow,
    events: Present,
    last: Event | None,
    live: Mapping[str, int | None] | None,
    spec: ModelSpec | None,
) -> ModelRow:
    if frozen := freeze(row.model, events, live):
        return replace(row, state=State.FROZEN, sentence=frozen)
    if ended := retired_problem(events):
        return replace(row, state=State.RETIRED, sentence=f"{ended}.")
    if row.waiting is not None:
        state = State.WAITS if row.waiting.hindrance else State.YOURS
        return replace(row, state=state, sentence=_asked(row.waiting, last, spec))
    if row.refused_at is not None and last is not None and _is_newer(last, row.move):
        said = f"{version_name(last.version)} was {last.reason}"
        return replace(row, state=State.REFUSED, sentence=said)
    if row.champion is None:
        return replace(row, state=State.EMPTY, sentence="No version has been champion yet.")
    return replace(row, sentence=f"{version_name(row.champion)} is champion{_watched(events)}.")


def _watch_window(events: Present, newest: Sequence[Event]) -> str:
    """Say which versions are compared until when, or how the newest window ended; "" without any."""
    judged = [event for event in newest if event.event is EventKind.WATCH_JUDGED]
    window = open_window(events)
    if window is not None:
        new, old = version_name(window.new), version_name(window.old)
        return f"open: {new} beside {old} until {in_utc(window.closes)} at the latest"
    return f"{version_name(judged[-1].version)}, {judged[-1].reason}" if judged else ""


def _watched(events: Present) -> str:
    """Say beside which version the champion is watched; "" if it is not."""
    window = open_window(events)
    if window is None:
        return ""
    return f", watched beside {version_name(window.old)} until {in_utc(window.closes)} at the latest"


def freeze(model: str, events: Sequence[Event], live: Mapping[str, int | None] | None) -> str:
    """Say since when and why a model is frozen; "" if it is not.

    Args:
        model: The registered model.
        events: Where it stands.
        live: The live champions; None where MLflow did not answer.
    """
    if outside := history.outside_move(events):
        return f"{_moved_outside(outside)} outside Podium, found on {in_utc(outside.at)}."
    if froze := history.watch_freeze(events):
        return (
            f"Promotions are stopped: a watch window ended on {in_utc(froze.at)}, {froze.reason}. An "
            "approver settles this with settle_champion, accept."
        )
    if damaged := history.damage(events):
        return f"Found damaged on {in_utc(damaged.at)}, so nothing moves: {damaged.reason}"
    recorded, now = history.champion(events), (live or {}).get(model)
    if live is None or now == recorded or history.stopped_move(events, now) is not None:
        return ""
    return (
        f"MLflow's champion is {version_name(now)}, the ledger's is {version_name(recorded)}: it was moved "
        "outside Podium. The Dag reconcile records this within minutes; then an approver settles it."
    )


def _moved_outside(found: Event) -> str:
    before, after = version_name(found.from_version), version_name(found.version)
    if found.from_version is None:
        return f"{after} was made champion"
    if found.version is None:
        return f"The champion, {before}, was removed"
    return f"The champion was moved from {before} to {after}"


def _is_newer(event: Event, than: Event | None) -> bool:
    return than is None or event.seq > than.seq


def _waiting(
    spec: ModelSpec | None,
    requests: Sequence[Request],
    answers: Mapping[str, list[Event]],
    person: Person,
) -> Waiting | None:
    in_time = [request for request in requests if request.expires_at > datetime.now(UTC)]
    if not in_time:
        return None
    request = max(in_time, key=lambda found: (_PRESSING.index(found.act), found.seq))
    return waiting(spec, request, answers.get(request.run, []), person)


def waiting(spec: ModelSpec | None, request: Request, answers: Sequence[Event], person: Person) -> Waiting:
    """Say how a request stands, and what keeps one person from approving.

    Args:
        spec: The model file; without one nobody may decide.
        request: What is asked.
        answers: What its run recorded so far.
        person: Who looks.
    """
    if spec is None:
        return Waiting(request, 0, 1, "nobody: it has no model file", "The model no longer has a model file.")
    given, policy = approvals(answers, request.run), spec.approval
    would_be = Answer(
        APPROVE,
        "x" * policy.reason_min_length,
        person,
        datetime.now(UTC),
        frozenset(policy.checklist),
    )
    return Waiting(
        request=request,
        given=len({event.actor.lower() for event in given}),
        needed=policy.required,
        may_decide=who_may_decide(policy),
        hindrance="; ".join(problems(policy, request, would_be, given)),
    )


def _asked(waits: Waiting, judged: Event | None, spec: ModelSpec | None) -> str:
    """Say what an approval changes; without numbers where the gates judged another version since."""
    request = waits.request
    given = f" {waits.given} of {waits.needed} approvals given." if waits.needed > 1 else ""
    if request.act is Act.ROLLBACK:
        back = f"{version_name(request.champion)} to {version_name(request.version)}"
        return f"Roll back {back}? Its watch window said {request.why}.{given}"
    if request.act is Act.REMOVAL:
        return f"Remove old versions? {request.why}.{given}"
    if judged is not None and judged.details.get("digest") == request.gates:
        return f"{in_one_sentence(report_of(judged), spec)}.{given}"
    over = (
        "as the first champion"
        if request.champion is None
        else f"in place of {version_name(request.champion)}"
    )
    return f"{version_name(request.version)} waits for approval {over}.{given}"


_JUDGED_BY_ITSELF = (EventKind.WATCH_JUDGED, EventKind.RAMP_STEP, EventKind.RAMP_ENDED)


def describe(event: Event) -> str:
    """Say in one sentence what was decided or found, by whom and why."""
    by_itself = event.actor in ("podium", "unknown", "") or event.event in _JUDGED_BY_ITSELF
    who = "" if by_itself else f" by {event.actor}"
    words = _WORDS.get(event.event, f"was {str(event.event).replace('_', ' ')}")
    what = event.reason if event.event in GATES else f"{words}{who}"
    # "waits for amy" is not true for ever.
    asked = event.event is EventKind.APPROVAL_REQUESTED and act_of(event) is not Act.ROLLBACK
    why = f": {event.reason}" if event.reason and event.event not in GATES and not asked else ""
    if event.version is None and event.event in _OF_MODELS:
        return f"{what}{why}"
    if event.event is EventKind.MOVED_OUTSIDE:
        said = event.reason.removeprefix(f"{event.model}: ")
        return said[0].upper() + said[1:] if said else f"{_moved_outside(event)} outside Podium"
    name = version_name(event.version)
    if event.event in _ASKED and act_of(event) is Act.ROLLBACK:
        name = rollback_name(event.from_version, event.version)
    if event.event in _ASKED and act_of(event) is Act.REMOVAL:
        name = removal_name(event.details[REMOVAL])
    return f"{name} {what}{why}"


def _numbers(spec: ModelSpec | None, judged: Event | None) -> str:
    """Write the metric of the newest judged version beside the champion's, on the same rows."""
    if spec is None or judged is None:
        return ""
    metric = gated_metric(spec)
    scores: Mapping[str, Any] = judged.details.get("scores", {})
    numbers = [
        (version_name(version), metrics[metric])
        for version, metrics in (
            (judged.version, scores.get("candidate", {})),
            (judged.from_version, scores.get("references", {}).get(CHAMPION, {})),
        )
        if metric in metrics
    ]
    told = ", ".join(f"{name} {number(float(value))}" for name, value in numbers)
    return f"{metric}: {told}" if told else ""


def _urgency(row: ModelRow) -> tuple[int, float, str]:
    until = row.waiting.request.expires_at.timestamp() if row.waiting else 0.0
    return _URGENCY[row.state], until, row.model
