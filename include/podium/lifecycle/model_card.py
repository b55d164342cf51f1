"""The model card: what a version is for, what it was made of and how it did, for whoever meets it in MLflow.

The parts are those of Mitchell et al., "Model Cards for Model Reporting" (2019), https://arxiv.org/abs/1810.03993.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

from podium.gates.report import GateReport, cell
from podium.gates.stored_report import kept_in
from podium.model_file.profiles import Profile
from podium.model_file.spec import ModelSpec
from podium.names import Tag, short_commit, version_name
from podium.registry.client import Version
from podium.services import Services
from podium.training import search_result
from podium.training.tracking import SEARCH

ARTIFACT = "model_card.md"
# MLflow's database takes no longer one.
_LONGEST_DESCRIPTION = 5000
_ROWS_IN_SIGHT = 5


@dataclass(frozen=True)
class Training:
    """What a version's training run tells of itself.

    Attributes:
        lineage: The tags of the version.
        params: What the model was fitted with.
        search: The search before it, as ``search.json`` has it; None without one.
        pictures: Names and addresses of the pictures among the run's artifacts.
        profile: What it was trained in, if not in full.
    """

    lineage: Mapping[str, Any]
    params: Mapping[str, str]
    search: Mapping[str, Any] | None
    pictures: Mapping[str, str]
    profile: Profile | None


def write_model_card(
    services: Services, spec: ModelSpec, version: Version, report: GateReport, profile: Profile | None
) -> None:
    """Write the card to the version's training run, beside its pictures, and as much as fits as description.

    Raises:
        Outage: MLflow did not answer.
    """
    training = _training(services, version, report, profile)
    sections = card_sections(spec, training, report)
    text, name = "\n\n".join(sections) + "\n", f"{spec.name} {version_name(version.number)}"
    services.registry.log_text(version.run_id, text, ARTIFACT, doing=f"writing the model card of {name}")
    services.registry.describe_version(spec.name, version.number, description(sections))


def card_sections(spec: ModelSpec, training: Training, report: GateReport) -> list[str]:
    """Return the sections of the card as Markdown, what matters most first.

    Args:
        spec: The model file.
        training: What the training run tells.
        report: The version's newest gate report.
    """
    limits = spec.limits or ("None are written down in the model file (`limits`).",)
    slices = in_sight(report.slices_tables()) or ["", "No slice was scored."]
    tables = in_sight([*report.metrics_table(), *report.labels_table()])
    against = "no champion yet" if report.champion is None else f"champion {version_name(report.champion)}"
    judged = f"Judged as candidate {version_name(report.version)} against {against}."
    did = [f"**{cell(report.sentence())}.** {judged}", "", *report.warnings(), *tables]
    pictures = [f"![{name}]({address})" for name, address in training.pictures.items()]
    return [
        "\n".join([f"# {spec.name} {version_name(report.version)}", *_warning(spec, training.profile)]),
        _section("Purpose", [spec.description, "", _predicts(spec)]),
        _section("Limits", [f"- {limit}" for limit in limits]),
        _section("Made of", [f"- {name}: {fact}" for name, fact in _facts(spec, training).items()]),
        _section("How it did", did),
        _section("By slice", slices[1:]),
        _section("Gates", report.gates_list()),
        _section("After a promotion", after_promotion(spec)),
        _section("Pictures", pictures),
    ]


def after_promotion(spec: ModelSpec) -> list[str]:
    """Say how a champion of this model file is watched and monitored, as list items."""
    watch, monitoring = spec.watch, spec.monitoring
    if watch is None:
        watched = "No watch window: the model file has no section `watch`."
    else:
        command = f"`podium watch {spec.name}`"
        watched = f"Compared with the previous champion on the next {watch.rows:,} rows ({command})."
    if monitoring is None:
        return [f"- {watched}", "- Not monitored: the model file has no section `monitoring`."]
    harm = "nobody asks whether it does harm"
    if monitoring.tolerance is not None:
        harm = f"{spec.row_metric.replace('_', ' ')} may get worse by {monitoring.tolerance:g}"
    return [
        f"- {watched}",
        f"- Monitored in windows `{monitoring.windows}` (UTC): {harm}; at most one false alarm in "
        f"{monitoring.alarms.at_most_one_in:,} windows (`podium drift {spec.name}`).",
    ]


def in_sight(lines: Sequence[str]) -> list[str]:
    """Break tables, with an empty line between each two, into tables of five rows with the same head.

    MLflow shows the first five rows of a table, and nothing tells that there are more.
    """
    broken: list[str] = []
    for table in "\n".join(lines).strip("\n").split("\n\n"):
        head, rows = table.split("\n")[:2], table.split("\n")[2:]
        for begin in range(0, len(rows), _ROWS_IN_SIGHT):
            broken += ["", *head, *rows[begin : begin + _ROWS_IN_SIGHT]]
    return broken


def description(sections: Sequence[str]) -> str:
    """Return as many whole sections as a version's description can hold, and where the others are."""
    told, rest = sections[0], f"\n\nMore, and pictures, in `{ARTIFACT}` of the training run."
    for section in sections[1:-1]:
        longer = f"{told}\n\n{section}"
        if len(longer) + len(rest) > _LONGEST_DESCRIPTION:
            break
        told = longer
    return (told + rest)[:_LONGEST_DESCRIPTION]


def _training(services: Services, version: Version, report: GateReport, profile: Profile | None) -> Training:
    folders = ("", search_result.FOLDER, kept_in(report.version, report.champion))
    run = services.registry.run(version.run_id)
    files = [path for folder in folders for path in services.registry.artifacts(version.run_id, folder)]
    found = None
    if any(name.startswith(SEARCH) for name in run.metrics):
        with TemporaryDirectory(prefix="podium-") as folder:
            result = f"{search_result.FOLDER}/{search_result.RESULT}"
            found = json.loads(
                services.registry.download_artifacts(version.run_id, result, Path(folder)).read_text()
            )
    pictures = {
        Path(path).stem.replace("_", " "): _address(services, version.run_id, path)
        for path in files
        if path.endswith(".png")
    }
    params = {name: value for name, value in run.params.items() if name != Tag.PROFILE}
    return Training(version.tags, params, found, pictures, profile)


def _address(services: Services, run_id: str, path: str) -> str:
    """Return where MLflow shows an artifact; its pages make text of a picture without an address."""
    base = services.settings.mlflow_pages
    if not base.startswith(("http://", "https://")):
        return path
    return f"{base.rstrip('/')}/get-artifact?{urlencode({'path': path, 'run_uuid': run_id})}"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *lines])


def _warning(spec: ModelSpec, profile: Profile | None) -> list[str]:
    if profile is None:
        return []
    less = spec.profiles[profile].describe()
    return ["", f"**A {profile} version: {profile.purpose}, never promoted.** Trained on a sample: {less}."]


def _predicts(spec: ModelSpec) -> str:
    labels = f", one of {', '.join(spec.labels)}" if spec.labels else ""
    return (
        f"Owner: {spec.owner}. Predicts `{spec.data.label}` ({spec.task}{labels}) from "
        f"{len(spec.data.inputs)} inputs: {', '.join(f'`{name}`' for name in spec.data.inputs)}."
    )


def _facts(spec: ModelSpec, training: Training) -> dict[str, str]:
    lineage, found = training.lineage, training.search
    params = [f"`{_plain(name)}` = `{_plain(value)}`" for name, value in sorted(training.params.items())]
    pickle = lineage.get(Tag.PICKLE)
    return {
        "Data": f"`{spec.data.source}`, version `{lineage.get(Tag.DATA_VERSION, '')[:12]}`, as of "
        f"{lineage.get(Tag.AS_OF, 'unknown')[:10]}",
        "Rows": _plain(lineage.get(Tag.DATA_SOURCE, "unknown")),
        "Trained on": lineage.get(Tag.TRAINED_ON, "unknown"),
        "Judged on": lineage.get(Tag.JUDGED_ON, "unknown"),
        "Trainer": f"{_trainer(spec)}, commit `{short_commit(lineage.get(Tag.GIT_COMMIT, 'unknown'))}`",
        "Params": ", ".join(params) or "none",
        "Search": "none" if found is None else cell(found["in_words"]),
        "Files": f"sha256 of the manifest `{lineage.get(Tag.MANIFEST_DIGEST, '')[:12]}`",
        **({"Pickle": f"runs code when it is loaded; trusted because `{_plain(pickle)}`"} if pickle else {}),
    }


def _trainer(spec: ModelSpec) -> str:
    return f"`{spec.trainer}`" if spec.training is None else f"the Dag of the asset `{spec.training.asset}`"


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
