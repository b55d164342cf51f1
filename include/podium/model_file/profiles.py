"""The section `profiles`: trial runs of the lifecycle on a sample of the data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field, StrictFloat, StrictInt

from podium.errors import PodiumError
from podium.model_file.gates import TaggedGate
from podium.model_file.types import Closed, Name, Param

# A side of the split that a profile makes smaller keeps at least so many rows: 0.1% of a few thousand
# matches would be fewer than any trainer can learn from.
FEWEST_ROWS = 200


class Profile(StrEnum):
    """The trial runs, and the aliases of their versions."""

    CI_SMOKE = "ci-smoke"
    SMOKE = "smoke"

    @property
    def purpose(self) -> str:
        """What such a version is good for."""
        return {
            Profile.CI_SMOKE: "toy data, wiring only",
            Profile.SMOKE: "a trial of the lifecycle on real data",
        }[self]


class ProfileSpec(Closed):
    """What a trial run reduces."""

    rows: StrictFloat | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the examples on each side of the split, chosen by content; at least "
        f"{FEWEST_ROWS} a side.",
    )
    trials: StrictInt | None = Field(
        default=None, ge=1, le=10_000, description="Trials of the search, instead of `search.trials`."
    )
    params: dict[Name, Param] = Field(
        default_factory=dict,
        description="Values that replace those under `params`; a param named here is not searched.",
    )
    gates: tuple[TaggedGate, ...] | None = Field(
        default=None, min_length=1, description="The gates of its versions, instead of the model's."
    )

    def describe(self) -> str:
        """Say what is less, for people who meet such a version."""
        said = (
            [] if self.rows is None else [f"{self.rows:.1%} of the examples, at least {FEWEST_ROWS} a side"]
        )
        if self.trials is not None:
            said.append(f"{self.trials} trials of the search")
        if self.gates is not None:
            said.append("gates of its own")
        return ", ".join(said) or "as in the model file"


def named_profile(name: str | None, there: Mapping[Profile, ProfileSpec], model: str) -> Profile | None:
    """Return the profile of a name that a form or an option gave; None for a full run.

    Raises:
        PodiumError: The model file has no such profile; names those that it has.
    """
    if not name:
        return None
    if name not in there:
        allowed = ", ".join(there) or "none; the model file's key profiles says what each is"
        raise PodiumError(f"{model}: profile: no profile '{name}'; allowed: {allowed}")
    return Profile(name)
