"""What a version's rows are counted on, as the ledger has it: it goes before what the version's files say."""

from __future__ import annotations

from podium.ledger.events import EventKind
from podium.ledger.evidence import EvidenceStore
from podium.ledger.store import Ledger
from podium.metrics.reference import Reference
from podium.metrics.reference_file import read_reference


def reference_on_record(ledger: Ledger, model: str, version: int) -> tuple[str, Reference] | None:
    """Return the newest reference of a version and the digest of its evidence; None if none is on record.

    Args:
        ledger: The record.
        model: The registered model.
        version: The version.

    Raises:
        PodiumError: Its evidence is not there.
        Outage: The ledger's database did not answer.
    """
    events = ledger.history(model, kinds=[EventKind.REFERENCE_MADE])
    made = [event for event in events if event.version == version]
    if not made:
        return None
    digest = str(made[-1].details.get("digest"))
    return digest, read_reference(EvidenceStore(ledger).one(digest).read())
