"""The section ``ramp`` of a model file: an approved version answers more and more clients, then all."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated

from pydantic import Field, StrictInt, field_validator

from podium.model_file.types import Closed, Duration


class EachStep(Closed):
    """What a step must have before the next one."""

    rows: StrictInt = Field(
        default=1000, ge=1, le=100_000_000, description="Rows of its clients that both versions were asked."
    )


class RampSpec(Closed):
    """How the share of an approved version is raised."""

    steps: tuple[Annotated[StrictInt, Field(ge=1, le=99)], ...] = Field(
        default=(5, 25, 50),
        min_length=1,
        max_length=20,
        description="Percent of the clients that the version answers, ascending; after the last it becomes "
        "champion.",
    )
    each: EachStep = Field(
        default=EachStep(), description="The evidence that each step must have before the next one."
    )
    at_most: Duration = Field(
        default=timedelta(days=7),
        description="The ramp stops where it is after that time; the promotion must begin before.",
    )

    @field_validator("steps")
    @classmethod
    def _steps_ascend(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if any(after <= before for before, after in pairwise(steps)):
            raise ValueError("each step must be more than the one before")
        return steps
