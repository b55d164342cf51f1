"""One model in full: what serves and why, what was decided, how good each version was, where it can go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from podium.gates.report import GateReport, number
from podium.ledger import history
from podium.ledger.events import CHAMPION_MOVES, ENTERED, Event, EventKind
from podium.ledger.history import DECISIONS, GATES, Present
from podium.lifecycle.approval import report_of
from podium.lifecycle.approval_policy import Person
from podium.model_file.spec import ModelSpec
from podium.names import CHAMPION, Tag, in_utc
from podium.reporting.compare import gated_metric
from podium.reporting.overview import ModelRow, describe, overview
from podium.services import Services

# So many events of each kind: enough for a screen, and never the whole history.
_EACH = 40
_SHOWN = 60
_MOVES = (*CHAMPION_MOVES, EventKind.MOVED_OUTSIDE, EventKind.OUTSIDE_MOVE_REVERTED)
_REFUSED = (
    EventKind.PROMOTION_REFUSED,
    EventKind.ROLLBACK_REFUSED,
    EventKind.SETTLEMENT_REFUSED,
    EventKind.ADOPTION_REFUSED,
)
_KEPT = (
    *(EventKind.HELD, EventKind.HOLD_RELEASED, EventKind.QUARANTINED, EventKind.RESTORED),
    *(EventKind.DELETION_FAILED, EventKind.DELETED),
)
# What approvers say of a version.
_SAID = (EventKind.HELD, EventKind.HOLD_RELEASED, EventKind.RESTORED)
_TOLD = (
    *(EventKind.APPROVAL_REQUESTED, EventKind.APPROVAL_GIVEN, EventKind.ANSWER_INVALID),
    *(EventKind.ACCEPTANCE_GIVEN, EventKind.NOMINATION_REFUSED, *DECISIONS, *_MOVES, *_REFUSED),
    *(EventKind.RETRAIN_WANTED, EventKind.WATCH_JUDGED),
    *(EventKind.WATCH_FROZE, EventKind.WATCH_SETTLED),
    *(EventKind.RAMP_STEP, EventKind.RAMP_ENDED),
    *(EventKind.REMOVAL_DONE,),
    *(*_KEPT, EventKind.RETIRED, EventKind.RETIREMENT_UNDONE, EventKind.RETENTION_CHECKED),
)
_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 220, 64, 24


@dataclass(frozen=True)
class VersionLine:
    """One version as it was judged.

    Attributes:
        version: Its number.
        as_of: The day of its data; "" if nobody knows it.
        passed: Whether its gates let it through; None if nothing judged it.
        verdict: The same in words.
        value: The metric on the rows that it was judged on; None where there is none.
        champion: The champion's on the same rows.
        became: What happened to it since, in words.
    """

    version: int
    as_of: str
    passed: bool | None
    verdict: str
    value: float | None
    champion: float | None
    became: str

    def numbers(self) -> tuple[str, str]:
        """Write its number and the champion's."""
        return number(self.value), number(self.champion)


@dataclass(frozen=True)
class WayBack:
    """A former champion to which the alias can go back."""

    version: int
    since: str
    why: str
    as_of: str


@dataclass(frozen=True)
class ModelPage:
    """All that the page of one model shows.

    Attributes:
        row: Where it stands.
        description: Of the model file.
        metric: The metric that its gates ask for first.
        timeline: What was decided and moved, newest first.
        versions: The newest versions, newest first.
        ways_back: Former champions, newest first.
        outside: The move outside Podium that nobody has settled, or None.
        why: Why the champion is champion, in words.
        picture: An SVG with the metric of each version; "" where there are fewer than two numbers.
        newest: The number of the model's newest event; 0 without one.
        was_watched: Whether there is a watch window or a ramp to tell of.
    """

    row: ModelRow
    description: str
    metric: str
    timeline: Sequence[Event]
    versions: Sequence[VersionLine]
    ways_back: Sequence[WayBack]
    outside: Event | None
    why: str
    picture: str
    newest: int
    was_watched: bool


def model_page(
    services: Services,
    spec: ModelSpec | None,
    model: str,
    person: Person,
    live: Mapping[str, int | None] | None,
) -> ModelPage:
    """Read what the page of a model shows, by as many queries for an old model as for a new one.

    Args:
        services: Only the ledger is asked.
        spec: The model file, if there is one.
        model: The registered model.
        person: Who looks.
        live: As for ``overview``.

    Raises:
        Outage: The ledger did not answer.
    """
    specs = {} if spec is None else {model: spec}
    row = overview(services, specs, person, lambda name: name == model, live).rows[0]
    newest = services.ledger.newest([model], [*ENTERED, *GATES, *_TOLD], each=_EACH)[model]
    events = services.ledger.present(model)
    metric = "" if spec is None else gated_metric(spec)
    lines = _lines(newest, metric)
    told = [event for event in newest if event.event in _TOLD]
    return ModelPage(
        row=row,
        description="" if spec is None else spec.description,
        metric=metric,
        timeline=told[: -_SHOWN - 1 : -1],
        versions=lines,
        ways_back=_ways_back(events, newest),
        outside=history.outside_move(events),
        why="" if row.move is None else describe(row.move),
        picture=quality_picture(metric, lines, [event for event in newest if event.event in CHAMPION_MOVES]),
        newest=events[-1].seq if events else 0,
        was_watched=bool(row.watched or row.ramp),
    )


def version_report(services: Services, model: str, version: int) -> tuple[GateReport | None, Sequence[Event]]:
    """Return the newest gate report of any version, and all that happened to it.

    Raises:
        Outage: The ledger did not answer.
    """
    events = services.ledger.present(model, version)
    judged = history.gate_report(events, version)
    return (None if judged is None else report_of(judged)), [
        event for event in events if event.version == version
    ]


def result_of_run(services: Services, model: str, run: str) -> Event | None:
    """Return what a run recorded last that somebody asked for; None if nothing is on record yet."""
    ends = (*_MOVES, *_REFUSED, EventKind.ACCEPTANCE_GIVEN, *_SAID)
    found = [event for event in services.ledger.of_run(model, run) if event.event in ends]
    return found[-1] if found else None


def _lines(newest: Sequence[Event], metric: str) -> list[VersionLine]:
    """Describe the newest versions, newest first."""
    by_version: dict[int, list[Event]] = {}
    for event in newest:
        if event.version is not None:
            by_version.setdefault(event.version, []).append(event)
    known = sorted(by_version, reverse=True)[:_EACH]
    return [_line(version, by_version[version], metric) for version in known]


def _line(version: int, events: Sequence[Event], metric: str) -> VersionLine:
    judged = [event for event in events if event.event in GATES]
    registered = [event for event in events if event.event in ENTERED]
    became = [event for event in events if event.event in (*DECISIONS, *CHAMPION_MOVES, *_KEPT)]
    scores = judged[-1].details.get("scores", {}) if judged else {}
    return VersionLine(
        version=version,
        as_of=str(registered[-1].details.get(Tag.AS_OF, ""))[:10] if registered else "",
        passed=judged[-1].event is EventKind.GATES_PASSED if judged else None,
        verdict=judged[-1].reason if judged else "not judged yet",
        value=_number(scores.get("candidate", {}), metric),
        champion=_number(scores.get("references", {}).get(CHAMPION, {}), metric),
        became=describe(became[-1]) if became else "",
    )


def _number(metrics: Mapping[str, float | str], metric: str) -> float | None:
    value = float(metrics.get(metric, "nan"))
    return None if value != value else value


def _ways_back(events: Present, newest: Sequence[Event]) -> list[WayBack]:
    registered = {event.version: event for event in newest if event.event in ENTERED}
    ways = []
    for version in history.former_champions(events):
        moves = [event for event in events if event.event in CHAMPION_MOVES and event.version == version]
        since = in_utc(moves[-1].at) if moves else "unknown"
        found = registered.get(version)
        as_of = "" if found is None else str(found.details.get(Tag.AS_OF, ""))[:10]
        ways.append(WayBack(version, since, moves[-1].reason if moves else "", as_of))
    return ways


def quality_picture(metric: str, lines: Sequence[VersionLine], moves: Sequence[Event]) -> str:
    """Draw the metric of each version, oldest first, with promotions and rollbacks marked, as SVG.

    Colours and fonts are those of the page; the table of the versions says the same in words.
    """
    shown = [(line.version, line.value) for line in reversed(lines) if line.value is not None]
    if len(shown) < 2:
        return ""
    values = [value for _, value in shown]
    low, high = min(values), max(values)
    spread = (high - low) or abs(high) or 1.0
    step = (_WIDTH - _LEFT - 30) / (len(shown) - 1)
    places = {
        version: (_LEFT + step * place, _TOP + (_HEIGHT - _TOP - 50) * (high - value) / spread)
        for place, (version, value) in enumerate(shown)
    }
    path = " ".join(f"{x:.0f},{y:.0f}" for x, y in places.values())
    every = max(1, len(shown) // 12)
    labels = "".join(
        f'<text x="{x:.0f}" y="{_HEIGHT - 10}" class="axis" text-anchor="middle">v{version}</text>'
        for place, (version, (x, _)) in enumerate(places.items())
        if place % every == 0
    )
    points = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3.5" class="point"><title>v{version}: '
        f"{number(dict(shown)[version])}</title></circle>"
        for version, (x, y) in places.items()
    )
    marks = "".join(_mark(event, *places[event.version]) for event in moves if event.version in places)
    said = escape(f"{metric} of {len(shown)} versions, from {number(low)} to {number(high)}")
    scale = "".join(
        f'<text x="{_LEFT - 8}" y="{y:.0f}" class="axis" text-anchor="end">{number(value)}</text>'
        for value, y in ((high, _TOP + 4), (low, _HEIGHT - 46))
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{said}"><title>{said}</title>'
        f'{scale}<polyline points="{path}" class="line"/>{points}{marks}{labels}</svg>'
    )


def _mark(event: Event, x: float, y: float) -> str:
    """Draw a triangle: up where a version was promoted, down where the alias went back to it."""
    up = event.event is not EventKind.ROLLED_BACK
    tip, foot = (y - 18, y - 8) if up else (y + 18, y + 8)
    title = escape(f"{describe(event)} on {in_utc(event.at)}")
    shape = f"{x:.0f},{tip:.0f} {x - 6:.0f},{foot:.0f} {x + 6:.0f},{foot:.0f}"
    return f'<polygon points="{shape}" class="{"up" if up else "down"}"><title>{title}</title></polygon>'
