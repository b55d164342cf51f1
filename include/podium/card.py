"""The approval card: what an approver needs to decide, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.approval import Request
from podium.errors import version_name
from podium.registry import Registry, Tag, Version
from podium.spec import ModelSpec


def subject(request: Request) -> str:
    """Return the card's headline."""
    champion = "the first champion" if request.champion is None else f"over {version_name(request.champion)}"
    return f"Promote {request.model} {version_name(request.version)} to champion, {champion}?"


def body(registry: Registry, spec: ModelSpec, request: Request, report: Mapping[str, Any]) -> str:
    """Return the card: candidate beside champion, every gate with its numbers, lineage and links.

    Raises:
        Outage: The registry did not answer.
    """
    candidate = registry.version(request.model, request.version)
    champion = None if request.champion is None else registry.version(request.model, request.champion)
    return "\n".join(
        [
            spec.description,
            "",
            f"**{report['sentence']}.**",
            "",
            str(report["markdown"]),
            "",
            *_lineage(registry, candidate, champion),
            "",
            f"A reason of at least {spec.approval.reason_min_length} characters is required, also to reject. "
            f"Who may decide: {', '.join(spec.approval.approvers)}. "
            f"Without a valid answer the request expires on {request.expires_at:%Y-%m-%d at %H:%M} UTC.",
        ]
    )


def _lineage(registry: Registry, candidate: Version, champion: Version | None) -> list[str]:
    sides = {f"candidate {version_name(candidate.number)}": candidate}
    if champion is not None:
        sides[f"champion {version_name(champion.number)}"] = champion
    rows = {
        "trained as of": [_tag(side, Tag.AS_OF)[:10] for side in sides.values()],
        "data version": [f"`{_tag(side, Tag.DATA_VERSION)[:12]}`" for side in sides.values()],
        "git commit": [f"`{_tag(side, Tag.GIT_COMMIT)[:12]}`" for side in sides.values()],
        "in MLflow": [_links(registry, side) for side in sides.values()],
    }
    return [
        "| | " + " | ".join(sides) + " |",
        "|---|" + "---|" * len(sides),
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()),
    ]


def _links(registry: Registry, version: Version) -> str:
    base = registry.tracking_uri.rstrip("/")
    run = f"{base}/#/experiments/{registry.experiment_id(version.run_id)}/runs/{version.run_id}"
    return f"[run]({run}), [version]({base}/#/models/{version.model}/versions/{version.number})"


def _tag(version: Version, tag: Tag) -> str:
    return version.tags.get(tag, "unknown")
