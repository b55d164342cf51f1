"""Profiles: lifecycle runs on less, to try the wiring; what they make is never promoted, nor served as such.

A version of a profile bears the alias of the profile's name. Only a registry that is thrown away afterwards
(``PODIUM_EPHEMERAL=true``) promotes one, so that a CI job can prove the whole lifecycle. What counts is the
profile in the ledger's registration, never a tag. See docs/adr/0010-profiles-are-never-promoted.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.errors import ProfileOnly
from podium.ledger.history import profile_of
from podium.model_file.profiles import Profile
from podium.names import version_name

if TYPE_CHECKING:
    from podium.ledger.events import Event

_EPHEMERAL = "PODIUM_EPHEMERAL=true, for registries that are thrown away"


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
