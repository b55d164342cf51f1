"""Profiles: lifecycle runs on less, to try the wiring; what they make is never promoted, nor served as such.

A version of a profile bears the alias of the profile's name. Only a registry that is thrown away afterwards
(``PODIUM_EPHEMERAL=true``) promotes one, so that a CI job can prove the whole lifecycle. What counts is the
profile in the ledger's registration, never a tag. See docs/adr/0010-profiles-are-never-promoted.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field, StrictFloat, StrictInt

from podium.errors import PodiumError, ProfileOnly, version_name
from podium.model_file.gates import TaggedGate
from podium.model_file.types import Closed, Name, Scalar

if TYPE_CHECKING:
    from podium.ledger.events import Event

# Under this name the registration in the ledger holds the profile; a full run's has none.
PROFILE = "profile"
# A side of the split that a profile makes smaller keeps at least so many rows: 0.1% of a few thousand
# matches would be fewer than any trainer can learn from.
FEWEST_ROWS = 200
_EPHEMERAL = "PODIUM_EPHEMERAL=true, for registries that are thrown away"


class Profile(StrEnum):
    """The kinds of a run on less, and the aliases of what they make."""

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
    """What a run of a profile does with less.

    Attributes:
        rows: Share of the examples on each side of the split, 0 to 1, chosen by content after the examples
            were made; at least ``FEWEST_ROWS`` a side. All without it.
        trials: Trials of the search instead of ``search.trials``.
        params: Values that replace those under ``params``; of a param of the search it is the one value.
        gates: The rules that its versions are judged by; without it those of the model.
    """

    rows: StrictFloat | None = Field(default=None, gt=0, le=1)
    trials: StrictInt | None = Field(default=None, ge=1, le=10_000)
    params: dict[Name, Scalar] = Field(default_factory=dict)
    gates: tuple[TaggedGate, ...] | None = Field(default=None, min_length=1)

    def in_words(self) -> str:
        """Say what is less, for people who meet such a version."""
        said = (
            [] if self.rows is None else [f"{self.rows:.1%} of the examples, at least {FEWEST_ROWS} a side"]
        )
        if self.trials is not None:
            said.append(f"{self.trials} trials of the search")
        if self.gates is not None:
            said.append("gates of its own")
        return ", ".join(said) or "as the model file says"


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


def profile_of(registered: Event | None) -> Profile | None:
    """Return the profile that a version was trained in, by its registration; None for a full one."""
    name = None if registered is None else registered.details.get(PROFILE)
    return None if name is None else Profile(name)


def promotion_problem(registered: Event | None, *, ephemeral: bool) -> str:
    """Say why a version must not become champion for the profile that it was trained in; "" if it may.

    Args:
        registered: The version's registration in the ledger (``podium.ledger.history.registration``).
        ephemeral: What ``podium.settings.registry_is_ephemeral`` says.
    """
    profile = profile_of(registered)
    if registered is None or profile is None or ephemeral:
        return ""
    return (
        f"{registered.model} {version_name(registered.version)} is a {profile} version: {profile.purpose}, "
        f"never promoted. Run the lifecycle without a profile (promoted only with {_EPHEMERAL})"
    )


def refuse_to_serve(alias: str | None, registered: Event | None, *, ephemeral: bool) -> None:
    """Refuse to serve what was made of toy data, before anything of it is loaded.

    Args:
        alias: The alias that the server follows, if it follows one: ``ci-smoke`` is refused always.
        registered: The version's registration in the ledger (``ledger.history.registration``), if the version
            is known yet.
        ephemeral: What ``podium.settings.registry_is_ephemeral`` says.

    Raises:
        ProfileOnly: It is wiring only; says what to do.
    """
    if alias == Profile.CI_SMOKE:
        raise ProfileOnly(
            f"the alias '{alias}' is not served: its versions are made of toy data, to check the wiring "
            "only. Serve 'champion'"
        )
    if registered is not None and profile_of(registered) is Profile.CI_SMOKE and not ephemeral:
        raise ProfileOnly(
            f"{registered.model} {version_name(registered.version)} is not served: it is a "
            f"{Profile.CI_SMOKE} version, {Profile.CI_SMOKE.purpose}. Serve 'champion', or a version trained "
            f"without a profile (served only with {_EPHEMERAL})"
        )
