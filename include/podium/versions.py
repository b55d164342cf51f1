"""A version from both sides: its manifest in the ledger, its bytes in the registry."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from podium.errors import BytesChanged
from podium.ledger import history
from podium.ledger.events import Event
from podium.names import version_name
from podium.registry.manifest import Manifest, check_same, downloaded
from podium.services import Services

log = logging.getLogger(__name__)


def manifest_of(events: Sequence[Event], model: str, number: int) -> Manifest:
    """Return the manifest of a version, as the ledger holds it.

    Raises:
        BytesChanged: There is none, so nobody can say which bytes are the right ones.
    """
    registered = history.registration(events, number)
    if registered is None:
        raise BytesChanged(
            f"{model} {version_name(number)}: the ledger holds no manifest of it; Podium did not register it"
        )
    return Manifest.from_json(registered.details["manifest"])


class VerifiedFiles(NamedTuple):
    """A copy of a version's files, and the manifest that they fit."""

    folder: Path
    manifest: Manifest


@contextmanager
def verified(
    services: Services, events: Sequence[Event], model: str, number: int, within: Path | None = None
) -> Iterator[VerifiedFiles]:
    """Hold a copy of a version's files that are exactly those that were registered, to load them from.

    Args:
        services: The registry, which has the files.
        events: The model's history, which has the manifest.
        model: The registered model.
        number: The version.
        within: The folder for the copy; without it that of temporary files.

    Raises:
        BytesChanged: A file differs, is missing, or was added; names it. Or there is no manifest.
        NotFound: There is no such version.
        DiskFull: There is no room for the copy.
        Outage: The registry or the store did not answer.
    """
    manifest = manifest_of(events, model, number)
    with downloaded(services.registry, model, number, manifest, within) as folder:
        check_same(manifest, folder, f"{model} {version_name(number)}")
        yield VerifiedFiles(folder, manifest)


def check_bytes(services: Services, events: Sequence[Event], model: str, number: int) -> Manifest:
    """Make sure that a version's files are exactly those that were registered; arguments as ``verified``.

    Returns:
        Their manifest.

    Raises:
        BytesChanged: A file differs, is missing, or was added; names it. Or there is no manifest.
        NotFound: There is no such version.
        Outage: The registry or the store did not answer.
    """
    with verified(services, events, model, number) as files:
        log.info("%s %s: its files are those that were registered.", model, version_name(number))
    return files.manifest
