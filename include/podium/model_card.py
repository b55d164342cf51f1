"""The model card: what a version is for, what it was made of and how it did, for whoever meets it in MLflow.

The parts are those of Mitchell et al., "Model Cards for Model Reporting" (2019), https://arxiv.org/abs/1810.03993.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.errors import version_name
from podium.gate_report import GateReport, cell
from podium.registry import Registry, Version, mlflow_errors
from podium.spec import ModelSpec
from podium.tags import Tag

ARTIFACT = "model_card.md"
# MLflow's database takes no longer one; the tables of the gates are in the artifact.
_LONGEST_DESCRIPTION = 5000


def write_model_card(registry: Registry, spec: ModelSpec, version: Version, report: GateReport) -> None:
    """Write the card to the version's training run, beside its pictures, and its head as the description.

    Raises:
        Outage: MLflow did not answer.
    """
    summary = card_summary(spec, version.tags, report)
    card = f"{summary}\n{report.markdown()}\n"
    with mlflow_errors(f"writing the model card of {spec.name} {version_name(version.number)}"):
        registry.client.log_text(version.run_id, card, ARTIFACT)
        registry.client.update_model_version(spec.name, str(version.number), summary[:_LONGEST_DESCRIPTION])


def card_summary(spec: ModelSpec, lineage: Mapping[str, Any], report: GateReport) -> str:
    """Return the card without the tables of the gates, as Markdown.

    Args:
        spec: The model file.
        lineage: The tags of the version.
        report: Its newest gate report.
    """
    labels = f", one of {', '.join(spec.labels)}" if spec.labels else ""
    limits = spec.limits or ("None are written down in the model file (`limits`).",)
    facts = {
        "Data": f"`{spec.data.source}`, version `{lineage.get(Tag.DATA_VERSION, '')[:12]}`",
        "Trained on": lineage.get(Tag.TRAINED_ON, "unknown"),
        "Judged on": lineage.get(Tag.JUDGED_ON, "unknown"),
        "Trainer": f"`{spec.trainer}`, commit `{lineage.get(Tag.GIT_COMMIT, 'unknown')[:12]}`",
        "Files": f"sha256 of the manifest `{lineage.get(Tag.MANIFEST_DIGEST, '')[:12]}`",
    }
    return "\n".join(
        [
            f"# {spec.name} {version_name(report.version)}",
            "",
            spec.description,
            "",
            f"Owner: {spec.owner}. Predicts `{spec.data.label}` ({spec.task}{labels}) from "
            f"{len(spec.data.inputs)} inputs: {', '.join(f'`{name}`' for name in spec.data.inputs)}.",
            "",
            "## Limits",
            "",
            *(f"- {limit}" for limit in limits),
            "",
            "## Made of",
            "",
            *(f"- {name}: {fact}" for name, fact in facts.items()),
            "",
            "## How it did",
            "",
            f"**{cell(report.sentence())}.** Every gate with its numbers is in `{ARTIFACT}` of the training "
            "run, and pictures beside it.",
            "",
        ]
    )
