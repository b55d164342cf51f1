"""Validate: a version is judged by its gates, beside the champion scored again on the same rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from podium.gates import stored_report
from podium.gates.collection import Case, assemble, score_sides, versions_to_compare
from podium.gates.evidence import Evidence
from podium.gates.report import GateReport
from podium.gates.rules import evaluate, scores_of
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import PROFILE, profile_of
from podium.lifecycle import canary
from podium.lifecycle.approval import gate_report
from podium.lifecycle.custody_rules import refuse_out_of_use
from podium.lifecycle.model_card import write_model_card
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, witnessed
from podium.model_file.profiles import named_profile
from podium.model_file.spec import ModelSpec
from podium.names import CHAMPION
from podium.services import Services

log = logging.getLogger(__name__)


def validate_version(services: Services, spec: ModelSpec, number: int, run: str) -> GateReport:
    """Judge a version by the gates, beside the champion re-scored on the same rows; keep the report.

    The report goes to the version's MLflow run as JSON, Markdown and pictures, to its tags and to the ledger.

    Raises:
        OutOfUse: The version, or one to compare it with, is in quarantine.
        BytesChanged: The files of the version or of the champion are not those that were registered.
        Outage: A part did not answer, or the champion cannot be scored: no report, neither pass nor refusal.
        PodiumError: A baseline file or an own metric function cannot be used.
    """
    witnessed(services, spec.name)
    version = services.registry.version(spec.name, number)
    spec = _as_trained(spec, services.ledger.present(spec.name, number), number)
    versions = versions_to_compare(services.registry, spec, number)
    events = services.ledger.present(spec.name, number, *versions.values())
    for loaded in (number, *versions.values()):
        refuse_out_of_use(events, loaded)
    with stored_report.downloaded_holdout(services.registry, version) as folder:
        case = Case(services, events, spec, version, folder)
        sides = score_sides(case, versions)
        evidence = assemble(case, sides, versions)
    report = _report(spec, number, evidence)
    stored_report.keep(services.registry, version, spec, report, evidence)
    profile = profile_of(events, number)
    write_model_card(services, spec, version, report, profile)
    judged = NewEvent(
        event=EventKind.GATES_PASSED if report.passed else EventKind.GATES_REFUSED,
        model=spec.name,
        version=number,
        from_version=report.champion,
        reason=report.verdict(),
        run=run,
        key=f"gates:{run}:{report.digest()}",
        details={
            **report.as_json(),
            "digest": report.digest(),
            canary.TERMS: canary.required_terms(spec.gates),
            canary.LABELS: list(spec.labels),
            **({PROFILE: str(profile)} if profile else {}),
        },
    )
    with services.ledger.lock(spec.name):
        record(services, judged)
        mirror(services, spec.name)
    for line in report.lines():
        log.info("%s", line)
    return report


def replay_gates(services: Services, spec: ModelSpec, number: int) -> GateReport:
    """Judge a version by other gates, on the answers that its newest validation kept; nothing is recorded.

    Args:
        services: The registry and the ledger.
        spec: The model file with the gates to try.
        number: A version that was validated.

    Raises:
        NotFound: The version was not validated, or its validation kept no answers.
        OutOfUse: It is in quarantine, or retention deleted it.
        DataError: The kept answers are of other labels than the model file's.
        Outage: A part did not answer.
    """
    champion = gate_report(services.ledger.present(spec.name, number), number).from_version
    events = services.ledger.present(spec.name, number, champion)
    refuse_out_of_use(events, number)
    spec = _as_trained(spec, events, number)
    version = services.registry.version(spec.name, number)
    sides = stored_report.kept_sides(services.registry, version, spec, champion)
    with stored_report.downloaded_holdout(services.registry, version) as folder:
        case = Case(services, events, spec, version, folder)
        evidence = assemble(case, sides, {} if champion is None else {CHAMPION: champion})
    return _report(spec, number, evidence)


def _as_trained(spec: ModelSpec, events: Sequence[Event], number: int) -> ModelSpec:
    """Return the model file with the gates of the profile that a version was trained in.

    Raises:
        PodiumError: The model file has no such profile any more.
    """
    profile = profile_of(events, number)
    return spec.in_profile(named_profile(profile, spec.profiles, spec.name))


def _report(spec: ModelSpec, number: int, evidence: Evidence) -> GateReport:
    return GateReport(
        model=spec.name,
        version=number,
        champion=evidence.champion,
        scores=scores_of(spec.gates, evidence),
        results=evaluate(spec.gates, evidence),
        notes=evidence.notes,
    )
