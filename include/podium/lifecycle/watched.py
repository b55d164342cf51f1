"""The watch window after a promotion, as a fold over the record: what is compared, how long and how.

The terms are recorded with the promotion, so that servers and whoever computes a verdict again need no model
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from podium.errors import PodiumError
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind
from podium.ledger.history import WATCH_ACTOR
from podium.model_file.gates import CostGate, CostName
from podium.model_file.metric_gate import MetricGate
from podium.model_file.spec import ModelSpec
from podium.model_file.watch import AutoRollback, WatchSpec

# Under this name the record of a promotion holds the terms.
WATCH = "watch"
# What servers ask the ledger for: of each kind the newest one.
KINDS = (*CHAMPION_MOVES, EventKind.WATCH_JUDGED)


@dataclass(frozen=True)
class Terms:
    """How a new champion is watched.

    Attributes:
        rows: Rows that both versions must have been asked.
        at_most_seconds: The window closes so long after the promotion.
        labelled_rows: Rows with labels that must have come; 0: nobody asks for losses.
        auto_rollback: What happens if the new version is worse.
        metric: The loss that is compared; "": none.
        labels: Of a classification, the model file's labels.
        margin: How much worse the metric may be.
        max_ratio: How many times the old version's time the new one may take; None: nobody asks.
    """

    rows: int
    at_most_seconds: float
    labelled_rows: int
    auto_rollback: AutoRollback
    metric: str
    labels: tuple[str, ...]
    margin: float
    max_ratio: float | None

    @classmethod
    def of(cls, spec: ModelSpec) -> Self | None:
        """Return the terms of a model file; None: its champions are not watched."""
        return None if spec.watch is None else cls.of_section(spec, spec.watch)

    @classmethod
    def of_section(cls, spec: ModelSpec, section: WatchSpec) -> Self:
        """Return the terms of a section, with the margins of the model file's gates."""
        asks = section.labelled_rows > 0
        return cls(
            rows=section.rows,
            at_most_seconds=section.at_most.total_seconds(),
            labelled_rows=section.labelled_rows,
            auto_rollback=section.auto_rollback,
            metric=spec.row_metric if asks else "",
            labels=spec.labels,
            margin=_margin(spec) if asks else 0.0,
            max_ratio=_max_ratio(spec),
        )

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return the terms that were recorded.

        Raises:
            TypeError: They are none that Podium records.
        """
        return cls(**{**content, "labels": tuple(content["labels"])})

    @property
    def stores_answers(self) -> bool:
        """Whether answers are stored, so that labels can come."""
        return self.labelled_rows > 0 or bool(self.metric)

    def as_json(self) -> dict[str, Any]:
        """Return them as they are recorded."""
        return {**asdict(self), "labels": list(self.labels)}


@dataclass(frozen=True)
class WatchWindow:
    """A promotion whose version is compared with the champion before.

    Attributes:
        model: The registered model.
        promotion: The number of the event by which the new version became champion; names the window.
        new: The champion.
        old: The champion before, its shadow now.
        opened: When.
        terms: How it is watched.
    """

    model: str
    promotion: int
    new: int
    old: int
    opened: datetime
    terms: Terms

    @property
    def closes(self) -> datetime:
        """When it closes, whatever is missing."""
        return self.opened + timedelta(seconds=self.terms.at_most_seconds)

    @property
    def actor(self) -> str:
        """Who rolls back by itself, as it is on record."""
        return f"{WATCH_ACTOR}v{self.new}"

    @property
    def run(self) -> str:
        """What acts on the verdict, named as a run is: the same window never rolls back twice."""
        return f"watch_champion/promotion-{self.promotion}"


def open_window(events: Iterable[Event]) -> WatchWindow | None:
    """Return the window that is open by these events; None where none is.

    A later move of the champion ends it, and so does a verdict.

    Args:
        events: The model's history, ``Present``, or of ``KINDS`` the newest events.

    Raises:
        PodiumError: The record of its promotion has no terms as Podium records them.
    """
    window: WatchWindow | None = None
    for event in events:
        if event.event in CHAMPION_MOVES:
            window = window_of(event)
        elif window is not None and judges(event, window):
            window = None
    return window


def judges(event: Event, window: WatchWindow) -> bool:
    """Whether an event is the verdict on a window."""
    return event.event is EventKind.WATCH_JUDGED and event.details.get("promotion") == window.promotion


def window_of(promotion: Event) -> WatchWindow | None:
    """Return the window that a promotion opened; None where it opened none.

    Raises:
        PodiumError: It has no terms as Podium records them.
    """
    terms = promotion.details.get(WATCH)
    if promotion.event is not EventKind.PROMOTED or terms is None:
        return None
    # The first champion of a model has nothing to be compared with.
    if promotion.version is None or promotion.from_version is None:
        return None
    try:
        read = Terms.read(terms)
    except (KeyError, TypeError) as error:
        raise PodiumError(
            f"{promotion.model}: '{WATCH}' of event {promotion.seq} of the ledger is not what Podium "
            f"records: {error}"
        ) from error
    return WatchWindow(
        model=promotion.model,
        promotion=promotion.seq,
        new=promotion.version,
        old=promotion.from_version,
        opened=promotion.at,
        terms=read,
    )


def _margin(spec: ModelSpec) -> float:
    """Return how much worse than the champion the gates let the metric be."""
    rules = [
        gate
        for gate in spec.gates
        if isinstance(gate, MetricGate) and gate.metric == spec.row_metric and gate.slices is None
    ]
    certain = [gate.not_worse.margin for gate in rules if gate.not_worse is not None]
    plain = [gate.max_regression_abs for gate in rules if gate.against == "champion"]
    return min(certain or [bound for bound in plain if bound is not None] or [0.0])


def _max_ratio(spec: ModelSpec) -> float | None:
    """Return how many times the champion's time the gates let a version take for a row."""
    ratios = [
        gate.max_ratio
        for gate in spec.gates
        if isinstance(gate, CostGate) and gate.cost is CostName.LATENCY_P95 and gate.max_ratio is not None
    ]
    return min(ratios, default=None)
