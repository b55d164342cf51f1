"""Versions of different holdouts, scored again on the newest one, so that their numbers compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from podium.gates.collection import JUDGED, Case, answer_holdout, assemble
from podium.gates.evidence import Side
from podium.gates.seen_rows import seen_rows
from podium.gates.stored_report import downloaded_holdout
from podium.ledger import history
from podium.metrics.measures import reported_metrics
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.registry.client import Version
from podium.services import Services


class Rescored(NamedTuple):
    """What versions do on the same rows.

    Attributes:
        metrics: By the number of a version; NaN where it cannot be scored.
        unfair: By the number of a version: why it cannot be compared on these rows.
    """

    metrics: Mapping[int, Mapping[str, float]]
    unfair: Mapping[int, str]


def score_again(services: Services, spec: ModelSpec, newest: Version, others: Sequence[Version]) -> Rescored:
    """Score versions on the holdout of the newest one, as ``validate`` does with champion and candidate.

    Raises:
        BytesChanged: The files of a version are not those that were registered.
        NotFound: The newest version's run stored no holdout, or a version is not on record.
        DataError: The holdout's labels are no longer those of the model file.
        Outage: A part did not answer.
    """
    events = services.ledger.present(spec.name, newest.number, *(one.number for one in others))
    spec = spec.model_copy(update={"gates": ()})
    unfair = {}
    with downloaded_holdout(services.registry, newest) as folder:
        cases = {one.number: Case(services, events, spec, one, folder) for one in (newest, *others)}
        # One after the other: so many models need not fit into memory.
        sides = {number: answer_holdout(case, {})[JUDGED] for number, case in cases.items()}
        evidence = assemble(cases[newest.number], {JUDGED: sides[newest.number]}, {})
        for other in others:
            if why := _unfair(services, cases[other.number], sides[other.number]):
                unfair[other.number] = why
    metrics = {number: reported_metrics(evidence.answers(side)) for number, side in sides.items()}
    return Rescored(metrics, unfair)


def _unfair(services: Services, case: Case, side: Side) -> str:
    """Say why a version cannot be compared on the rows of another one; "" if it can."""
    if side.broken:
        return f"{version_name(case.version.number)} {side.broken}"
    registered = history.registration(case.events, case.version.number)
    return "" if registered is None else seen_rows(services.registry, case.spec, "", registered, case.folder)
