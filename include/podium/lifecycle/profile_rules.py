"""Profiles: lifecycle runs on less, to try the wiring; what they make is never promoted, nor served as such.

A version of a profile bears the alias of the profile's name. Only a registry that is thrown away afterwards
(``PODIUM_EPHEMERAL=true``) promotes one, so that a CI job can prove the whole lifecycle. What counts is the
profile in the ledger's registration, never a tag. See docs/adr/0010-profiles-are-never-promoted.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from podium.errors import ProfileOnly
from podium.ledger.events import Event
from podium.ledger.history import profile_of, registration
from podium.model_file.profiles import Profile
from podium.names import version_name
from podium.settings import registry_is_ephemeral

_EPHEMERAL = "PODIUM_EPHEMERAL=true, for disposable registries"


def promotion_problem(events: Sequence[Event], version: int) -> str:
    """Say why a version must not become champion for the profile that it was trained in; "" if it may.

    Args:
        events: The model's history.
        version: The version.

    Raises:
        PodiumError: ``PODIUM_EPHEMERAL`` says neither true nor false.
    """
    registered, profile = registration(events, version), profile_of(events, version)
    if registered is None or profile is None or registry_is_ephemeral():
        return ""
    return (
        f"{registered.model} {version_name(version)} is a {profile} version: {profile.purpose}, "
        f"never promoted. Run the lifecycle without a profile (promoted only with {_EPHEMERAL})"
    )


def refuse_alias(alias: str | None) -> None:
    """Refuse to serve an alias whose versions are made of toy data.

    Args:
        alias: The alias that is to be followed, if one is.

    Raises:
        ProfileOnly: It is ``ci-smoke``; says what to do.
    """
    if alias == Profile.CI_SMOKE:
        raise ProfileOnly(
            f"the alias '{alias}' is not served: its versions are trained on toy data, to check the wiring "
            "only. Serve 'champion'"
        )


def refuse_to_serve(events: Sequence[Event], version: int) -> None:
    """Refuse to serve a version that was made of toy data, before anything of it is loaded.

    Args:
        events: The model's history.
        version: The version.

    Raises:
        ProfileOnly: It is wiring only, and the registry is none that is thrown away; says what to do.
        PodiumError: ``PODIUM_EPHEMERAL`` says neither true nor false.
    """
    registered = registration(events, version)
    if registered is None or profile_of(events, version) is not Profile.CI_SMOKE or registry_is_ephemeral():
        return
    raise ProfileOnly(
        f"{registered.model} {version_name(version)} is not served: it is a {Profile.CI_SMOKE} version, "
        f"{Profile.CI_SMOKE.purpose}. Serve 'champion', or a version trained without a profile (served only "
        f"with {_EPHEMERAL})"
    )
