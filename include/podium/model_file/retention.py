"""The section ``retention`` of a model file: which versions stay, and for how long what is not kept waits."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictFloat, StrictInt, model_validator

from podium.model_file.types import Closed, Duration, WrongKey, looks_like

_BEST = re.compile(r"best ([1-9][0-9]{0,3})", re.ASCII)
_SHORTEST_RUN = timedelta(days=1)


def _parse_best(value: object) -> object:
    found = _BEST.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be `best N`, such as `best 3` (N from 1 to 9999); leave it out to keep all")
    return int(found[1])


_Best = Annotated[int, BeforeValidator(_parse_best), looks_like(_BEST.pattern, "best 3")]


def _check_longest_run(longest: timedelta) -> timedelta:
    if longest < _SHORTEST_RUN:
        raise ValueError("must be at least 1d: a model that was just logged has no version yet")
    return longest


_LongestRun = Annotated[Duration, AfterValidator(_check_longest_run)]


class AskAboveSpec(Closed):
    """How much may go at once before an approver is asked."""

    versions: StrictInt = Field(default=50, ge=0, description="Versions that may go in one run.")
    gigabytes: StrictFloat | StrictInt = Field(
        default=50, ge=0, description="Gigabytes (10^9 bytes) that may go in one run."
    )


class RetentionSpec(Closed):
    """Which versions stay; a rule that keeps a version always beats one that lets it go."""

    former_champions: StrictInt = Field(
        default=3, ge=1, description="Former champions to keep, the newest; the first is the way back."
    )
    versions: StrictInt = Field(default=20, ge=0, description="The newest versions to keep.")
    days: StrictInt = Field(
        default=90, ge=0, le=36_500, description="Versions are kept so long after registration or restore."
    )
    quarantine_days: StrictInt = Field(
        default=14, ge=1, le=3_650, description="How long a version can be restored before it is deleted."
    )
    live_answers: Duration = Field(
        default=timedelta(days=90), description="Answers and labels of model servers are kept so long."
    )
    retired_days: StrictInt = Field(
        default=90, ge=1, le=3_650, description="How long a retired model keeps all versions."
    )
    ask_above: AskAboveSpec = Field(
        default=AskAboveSpec(), description="More than this at once goes only if an approver allows it."
    )

    longest_run: _LongestRun = Field(
        default=timedelta(days=30),
        description="Longer than any run, from training to registration: models without a version wait "
        "so long, twice.",
    )
    trials: _Best | None = Field(
        default=None,
        description="Only the best trials of a version's search stay, after `quarantine_days`.",
    )

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not self.versions and not self.days:
            raise WrongKey("keeps nothing, since days is 0 too; one of the two must be above 0", "versions")
        return self
