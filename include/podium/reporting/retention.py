"""What retention decided, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from podium.lifecycle.orphans import Orphan
from podium.lifecycle.retention_rules import Action, Verdict, size_text
from podium.names import in_utc, version_name


def verdict_lines(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Yield a line for each version that is there: what happens to it, its size and age, or why it stays."""
    for one in verdicts:
        record = one.facts.record
        about = f"({size_text(record.size)}, of {in_utc(record.registered_at)})"
        if one.action is Action.QUARANTINE:
            yield f"{version_name(one.number)} goes to quarantine {about}"
        elif one.action is Action.DELETE:
            yield f"{version_name(one.number)} is deleted {about}"
        elif one.action is not Action.GONE:
            yield str(one)


def orphan_lines(orphans: Mapping[str, Orphan], longest_run: timedelta) -> Iterator[str]:
    """Yield a line for each reported model that no version names: its size and age, and when it goes."""
    for one in orphans.values():
        yield f"no version names {one}; it is deleted after {in_utc(one.since + longest_run)}"


def orphan_json(orphan: Orphan, longest_run: timedelta) -> dict[str, Any]:
    """Return a reported model that no version names as plain JSON values."""
    until = (orphan.since + longest_run).isoformat()
    about = {"model_id": orphan.place, **orphan.as_json()}
    return {"version": None, "action": "orphan", "until": until, **about}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain JSON values."""
    record = verdict.facts.record
    return {
        "version": verdict.number,
        "action": str(verdict.action),
        "reasons": [reason.text for reason in verdict.reasons],
        "until": None if verdict.until is None else verdict.until.isoformat(),
        "bytes": record.size,
        "registered_at": record.registered_at.isoformat(),
        "manifest_digest": record.digest,
    }
