"""The approval card: what an approver needs to decide, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podium.approval import Request
from podium.errors import version_name
from podium.parts import Parts
from podium.registry import Tag, Version
from podium.spec import ModelSpec


def subject(request: Request) -> str:
    """Return the card's headline."""
    champion = "the first champion" if request.champion is None else f"over {version_name(request.champion)}"
    return f"Promote {request.model} {version_name(request.version)} to champion, {champion}?"


def body(parts: Parts, spec: ModelSpec, request: Request, report: Mapping[str, Any]) -> str:
    """Return the card: candidate beside champion, every gate with its numbers, lineage and links.

    Raises:
        Outage: The registry did not answer.
    """
    numbers = [request.version] if request.champion is None else [request.version, request.champion]
    sides = [parts.registry.version(request.model, number) for number in numbers]
    return "\n".join(
        [
            spec.description,
            "",
            f"**{report['sentence']}.**",
            "",
            str(report["markdown"]),
            "",
            *_lineage(parts, sides),
            "",
            f"A reason of at least {spec.approval.reason_min_length} characters is required, also to reject. "
            f"Who may decide: {', '.join(spec.approval.approvers)}. "
            f"Without a valid answer the request expires on {request.expires_at:%Y-%m-%d at %H:%M} UTC.",
        ]
    )


def _lineage(parts: Parts, sides: Sequence[Version]) -> list[str]:
    names = [
        f"{role} {version_name(side.number)}"
        for role, side in zip(("candidate", "champion"), sides, strict=False)
    ]
    rows = {
        "trained on": [_tag(side, Tag.TRAINED_ON) for side in sides],
        "judged on (its own holdout)": [_tag(side, Tag.JUDGED_ON) for side in sides],
        "as of": [_tag(side, Tag.AS_OF)[:10] for side in sides],
        "data version": [f"`{_tag(side, Tag.DATA_VERSION)[:12]}`" for side in sides],
        "git commit": [f"`{_tag(side, Tag.GIT_COMMIT)[:12]}`" for side in sides],
        "in MLflow": [_links(parts, side) for side in sides],
    }
    return [
        "| | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()),
    ]


def _links(parts: Parts, version: Version) -> str:
    base = (parts.settings.mlflow_public_url or parts.settings.mlflow_tracking_uri).rstrip("/")
    run = f"{base}/#/experiments/{parts.registry.experiment_id(version.run_id)}/runs/{version.run_id}"
    return f"[run]({run}), [version]({base}/#/models/{version.model}/versions/{version.number})"


def _tag(version: Version, tag: Tag) -> str:
    return version.tags.get(tag, "unknown")
