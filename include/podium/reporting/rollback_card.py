"""The card that asks whether to roll back: the evidence of a watch window, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.gates.report import cell
from podium.ledger.evidence import EvidenceStore
from podium.lifecycle.approval_policy import Request
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.reporting.approval_card import Pages, asks_of_itself
from podium.reporting.watched import bar, evidence_of
from podium.services import Services


def body(services: Services, spec: ModelSpec, request: Request, pages: Pages) -> str:
    """Return the card: what would change, what was seen and how sure it is, and the rules.

    All of it comes from the ledger.

    Raises:
        PodiumError: The evidence is not there, or was changed.
        Outage: The ledger did not answer.
    """
    new, old = version_name(request.champion), version_name(request.version)
    content = EvidenceStore(services.ledger).one(request.gates).read()
    return "\n".join(
        [
            f"**The watch window of {new} said {cell(request.why)}.**",
            "",
            f"{new} is champion and serves. If you approve, {old} is champion again, once its files are "
            f"proved and it predicts its stored example. If you reject, {new} stays champion.",
            "",
            *asks_of_itself(
                services,
                spec,
                request,
                pages,
                f"{new} stays. If anybody moves the champion, the request closes.",
            ),
            *_evidence(content),
        ]
    )


def _evidence(content: Mapping[str, Any]) -> list[str]:
    """Show what was asked and how near the answer yes each question is, with the digests of both versions."""
    rows = [
        f"| {one.name} | {bar(one.share)} {one.share:.0%} | {one.rows:,} | {cell(one.reason)} |"
        for one in evidence_of(content)
    ]
    sides = ", ".join(
        f"{version_name(content[side]['version'])} `{content[side]['digest'][:12]}`"
        for side in ("new", "old")
    )
    return [
        "| question | evidence | on | seen |",
        "|---|---|---|---|",
        *rows,
        "",
        f"At 100% the answer is yes. Files (sha256 of the manifests): {sides}.",
    ]
