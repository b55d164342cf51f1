"""What is kept of a validation in MLflow: report, pictures, and the answers to try other gates on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from podium.errors import NotFound
from podium.gates.collection import JUDGED
from podium.gates.evidence import PREDICTIONS, Evidence, Side, read_sides, store_sides
from podium.gates.report import GateReport
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.registry.client import Registry, Version
from podium.training import holdout

# For pipelines that read files; of the newest validation.
PROMOTION_RESULT = "promotion_result.json"


@contextmanager
def downloaded_holdout(registry: Registry, version: Version) -> Iterator[Path]:
    """Hold a copy of the holdout that a version's training run stored.

    Raises:
        NotFound: The run has none.
        Outage: The store did not answer.
    """
    with TemporaryDirectory(prefix="podium-") as folder:
        yield registry.download_artifacts(version.run_id, holdout.FOLDER, Path(folder))


def keep(
    registry: Registry, version: Version, spec: ModelSpec, report: GateReport, evidence: Evidence
) -> None:
    """Write report, pictures and answers to the version's training run.

    Raises:
        Outage: The store did not answer.
    """
    # Drawing takes a second to import.
    from podium.gates.plots import gate_pictures

    sides = {JUDGED: evidence.candidate} | {name: evidence.references[name] for name in evidence.versions}
    kept = kept_in(report.version, report.champion)
    with TemporaryDirectory(prefix="podium-") as name:
        folder = Path(name)
        store_sides(folder, sides, spec.answer_columns)
        (folder / "report.md").write_text(report.markdown())
        for picture, figure in gate_pictures(report, spec.gates, evidence).items():
            figure.savefig(folder / f"{picture}.png")
        doing = f"keeping the gate report of {report.model} {version_name(report.version)}"
        registry.log_folder(version.run_id, folder, kept, doing=doing)
        for path in (f"{kept}/report.json", PROMOTION_RESULT):
            registry.log_json(version.run_id, report.as_json(), path, doing=doing)


def kept_sides(
    registry: Registry, version: Version, spec: ModelSpec, champion: int | None
) -> dict[str, Side]:
    """Read the answers that a validation kept.

    Raises:
        NotFound: There are none of this version against this champion.
        Outage: The store did not answer.
    """
    with TemporaryDirectory(prefix="podium-") as folder:
        path = registry.download_artifacts(version.run_id, kept_in(version.number, champion), Path(folder))
        if not (path / PREDICTIONS).is_file():
            name = f"{version.model} {version_name(version.number)}"
            raise NotFound(f"{name}: its validation kept no answers; validate it again")
        return read_sides(path, spec.answer_columns)


def kept_in(version: int, champion: int | None) -> str:
    """Return where among the artifacts of the training run a validation is kept."""
    return f"gates/v{version}-against-{version_name(champion)}"
