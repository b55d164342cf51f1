"""The automatic steps between training and the human: register, validate, nominate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from podium.errors import BytesChanged, NotFound, NothingToDo, PodiumError, Refused, version_name
from podium.gates import stored_report
from podium.gates.collection import Case, assemble, score_sides, versions_to_compare
from podium.gates.evidence import Evidence
from podium.gates.report import GateReport
from podium.gates.rules import evaluate, scores_of
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import registration
from podium.ledger.store import Ledger
from podium.lifecycle import canary
from podium.lifecycle.approval import decision_in_words, find_decision, gate_report, supersede
from podium.lifecycle.model_card import write_model_card
from podium.lifecycle.profile_rules import PROFILE, named_profile, profile_of, promotion_problem
from podium.lifecycle.registry_sync import mirror
from podium.model_file.gates import CHAMPION
from podium.model_file.spec import ModelSpec
from podium.names import ORIGIN, Tag
from podium.registry.client import Registry, Version, mlflow_errors, read_signature
from podium.registry.manifest import downloaded, read_manifest
from podium.services import Parts
from podium.settings import registry_is_ephemeral
from podium.training.run import LINEAGE, read_trained_run

log = logging.getLogger(__name__)


class Nomination(TypedDict):
    """A candidate, the champion that it was compared with, and the runs whose requests it closed."""

    model: str
    version: int
    champion: int | None
    superseded: list[str]


def register_version(registry: Registry, ledger: Ledger, spec: ModelSpec, mlflow_run: str, run: str) -> int:
    """Register a run's model with the manifest of its files; equal inputs always have the same version.

    Args:
        registry: The model registry.
        ledger: The ledger.
        spec: The model file.
        mlflow_run: The training run.
        run: The Airflow run.

    Raises:
        NotFound: There is no such training run.
        BytesChanged: The version was copied here, and its files are not those that were copied.
        Outage: A part did not answer.
    """
    trained = read_trained_run(registry, mlflow_run)
    tags = {
        **trained.tags,
        Tag.VALIDATION_STATUS: "pending",
        Tag.APPROVAL_STATUS: "pending",
        Tag.LIFECYCLE_STAGE: "None",
    }
    with ledger.lock(spec.name):
        version = registry.register(spec.name, trained.run_id, trained.model_id, tags)
        key = f"registered:{spec.name}:{version.number}"
        if ledger.find(key) is None:
            ledger.append(_registration(registry, version, run, key))
        mirror(registry, ledger, spec.name)
    log.info("%s %s is run %s.", spec.name, version_name(version.number), version.run_id)
    return version.number


def _registration(registry: Registry, version: Version, run: str, key: str) -> NewEvent:
    """Make the manifest of what the store holds, and leave it on the version and its training run as well."""
    with downloaded(registry, version.model, version.number) as folder:
        manifest, signature = read_manifest(folder), read_signature(folder)
    if version.tags.get(Tag.MANIFEST_DIGEST, manifest.digest()) != manifest.digest():
        raise BytesChanged(
            f"{version.model} {version_name(version.number)}: its files in the store are not those that "
            f"{Tag.MANIFEST_DIGEST} names; copy it again from where it came, or train a new version"
        )
    with mlflow_errors(f"keeping the manifest of {version.model} {version_name(version.number)}"):
        files = {"files": manifest.as_json()}
        registry.client.log_dict(version.run_id, files, f"manifests/v{version.number}.json")
    registry.set_tags(version.model, version.number, {Tag.MANIFEST_DIGEST: manifest.digest()})
    lineage = {str(tag): version.tags[tag] for tag in LINEAGE}
    copied = Tag.COPIED_FROM in version.tags
    origin = {str(tag): version.tags.get(tag, "unknown") for tag in ORIGIN} if copied else {}
    profile = read_trained_run(registry, version.run_id).profile
    return NewEvent(
        event=EventKind.REGISTERED,
        model=version.model,
        version=version.number,
        reason=f"trained as of {version.tags[Tag.AS_OF][:10]}"
        + (f", profile {profile}" if profile else "")
        + (f", copied from {origin[Tag.COPIED_FROM]}, {origin[Tag.COPIED_VERSION]}" if origin else ""),
        run=run,
        key=key,
        details={
            "mlflow_run": version.run_id,
            **lineage,
            **origin,
            **({PROFILE: str(profile)} if profile else {}),
            "manifest": manifest.as_json(),
            "manifest_digest": manifest.digest(),
            "signature": signature,
        },
    )


def validate_version(parts: Parts, spec: ModelSpec, number: int, run: str) -> GateReport:
    """Judge a version by the gates, beside the champion re-scored on the same rows; keep the report.

    The report goes to the version's MLflow run as JSON, Markdown and pictures, to its tags and to the ledger.

    Raises:
        BytesChanged: The files of the version or of the champion are not those that were registered.
        Outage: A part did not answer, or the champion cannot be scored: no report, neither pass nor refusal.
        PodiumError: A baseline file or an own metric function cannot be used.
    """
    version, events = parts.registry.version(spec.name, number), parts.ledger.history(spec.name)
    spec = _as_trained(spec, events, number)
    with stored_report.downloaded_holdout(parts.registry, version) as folder:
        case = Case(parts, events, spec, version, folder)
        versions = versions_to_compare(case)
        sides = score_sides(case, versions)
        evidence = assemble(case, sides, versions)
    report = _report(spec, number, evidence)
    stored_report.keep(parts.registry, version, spec, report, evidence)
    write_model_card(parts.registry, spec, version, report, profile_of(registration(events, number)))
    parts.ledger.append(
        NewEvent(
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
            },
        )
    )
    mirror(parts.registry, parts.ledger, spec.name)
    log.info("%s\n%s", report.sentence(), report.markdown())
    return report


def replay_gates(parts: Parts, spec: ModelSpec, number: int) -> GateReport:
    """Judge a version by other gates, on the answers that its newest validation kept; nothing is recorded.

    Args:
        parts: The registry and the ledger.
        spec: The model file with the gates to try.
        number: A version that was validated.

    Raises:
        NotFound: The version was not validated, or its validation kept no answers.
        DataError: The kept answers are of other labels than the model file's.
        Outage: A part did not answer.
    """
    events = parts.ledger.history(spec.name)
    champion = gate_report(events, number).from_version
    spec = _as_trained(spec, events, number)
    version = parts.registry.version(spec.name, number)
    sides = stored_report.kept_sides(parts.registry, version, spec, champion)
    with stored_report.downloaded_holdout(parts.registry, version) as folder:
        case = Case(parts, events, spec, version, folder)
        evidence = assemble(case, sides, {} if champion is None else {CHAMPION: champion})
    return _report(spec, number, evidence)


def nominate_version(registry: Registry, ledger: Ledger, model: str, run: str) -> Nomination:
    """Make the version that passed its gates in this run the candidate; close older requests.

    Args:
        registry: The model registry.
        ledger: The ledger: its gate report counts, not what a task says of it.
        model: The registered model.
        run: The Airflow run.

    Raises:
        NotFound: The ledger holds no gate report of this run.
        Refused: The gates said no.
        NothingToDo: The version is the champion already.
        Outage: A part did not answer.
    """
    with ledger.lock(model):
        report = _newest_report(ledger, model, run)
        number, champion = int(report.version or 0), report.from_version
        if champion == number:
            raise NothingToDo(f"{model} {version_name(number)} is the champion already: nothing to promote")
        if report.event is EventKind.GATES_REFUSED:
            raise Refused(report.details["sentence"])
        _refuse_profiles(ledger, report)
        superseded = []
        if find_decision(ledger, run) is None:
            ledger.append(
                NewEvent(
                    event=EventKind.NOMINATED,
                    model=model,
                    version=number,
                    from_version=champion,
                    reason=report.reason,
                    run=run,
                    key=f"nominated:{run}",
                )
            )
            superseded = supersede(ledger, model, number, run)
        mirror(registry, ledger, model)
    return Nomination(model=model, version=number, champion=champion, superseded=superseded)


def run_to_take(registry: Registry, model: str, form: Mapping[str, Any]) -> str | None:
    """Return the finished training run that a form names instead of a training; None if it is to train.

    Args:
        registry: The model registry.
        model: The registered model.
        form: ``mlflow_run`` is a training run, ``version`` one that is registered (as ``podium copy`` leaves
            it), ``profile`` one to train in; each may be None, and at most one is not.

    Raises:
        NotFound: There is no such version, or it is no finished training run of this model.
        PodiumError: The form names more than one, or the version is another one's twin.
    """
    named = [
        f"{what} {form[key]}"
        for key, what in (("mlflow_run", "run"), ("version", "version"), ("profile", "profile"))
        if form[key]
    ]
    if len(named) > 1:
        raise PodiumError(f"{model}: the form names {' and '.join(named)}; give one of them")
    if form["version"]:
        return _run_of_version(registry, model, form["version"])
    return registry.training_run(model, form["mlflow_run"]).run_id if form["mlflow_run"] else None


def _run_of_version(registry: Registry, model: str, number: int) -> str:
    trained = registry.training_run(model, registry.version(model, number).run_id)
    first = registry.version_of_inputs(model, trained.tags[Tag.INPUTS_DIGEST])
    if first is not None and first.number != number:
        raise PodiumError(
            f"{model} {version_name(number)} was made of the same inputs as {version_name(first.number)}: "
            f"equal inputs are one version; take {version_name(first.number)}"
        )
    return trained.run_id


def refuse_decided_run(ledger: Ledger, run: str) -> None:
    """Let a run that was turned down end, when its tasks are run again.

    Raises:
        Refused: The run was rejected, expired, superseded or voided.
    """
    decision = find_decision(ledger, run)
    if decision is not None and decision.event is not EventKind.APPROVED:
        raise Refused(f"{decision_in_words(decision)}. To ask again, start another run")


def _refuse_profiles(ledger: Ledger, report: Event) -> None:
    """Let a run of a profile end after its gates, on record."""
    registered = registration(ledger.history(report.model), int(report.version or 0))
    problem = promotion_problem(registered, ephemeral=registry_is_ephemeral())
    if problem:
        ledger.append(
            NewEvent(
                event=EventKind.NOMINATION_REFUSED,
                model=report.model,
                version=report.version,
                from_version=report.from_version,
                reason=problem,
                run=report.run,
                key=f"nomination_refused:{report.run}",
            )
        )
        raise Refused(problem)


def _as_trained(spec: ModelSpec, events: Sequence[Event], number: int) -> ModelSpec:
    """Return the model file with the gates of the profile that a version was trained in.

    Raises:
        PodiumError: The model file has no such profile any more.
    """
    profile = profile_of(registration(events, number))
    return spec.in_profile(named_profile(profile, spec.profiles, spec.name))


def _report(spec: ModelSpec, number: int, evidence: Evidence) -> GateReport:
    return GateReport(
        model=spec.name,
        version=number,
        champion=evidence.champion,
        scores=scores_of(spec.gates, evidence),
        results=evaluate(spec.gates, evidence),
    )


def _newest_report(ledger: Ledger, model: str, run: str) -> Event:
    found = [event for event in ledger.history(model) if event.event in history.GATES and event.run == run]
    if not found:
        raise NotFound(f"the ledger holds no gate report of run {run}: clear its task 'validate'")
    return found[-1]
