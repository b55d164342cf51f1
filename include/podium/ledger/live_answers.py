"""What versions answered to live requests beside each other, and the labels that came later.

Three tables in the ledger's database, where model servers may only insert and select. They hold answers,
labels and counts, never inputs. A request that is there already stays as it is, and so do its labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from podium.errors import PodiumError
from podium.ledger.store import Ledger, outages
from podium.names import version_name

# So few that whoever writes meanwhile does not wait.
_FORGOTTEN_AT_ONCE = 1000
_METADATA = sa.MetaData()
_ANSWERS = sa.Table(
    "live_answers",
    _METADATA,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("champion", sa.Integer, nullable=False),
    sa.Column("candidate", sa.Integer, nullable=False),
    sa.Column("champion_answers", sa.Text),
    sa.Column("candidate_answers", sa.Text),
)
_LABELS = sa.Table(
    "live_labels",
    _METADATA,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, nullable=False),
)
_COUNTS = sa.Table(
    "live_counts",
    _METADATA,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("nominated", sa.BigInteger, nullable=False),
    sa.Column("champion", sa.Integer, nullable=False),
    sa.Column("candidate", sa.Integer, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
)
_SAME_REQUEST = (_LABELS.c.model == _ANSWERS.c.model) & (_LABELS.c.request_id == _ANSWERS.c.request_id)


@dataclass(frozen=True)
class VersionOnTrial:
    """Two versions that answer live requests beside each other.

    Attributes:
        champion: The version that serves.
        candidate: The version on trial.
    """

    champion: int
    candidate: int

    def __str__(self) -> str:
        """Name both, as messages do."""
        return f"{version_name(self.champion)} and {version_name(self.candidate)}"


@dataclass(frozen=True)
class LiveAnswer:
    """One request, as it was answered.

    Attributes:
        model: The registered model.
        request_id: The ``X-Request-Id`` of the answer.
        at: When it was answered.
        rows: How many rows it had.
        champion: The version that serves.
        candidate: The version on trial beside it.
        champion_answers: JSON, see ``Predictions``; None if the champion was not asked.
        candidate_answers: The same of the candidate. With both answers it is a pair.
    """

    model: str
    request_id: str
    at: datetime
    rows: int
    champion: int
    candidate: int
    champion_answers: str | None
    candidate_answers: str | None

    @property
    def paired(self) -> bool:
        """Whether both versions answered."""
        return self.champion_answers is not None and self.candidate_answers is not None

    @property
    def trial(self) -> VersionOnTrial:
        """The two versions."""
        return VersionOnTrial(self.champion, self.candidate)


@dataclass(frozen=True)
class LiveCount:
    """Rows that a candidate scored beside the champion.

    Attributes:
        model: The registered model.
        key: Names this count: stored again it counts once.
        nominated: The number of the event by which the version became the candidate.
        champion: The version that serves.
        candidate: The version on trial beside it.
        rows: How many, at least one.
    """

    model: str
    key: str
    nominated: int
    champion: int
    candidate: int
    rows: int


@dataclass(frozen=True)
class Predictions:
    """What one version answered to a request, stored as ``{"predictions": [...], "classes": [...]}``.

    Attributes:
        values: One per row: of a classification the list of probabilities; None is what JSON cannot hold.
        classes: Of a classification: its labels in the order of the probabilities.
    """

    values: Sequence[Any]
    classes: tuple[str, ...] = ()


class LiveStore:
    """The stored answers, labels and counts of all models.

    Args:
        ledger: In whose database they are.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._engine = ledger.engine

    def write(self, answers: Sequence[LiveAnswer]) -> list[LiveAnswer]:
        """Store requests of one model and return those that were not there yet.

        Raises:
            Outage: The database did not answer.
            PodiumError: It has no such tables, or does not take them.
        """
        if not answers:
            return []
        statement = insert(_ANSWERS).on_conflict_do_nothing().returning(_ANSWERS.c.request_id)
        by_id = {answer.request_id: answer for answer in reversed(answers)}
        values = [asdict(answer) for answer in by_id.values()]
        try:
            with outages(), self._engine.begin() as connection:
                return [by_id[request_id] for request_id in connection.scalars(statement, values)]
        except sa.exc.DBAPIError as error:
            raise PodiumError(f"the answers are not stored: {error.orig}") from error

    def find(self, model: str, request_id: str) -> LiveAnswer | None:
        """Return a stored request, or None.

        Raises:
            Outage: The database did not answer.
        """
        query = sa.select(_ANSWERS).where(_ANSWERS.c.model == model, _ANSWERS.c.request_id == request_id)
        with outages(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else LiveAnswer(**row._mapping)

    def add_labels(self, model: str, request_id: str, labels: Sequence[Any]) -> list[Any]:
        """Store the labels of a stored request, and return those that it has now: the first ones stay.

        Raises:
            Outage: The database did not answer.
        """
        key = {"model": model, "request_id": request_id}
        query = sa.select(_LABELS.c.labels).where(
            _LABELS.c.model == model, _LABELS.c.request_id == request_id
        )
        with outages(), self._engine.begin() as connection:
            text = orjson.dumps(labels).decode()
            connection.execute(insert(_LABELS).values(**key, labels=text).on_conflict_do_nothing())
            found: list[Any] = orjson.loads(connection.scalar(query) or b"[]")
        return found

    def add_count(self, count: LiveCount) -> None:
        """Store how many rows a candidate scored; the same count again changes nothing.

        Raises:
            Outage: The database did not answer.
            PodiumError: It has no such table, or does not take the count.
        """
        statement = insert(_COUNTS).values(**asdict(count)).on_conflict_do_nothing()
        with outages(), self._engine.begin() as connection:
            connection.execute(statement)

    def counted_rows(self, model: str, trial: VersionOnTrial, nominated: int) -> int:
        """Return how many rows a candidate scored beside the champion.

        Args:
            model: The registered model.
            trial: The two versions.
            nominated: The number of the event by which the version became the candidate.

        Raises:
            Outage: The database did not answer.
        """
        query = sa.select(sa.func.coalesce(sa.func.sum(_COUNTS.c.rows), 0)).where(
            _COUNTS.c.model == model,
            _COUNTS.c.champion == trial.champion,
            _COUNTS.c.candidate == trial.candidate,
            _COUNTS.c.nominated == nominated,
        )
        with outages(), self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def forget(self, model: str, before: datetime) -> int:
        """Delete answers and labels that were given before a moment, in small batches; return how many.

        The database takes no moment of the last day.

        Raises:
            Outage: The database did not answer.
            PodiumError: It does not take this, or is older than this Podium.
        """
        forget = sa.text("SELECT forget_live_answers(:model, :before, :most)")
        asked = {"model": model, "before": before, "most": _FORGOTTEN_AT_ONCE}
        forgotten = 0
        while True:
            with outages(), self._engine.begin() as connection:
                count = int(connection.scalar(forget, asked) or 0)
            forgotten += count
            if count < _FORGOTTEN_AT_ONCE:
                return forgotten

    def newest_trial(self, model: str) -> VersionOnTrial | None:
        """Return the two versions that answered last beside each other, or None."""
        query = (
            sa.select(_ANSWERS.c.champion, _ANSWERS.c.candidate)
            .where(_ANSWERS.c.model == model)
            .order_by(_ANSWERS.c.at.desc())
            .limit(1)
        )
        with outages(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else VersionOnTrial(*row)

    def read(
        self, model: str, trial: VersionOnTrial, since: datetime | None = None, *, labelled: bool = False
    ) -> Iterator[tuple[LiveAnswer, list[Any] | None]]:
        """Yield the requests of a trial with their labels (None: none yet) in bounded memory, by their time.

        Args:
            model: The registered model.
            trial: The two versions.
            since: Only what was answered from then on.
            labelled: Only those with labels, oldest first; else newest first.

        Raises:
            Outage: The database did not answer.
        """
        query = (
            sa.select(_ANSWERS, _LABELS.c.labels)
            .join(_LABELS, _SAME_REQUEST, isouter=not labelled)
            .where(
                _ANSWERS.c.model == model,
                _ANSWERS.c.champion == trial.champion,
                _ANSWERS.c.candidate == trial.candidate,
            )
            .order_by(_ANSWERS.c.at if labelled else _ANSWERS.c.at.desc(), _ANSWERS.c.request_id)
        )
        if since is not None:
            query = query.where(_ANSWERS.c.at >= since)
        with outages(), self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                values = dict(row._mapping)
                labels = values.pop("labels")
                yield LiveAnswer(**values), None if labels is None else orjson.loads(labels)


def read_predictions(text: str) -> Predictions:
    """Return what a ``LiveAnswer`` keeps of one version."""
    content = orjson.loads(text)
    return Predictions(content["predictions"], tuple(content.get("classes", ())))
