"""The automatic steps between training and the human: register, validate, nominate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypedDict

from podium.approval import find_decision
from podium.errors import NothingToDo, Refused, version_name
from podium.gates import CHAMPION, GateReport, Scores, evaluate
from podium.ledger import EventKind, Ledger, NewEvent
from podium.metrics import all_metrics, label_indices
from podium.registry import Alias, Registry, Tag, mlflow_errors
from podium.scoring import predict_probabilities
from podium.spec import Metric, ModelSpec
from podium.training import Holdout, TrainedRun, read_holdout

log = logging.getLogger(__name__)


class Nomination(TypedDict):
    """A candidate and the champion that it was compared with; goes from task to task."""

    model: str
    version: int
    champion: int | None


def register_version(
    registry: Registry, ledger: Ledger, spec: ModelSpec, trained: TrainedRun, run: str
) -> int:
    """Register a run's model; the same training run always has the same version.

    Raises:
        Outage: A part did not answer.
    """
    tags = {
        **trained.tags,
        Tag.VALIDATION_STATUS: "pending",
        Tag.APPROVAL_STATUS: "pending",
        Tag.LIFECYCLE_STAGE: "None",
    }
    with ledger.lock(spec.name):
        version = registry.register(spec.name, trained.run_id, trained.model_id, tags)
    ledger.append(
        NewEvent(
            event=EventKind.REGISTERED,
            model=spec.name,
            version=version.number,
            reason=f"trained as of {trained.tags[Tag.AS_OF][:10]}",
            run=run,
            key=f"registered:{spec.name}:{version.number}",
            details={"mlflow_run": trained.run_id, **trained.tags},
        )
    )
    log.info("%s %s is run %s.", spec.name, version_name(version.number), trained.run_id)
    return version.number


def validate_version(
    registry: Registry, ledger: Ledger, spec: ModelSpec, number: int, run: str
) -> GateReport:
    """Judge a version by the gates, beside the champion re-scored on the same rows; keep the report.

    The report goes to the version's MLflow run as JSON and Markdown, to the version's tags and to the ledger.

    Raises:
        Outage: A part did not answer: no report, neither a pass nor a refusal.
        PodiumError: The champion cannot be scored on these rows.
    """
    version = registry.version(spec.name, number)
    champion = registry.champion(spec.name)
    holdout = read_holdout(spec, version.run_id)
    scores = Scores(
        rows=len(holdout.examples),
        candidate=_score(registry, spec, number, holdout),
        references=_score_references(registry, spec, champion, holdout),
    )
    report = GateReport(spec.name, number, champion, scores, evaluate(spec.gates, scores))
    _keep(registry, version.run_id, report)
    ledger.append(
        NewEvent(
            event=EventKind.GATES_PASSED if report.passed else EventKind.GATES_REFUSED,
            model=spec.name,
            version=number,
            from_version=champion,
            reason=report.verdict(),
            run=run,
            key=f"gates:{run}:{report.digest()}",
            details=report.as_json(),
        )
    )
    log.info("%s\n%s", report.sentence(), report.markdown())
    return report


def nominate_version(registry: Registry, ledger: Ledger, report: Mapping[str, Any], run: str) -> Nomination:
    """Make a version that passed its gates the candidate.

    Args:
        registry: The model registry.
        ledger: The ledger.
        report: The gate report as JSON, of this run.
        run: The Airflow run.

    Raises:
        Refused: The gates said no.
        NothingToDo: The version is the champion already.
        Outage: A part did not answer.
    """
    model, number, champion = report["model"], report["version"], report["champion"]
    if not report["passed"]:
        raise Refused(report["sentence"])
    if champion == number:
        raise NothingToDo(f"{model} {version_name(number)} is the champion already: nothing to promote")
    nomination = Nomination(model=model, version=number, champion=champion)
    if find_decision(ledger, run) is not None:
        log.info("%s %s has its decision of this run already.", model, version_name(number))
        return nomination
    registry.set_alias(model, Alias.CANDIDATE, number)
    registry.set_tags(model, number, {Tag.LIFECYCLE_STAGE: "Staging", Tag.APPROVAL_STATUS: "pending"})
    ledger.append(
        NewEvent(
            event=EventKind.NOMINATED,
            model=model,
            version=number,
            from_version=champion,
            reason=report["verdict"],
            run=run,
            key=f"nominated:{run}",
        )
    )
    return nomination


def _score(registry: Registry, spec: ModelSpec, number: int, holdout: Holdout) -> dict[Metric, float]:
    inputs = holdout.examples.inputs
    probabilities = predict_probabilities(registry.load(spec.name, number), inputs, spec.labels)
    return all_metrics(label_indices(holdout.examples.label, spec.labels), probabilities)


def _score_references(
    registry: Registry, spec: ModelSpec, champion: int | None, holdout: Holdout
) -> dict[str, dict[Metric, float]]:
    truth = label_indices(holdout.examples.label, spec.labels)
    references = {name: all_metrics(truth, stored) for name, stored in holdout.baselines.items()}
    if champion is None:
        return references
    return {CHAMPION: _score(registry, spec, champion, holdout), **references}


def _keep(registry: Registry, run_id: str, report: GateReport) -> None:
    folder = f"gates/v{report.version}-against-{version_name(report.champion)}"
    with mlflow_errors(f"keeping the gate report of {report.model} {version_name(report.version)}"):
        registry.client.log_dict(run_id, report.as_json(), f"{folder}/report.json")
        registry.client.log_text(run_id, report.markdown(), f"{folder}/report.md")
    registry.set_tags(
        report.model,
        report.version,
        {
            Tag.VALIDATION_STATUS: "passed" if report.passed else "failed",
            Tag.GATES: report.verdict(),
        },
    )
