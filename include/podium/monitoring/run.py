"""One window of the champion, judged with all that were judged before, and recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import pandas as pd

from podium.errors import NothingToDo, PodiumError
from podium.gates.stored_report import downloaded_holdout
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.lifecycle.witness import record
from podium.metrics.answers import Answers, true_values
from podium.metrics.predictions import predict
from podium.metrics.reference import Reference
from podium.metrics.reference_file import reference_content
from podium.metrics.windows import Window
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.monitoring.evidence import difference, read_observation, rules_content
from podium.monitoring.journal import Judged
from podium.monitoring.known_rows import rules_of
from podium.monitoring.on_record import KINDS, Basis, contents, on_record
from podium.monitoring.proxies import Proxy, fit_proxy
from podium.monitoring.retraining import Limits, why_not
from podium.monitoring.seen import Seen, Watched, observed, still_counted
from podium.monitoring.version_reference import pool_rows, recorded_reference, trained_as_of
from podium.names import Tag, version_name
from podium.scoring.pinned_version import loaded_when_asked, pin
from podium.scoring.scorer import Scorer
from podium.services import Services
from podium.training.detectors import own_detectors
from podium.training.holdout import batches

log = logging.getLogger(__name__)


def monitor_window(services: Services, spec: ModelSpec, window: Window, run: str) -> list[Judged]:
    """Judge a window of the champion's rows, and record what is new.

    A window that was judged before is replaced, and those after it are judged anew. Where nothing is
    different, nothing is recorded: a run that was killed and is repeated leaves what it would have left.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        window: The window.
        run: The Airflow run.

    Returns:
        All windows of the champion, by time.

    Raises:
        NothingToDo: There is no champion, or it was trained on rows of the window.
        DataError: The rows cannot be read.
        Outage: A part did not answer.
    """
    section = section_of(spec)
    version, trained = _champion(services, spec.name)
    as_of = trained_as_of(trained)
    if window.start < as_of:
        raise NothingToDo(
            f"{spec.name} {version_name(version)} was trained on what was known on {as_of:%Y-%m-%d %H:%M}, "
            f"after the window {window} began: it is judged on later ones"
        )
    again = _without_labels(services, spec, version, window)
    with loaded_when_asked(services, spec, pin(services, spec.name, str(version))) as scorer:
        reference = recorded_reference(services, spec, section, trained, scorer, run)
        home, detectors = services.settings.home, own_detectors(section.detectors)
        pool = pool_rows(spec, section, trained, home) if detectors and not reference.unknown else None
        watched = Watched(
            spec,
            version,
            scorer,
            reference,
            proxy=_proxy(services, spec, version, scorer),
            detectors={} if pool is None else detectors,
            pool=pd.DataFrame() if pool is None else pool,
        )
        seen = [observed(services.ledger, watched, one, home) for one in (*again, window)]
    with services.ledger.lock(spec.name):
        judged = record_windows(services, _basis(spec, version, reference), seen, run)
        asking = _of(judged, window)
        if asking.retrain:
            _want_training(services, spec, version, as_of, asking, run)
    return judged


def describe_window(judged: Sequence[Judged], window: Window) -> str:
    """Say in one sentence how one of several windows came out."""
    found = _of(judged, window)
    why = f": {found.worst.reason}" if found.worst.reason else ""
    return f"{window}, {found.observation.rows:,} rows: {found.worst.said}{why}"


def section_of(spec: ModelSpec) -> MonitoringSpec:
    """Return the section ``monitoring`` of a model file.

    Raises:
        PodiumError: There is none.
    """
    if spec.monitoring is None:
        raise PodiumError(f"{spec.name}: its model file has no section monitoring; see docs/monitoring.md")
    return spec.monitoring


def _of(judged: Sequence[Judged], window: Window) -> Judged:
    return next(one for one in judged if one.observation.window == window)


def _champion(services: Services, model: str) -> tuple[int, Event]:
    """Return the champion, as the ledger says, and its registration."""
    version = history.champion(services.ledger.present(model))
    if version is None:
        raise NothingToDo(f"{model} has no champion: there is nothing to monitor")
    trained = history.registration(services.ledger.present(model, version), version)
    if trained is None or Tag.AS_OF not in trained.details:
        raise PodiumError(f"{model} {version_name(version)}: the ledger does not say what it was trained on")
    return version, trained


def _proxy(services: Services, spec: ModelSpec, version: int, scorer: Callable[[], Scorer]) -> Proxy | None:
    """Return what a row is expected to cost before its label is here; None where no label comes later."""
    section = section_of(spec)
    if section.labels is None or section.tolerance is None:
        return None
    with downloaded_holdout(services.registry, services.registry.version(spec.name, version)) as folder:
        held = pd.concat(list(batches(folder)), ignore_index=True)
    inputs = held[list(spec.data.inputs)]
    truth = true_values(spec.task, held[spec.data.label], spec.labels)
    answers = Answers(spec.task, spec.labels, truth, predict(scorer().model, inputs, spec.labels))
    return fit_proxy(spec.row_metric, answers)


def _without_labels(services: Services, spec: ModelSpec, version: int, window: Window) -> list[Window]:
    """Return the newest earlier windows that had too few labels when they were judged."""
    labels = section_of(spec).labels
    if labels is None:
        return []
    known = on_record(services.ledger.history(spec.name, kinds=KINDS), version).windows
    newest = sorted((one for one in known if one < window), reverse=True)[: labels.wait]
    if section_of(spec).rows == "server":
        newest = [one for one in newest if still_counted(one)]
    found = contents(EvidenceStore(services.ledger), {one: known[one] for one in newest})
    return [one for one, kept in found.items() if kept["harm"] and kept["harm"]["not_judged"]]


def _basis(spec: ModelSpec, version: int, reference: Reference) -> Basis:
    rules = rules_of(spec, section_of(spec), reference)
    kept = {"reference": reference_content(reference), "rules": rules_content(rules)}
    evidence = {name: Evidence.of(spec.name, version, content) for name, content in kept.items()}
    return Basis(spec.name, version, reference, rules, evidence)


def record_windows(services: Services, basis: Basis, seen: Sequence[Seen], run: str) -> list[Judged]:
    """Judge all windows of a version, and record those that are new or come out differently."""
    store, model, version = EvidenceStore(services.ledger), basis.model, basis.version
    known = on_record(services.ledger.history(model, kinds=KINDS), version)
    # What was counted on other bins says nothing of these.
    of_this = basis.evidence["reference"].digest
    kept = {
        window: content
        for window, content in contents(store, known.windows).items()
        if content["reference"] == of_this
    }
    counts = {
        one.observation.window: Evidence.of(model, version, one.counts, _span(one.observation.window))
        for one in seen
    }
    counted = {window: str(content["counts"]) for window, content in kept.items()}
    counted |= {window: evidence.digest for window, evidence in counts.items()}
    observations = [*map(read_observation, kept.values()), *(one.observation for one in seen)]
    judged = list(basis.judged(observations, kept))
    changed = []
    for one in judged:
        window = one.observation.window
        content = basis.content(one, counted[window])
        if window not in kept or difference(kept[window], content):
            changed.append((one, Evidence.of(model, version, content, _span(window))))
    if changed:
        new = (*counts.values(), *(evidence for _, evidence in changed))
        store.keep([basis.evidence["rules"], *new])
        record(services, _event(basis, changed, run))
    return judged


def _event(basis: Basis, changed: Sequence[tuple[Judged, Evidence]], run: str) -> NewEvent:
    urgent = min((one.worst for one, _ in changed), key=lambda verdict: verdict.urgency)
    windows = [
        {
            "start": one.observation.window.start.isoformat(),
            "end": one.observation.window.end.isoformat(),
            "said": str(one.worst.said),
            "digest": evidence.digest,
        }
        for one, evidence in changed
    ]
    spans = [one.observation.window for one, _ in changed]
    span = Window(min(spans).start, max(window.end for window in spans))
    return NewEvent(
        EventKind.WINDOWS_JUDGED,
        basis.model,
        basis.version,
        reason=f"{span}: {urgent.said}{f', {urgent.reason}' if urgent.reason else ''}",
        run=run,
        details={"windows": windows},
    )


def _span(window: Window) -> tuple[datetime, datetime]:
    return window.start, window.end


def _want_training(  # noqa: PLR0913 - what is asked for, and why
    services: Services, spec: ModelSpec, version: int, trained: datetime, judged: Judged, run: str
) -> None:
    """Record once that a window asks for a training, unless there were enough."""
    window, limits = judged.observation.window, section_of(spec).retraining
    key = f"retrain:{spec.name}:{version}:{window.end.isoformat()}"
    before = services.ledger.history(spec.name, kinds=[EventKind.RETRAIN_WANTED])
    if any(event.key == key for event in before):
        return
    started = [datetime.fromisoformat(event.details["as_of"]) for event in before]
    allowed = Limits(limits.at_most_a_week, limits.cool_down)
    if hindrance := why_not(allowed, window.end, started, trained):
        log.warning("%s: %s; no training starts: %s", spec.name, judged.retrain, hindrance)
        return
    event = NewEvent(
        EventKind.RETRAIN_WANTED,
        spec.name,
        version,
        reason=judged.retrain,
        run=run,
        key=key,
        details={
            "as_of": window.end.isoformat(),
            "window": [window.start.isoformat(), window.end.isoformat()],
        },
    )
    record(services, event)
