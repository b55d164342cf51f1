"""One window of the champion, judged with all that were judged before, and recorded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import NothingToDo, PodiumError
from podium.gates.stored_report import downloaded_holdout
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.lifecycle.witness import record
from podium.metrics.answers import Answers, true_values
from podium.metrics.bins import Counts
from podium.metrics.predictions import predict
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.monitoring.evidence import (
    counts_content,
    difference,
    read_observation,
    read_reference,
    reference_content,
    rules_content,
)
from podium.monitoring.harm import Losses, losses, row_losses
from podium.monitoring.journal import Judged, Observation
from podium.monitoring.known_rows import rules_of
from podium.monitoring.on_record import KINDS, Basis, contents, on_record
from podium.monitoring.proxies import Proxy, fit_proxy
from podium.monitoring.reference import Reference, add_counts, count_rows, make_reference, observe
from podium.monitoring.retraining import Limits, why_not
from podium.monitoring.rows import Part, answered, examples_of, parts_of
from podium.monitoring.whole import data_problems
from podium.monitoring.windows import Window, windows_between
from podium.names import Tag, version_name
from podium.scoring.pinned_version import loaded, pin
from podium.scoring.scorer import Scorer
from podium.services import Services
from podium.training.data import load_window
from podium.training.holdout import batches
from podium.training.input_types import as_clients_send
from podium.training.split import subset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """A window as it was observed.

    Attributes:
        observation: What is judged.
        counts: What was counted, as it is kept.
    """

    observation: Observation
    counts: Mapping[str, Any]


@dataclass(frozen=True)
class Watched:
    """The version that is monitored.

    Attributes:
        spec: The model file.
        scorer: The version, loaded.
        reference: What its windows are held against.
        proxy: What a row is expected to cost before its label is here; None where no label comes later.
    """

    spec: ModelSpec
    scorer: Scorer
    reference: Reference
    proxy: Proxy | None = None


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
    section_of(spec)
    version, trained = _champion(services, spec.name)
    as_of = datetime.fromisoformat(str(trained.details[Tag.AS_OF])).replace(tzinfo=UTC)
    if window.start < as_of:
        raise NothingToDo(
            f"{spec.name} {version_name(version)} was trained on what was known on {as_of:%Y-%m-%d %H:%M}, "
            f"after the window {window} began: it is judged on later ones"
        )
    again = _without_labels(services, spec, version, window)
    with loaded(services, spec, pin(services, spec.name, str(version))) as scorer:
        reference = _reference(services, spec, trained, scorer, run)
        watched = Watched(spec, scorer, reference, _proxy(services, spec, version, scorer))
        seen = [observed(watched, one, services.settings.home) for one in (*again, window)]
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


def observed(watched: Watched, window: Window, home: Path) -> Seen:
    """Count the rows of a window part by part."""
    spec, scorer, reference = watched.spec, watched.scorer, watched.reference
    counts: dict[str, Counts] = {}
    first, cost, rows = None, None, 0
    for part in parts_of(spec, window, home, scorer):
        counted = count_rows(reference.columns, part.inputs)
        counts = add_counts(counts, counted) if counts else counted
        first = part.inputs if first is None or first.empty else first
        cost, rows = _sum(cost, _cost(watched, part)), rows + len(part.inputs)
    bins = {name: column.bins for name, column in reference.columns.items()}
    past = [known.rows for known in reference.past]
    problems = () if first is None or reference.unknown else data_problems(bins, first, counts, past)
    seen = replace(observe(reference.columns, window, counts), losses=cost, problems=problems)
    return Seen(replace(seen, rows=rows), counts_content(counts))


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


def _reference(services: Services, spec: ModelSpec, trained: Event, scorer: Scorer, run: str) -> Reference:
    """Return what is on record of a version, or make it of its training data and record that."""
    version, store = int(trained.version or 0), EvidenceStore(services.ledger)
    known = on_record(services.ledger.history(spec.name, kinds=KINDS), version)
    if known.reference:
        reference = read_reference(store.one(known.reference).read())
        if not reference.unknown:
            return reference
    reference = _made(spec, trained, services.settings.home, scorer)
    kept = Evidence.of(spec.name, version, reference_content(reference))
    if kept.digest != known.reference:
        store.keep([kept])
        said = reference.unknown or (
            f"{len(reference.columns)} columns and {len(reference.past)} windows of the training data"
        )
        event = NewEvent(
            EventKind.REFERENCE_MADE,
            spec.name,
            version,
            reason=said,
            run=run,
            details={"digest": kept.digest},
        )
        with services.ledger.lock(spec.name):
            record(services, event)
    return reference


def _made(spec: ModelSpec, trained: Event, home: Path, scorer: Scorer) -> Reference:
    section = section_of(spec)
    as_of = datetime.fromisoformat(str(trained.details[Tag.AS_OF])).replace(tzinfo=UTC)
    known = load_window(spec, as_of, home)
    if known.version != trained.details[Tag.DATA_VERSION]:
        return Reference(
            {},
            (),
            unknown=f"{spec.data.source} as of {as_of:%Y-%m-%d} is not what the version was trained on",
        )
    # The window in which the training ended is not whole.
    end = windows_between(section.windows, as_of, as_of)[0].start
    examples = examples_of(known)
    whole = subset(examples, examples.time < end.replace(tzinfo=None))
    made = make_reference(as_clients_send(whole.inputs), whole.time, section.windows)
    if section.tolerance is None:
        return made
    costs = row_losses(spec.row_metric, answered(spec, known.holdout, scorer))
    return replace(made, at_promotion=float(np.nanmean(costs)))


def _cost(watched: Watched, part: Part) -> Losses | None:
    answers, proxy, none = part.answers, watched.proxy, np.empty(0)
    if answers is None:
        return None
    costs = row_losses(watched.spec.row_metric, answers) if len(answers) else none
    there = ~np.isnan(costs)
    if proxy is None or part.rest is None:
        return losses(costs[there], np.zeros(int(there.sum())), none)
    expected = proxy(answers.predictions[there]) if there.any() else none
    return losses(costs[there], expected, proxy(part.rest) if len(part.rest) else none)


def _proxy(services: Services, spec: ModelSpec, version: int, scorer: Scorer) -> Proxy | None:
    """Return what a row is expected to cost before its label is here; None where no label comes later."""
    section = section_of(spec)
    if section.labels is None or section.tolerance is None:
        return None
    with downloaded_holdout(services.registry, services.registry.version(spec.name, version)) as folder:
        held = pd.concat(list(batches(folder)), ignore_index=True)
    inputs = held[list(spec.data.inputs)]
    truth = true_values(spec.task, held[spec.data.label], spec.labels)
    answers = Answers(spec.task, spec.labels, truth, predict(scorer.model, inputs, spec.labels))
    return fit_proxy(spec.row_metric, answers)


def _without_labels(services: Services, spec: ModelSpec, version: int, window: Window) -> list[Window]:
    """Return the newest earlier windows that had too few labels when they were judged."""
    labels = section_of(spec).labels
    if labels is None:
        return []
    known = on_record(services.ledger.history(spec.name, kinds=KINDS), version).windows
    newest = sorted((one for one in known if one < window), reverse=True)[: labels.wait]
    found = contents(EvidenceStore(services.ledger), {one: known[one] for one in newest})
    return [one for one, kept in found.items() if kept["harm"] and kept["harm"]["not_judged"]]


def _sum(one: Losses | None, other: Losses | None) -> Losses | None:
    return one + other if one is not None and other is not None else one or other


def _basis(spec: ModelSpec, version: int, reference: Reference) -> Basis:
    rules = rules_of(spec, section_of(spec), reference)
    kept = {"reference": reference_content(reference), "rules": rules_content(rules)}
    evidence = {name: Evidence.of(spec.name, version, content) for name, content in kept.items()}
    return Basis(spec.name, version, reference, rules, evidence)


def record_windows(services: Services, basis: Basis, seen: Sequence[Seen], run: str) -> list[Judged]:
    """Judge all windows of a version, and record those that are new or come out differently."""
    store, model, version = EvidenceStore(services.ledger), basis.model, basis.version
    known = on_record(services.ledger.history(model, kinds=KINDS), version)
    kept = contents(store, known.windows)
    counts = {
        one.observation.window: Evidence.of(model, version, one.counts, _span(one.observation.window))
        for one in seen
    }
    counted = {window: str(content["counts"]) for window, content in kept.items()}
    counted |= {window: evidence.digest for window, evidence in counts.items()}
    observations = [*map(read_observation, kept.values()), *(one.observation for one in seen)]
    judged = list(basis.judged(observations))
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
