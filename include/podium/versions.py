"""A version from both sides: its manifest in the ledger, its bytes in the registry."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from podium.errors import BytesChanged
from podium.ledger import history
from podium.ledger.events import Event
from podium.names import version_name
from podium.registry.client import Registry
from podium.registry.manifest import Manifest, check_same, downloaded

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


@contextmanager
def verified(registry: Registry, model: str, number: int, manifest: Manifest) -> Iterator[Path]:
    """Hold a copy of a version's files that are exactly those of its manifest, to load them from.

    Raises:
        BytesChanged: A file differs, is missing, or was added; names it.
        NotFound: There is no such version.
        Outage: The registry or the store did not answer.
    """
    with downloaded(registry, model, number) as folder:
        check_same(manifest, folder, f"{model} {version_name(number)}")
        yield folder


def check_bytes(registry: Registry, model: str, number: int, manifest: Manifest) -> None:
    """Make sure that a version's files are exactly those of its manifest.

    Raises:
        BytesChanged: A file differs, is missing, or was added; names it.
        NotFound: There is no such version.
        Outage: The registry or the store did not answer.
    """
    with verified(registry, model, number, manifest):
        log.info("%s %s: its files are those that were registered.", model, version_name(number))
