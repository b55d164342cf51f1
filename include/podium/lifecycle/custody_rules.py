"""What may not be used any more: versions in quarantine or deleted, ended models, damaged ones."""

from __future__ import annotations

from collections.abc import Sequence

from podium.errors import Damaged, OutOfUse, Retired
from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.names import in_utc, version_name


def use_problem(events: Sequence[Event], version: int) -> str:
    """Say why retention lets nobody use a version; "" if it does.

    Args:
        events: The model's history.
        version: The version.
    """
    custody = history.custody(events, version)
    if custody is None or custody.event is EventKind.RESTORED:
        return ""
    name = f"{custody.model} {version_name(version)}"
    if custody.event is EventKind.DELETED:
        return f"{name} was deleted on {in_utc(custody.at)} by {custody.actor}; {_what_it_was(custody)}"
    if custody.event is EventKind.DELETION_STARTED:
        return f"{name} is being deleted since {in_utc(custody.at)}, by {custody.actor}"
    return (
        f"{name} is in quarantine since {in_utc(custody.at)}: {custody.reason}. To use it again, an approver "
        f"restores it: `podium restore {custody.model} {version} --reason ...`"
    )


def refuse_out_of_use(events: Sequence[Event], version: int) -> None:
    """Refuse a version that is in quarantine, or that retention deleted.

    Raises:
        OutOfUse: It is; says since when, by whom, and how to get it back.
    """
    if problem := use_problem(events, version):
        raise OutOfUse(problem)


def retired_problem(events: Sequence[Event]) -> str:
    """Say that a model was ended, when, by whom and why; "" if it goes on."""
    ended = history.retirement(events)
    if ended is None:
        return ""
    return f"{ended.model} was retired on {in_utc(ended.at)} by {ended.actor}: {ended.reason}"


def refuse_retired(events: Sequence[Event]) -> None:
    """Refuse to run anything for a model that was ended.

    Raises:
        Retired: It was.
    """
    if problem := retired_problem(events):
        raise Retired(problem)


def refuse_damaged(events: Sequence[Event]) -> None:
    """Refuse to move or delete anything of a model whose files were changed while others were deleted.

    Raises:
        Damaged: They were; names the files.
    """
    damaged = history.damage(events)
    if damaged is None:
        return
    files = "; ".join(damaged.details[history.DAMAGES])
    raise Damaged(
        f"{damaged.model}: nothing moves since {in_utc(damaged.at)}: {files} "
        "Restore these files from a backup, then run retention again: it looks again, and ends this"
    )


def _what_it_was(deleted: Event) -> str:
    digest = str(deleted.details.get("manifest_digest", ""))[:12]
    return f"its files had the digest {digest}, and its record stays"
