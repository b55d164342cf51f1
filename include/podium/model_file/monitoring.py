"""The section ``monitoring`` of a model file: which windows of a model's rows are judged, and how."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StrictFloat, StrictInt

from podium.model_file.scoring import VARIABLE, Place
from podium.model_file.types import Closed, Cron, Duration, ImportPath, Name


class AlarmsSpec(Closed):
    """How rarely an alarm may be false."""

    at_most_one_in: StrictInt = Field(
        default=1000,
        ge=10,
        le=1_000_000,
        description="Windows in which the model may raise one false alarm at most, on average.",
    )


class RetrainingSpec(Closed):
    """How often a training starts automatically."""

    at_most_a_week: StrictInt = Field(default=1, ge=0, le=100, description="Trainings in any seven days.")
    cool_down: Duration = Field(
        default=timedelta(days=7),
        description="Time between two of them, and from the champion's data to the first.",
    )


class LabelsSpec(Closed):
    """Labels that come later than the rows that are scored."""

    source: Place = Field(
        description="Labels by `scoring.keys`: a file, folder or pattern with `*`, also `s3://`, or `sql:` "
        "and a query."
    )
    database: Annotated[str, Field(pattern=VARIABLE)] | None = Field(
        default=None, description="With `sql:` only: the environment variable with the database's URL."
    )
    wait: StrictInt = Field(
        default=4,
        ge=0,
        le=100,
        description="Earlier windows looked at again while labels are missing.",
    )


class MonitoringSpec(Closed):
    """Which windows are judged, and how."""

    windows: Cron = Field(
        description="When a window ends and the next begins, as a cron expression in UTC.",
    )
    alarms: AlarmsSpec = Field(default=AlarmsSpec(), description="The promise on false alarms.")
    match: Literal["weekday", "month"] | None = Field(
        default=None,
        description="Compare a window only with those of the same weekday or month, by its start.",
    )
    min_rows: StrictInt = Field(
        default=30, ge=1, le=1_000_000, description="A window of fewer rows is not judged."
    )
    tolerance: Annotated[StrictFloat, Field(ge=0)] | None = Field(
        default=None,
        description="How much worse than at promotion the first gated mean over rows may be; without it "
        "harm is not judged.",
    )
    weights: dict[Name, Annotated[StrictFloat, Field(ge=0)]] = Field(
        default_factory=dict,
        description="How much each input matters, by name; no input has less than a tenth of an equal share.",
    )
    rows: Literal["server"] | None = Field(
        default=None,
        description="`server`: what model servers counted; without it the rows of `scoring.source`, or those "
        "of `data.source`.",
    )
    detectors: list[ImportPath] = Field(
        default_factory=list,
        description="Own functions `f(reference, window)` that return a number: the greater, the further.",
    )
    retrain_on: Literal["inputs"] | None = Field(
        default=None,
        description="`inputs`: moved inputs start a training, too.",
    )
    labels: LabelsSpec | None = Field(
        default=None, description="Labels of scored rows; rows of `data.source` have their own."
    )
    retraining: RetrainingSpec = Field(
        default=RetrainingSpec(), description="Limits of trainings that start automatically."
    )
