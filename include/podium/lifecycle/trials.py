"""The trials of a version's search: the best stay in MLflow, the others are deleted after the quarantine.

The training run keeps what the search found, with params and metric of every trial: that is the evidence.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from podium.errors import NotFound
from podium.ledger import custody
from podium.ledger.custody import OnRecord
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle.retention_rules import ACTOR
from podium.lifecycle.witness import record
from podium.model_file.retention import RetentionSpec
from podium.registry.disposal import Disposal
from podium.registry.leftovers import Leftovers, TrialRun
from podium.services import Services
from podium.training.search_result import FOLDER, RESULT


def thin_trials(services: Services, disposal: Disposal, model: str, rules: RetentionSpec, run: str) -> int:
    """Delete the runs of trials that are not among the best of their search; once for each version.

    A trial that somebody restores in MLflow after that stays.

    Args:
        services: The registry and the ledger.
        disposal: What may delete in MLflow.
        model: The registered model.
        rules: Those of the model file.
        run: The Airflow run.

    Returns:
        How many were deleted.

    Raises:
        Outage: A part did not answer; run it again.
    """
    if rules.trials is None:
        return 0
    due = _due(services, model, rules)
    if not due:
        return 0
    leftovers = Leftovers(services.registry.tracking_uri)
    searched, count = leftovers.searches(model), 0
    for one in due:
        if one.run_id in searched:
            count += _thin(services, leftovers, disposal, model, one, rules.trials, run)
    return count


def best_trials(result: Mapping[str, Any], count: int) -> list[int]:
    """Return the numbers of the best trials of a search, the best first; of equal ones the first.

    Args:
        result: What the search found, as ``search.json`` has it.
        count: How many.
    """
    sign = -1 if result["greater_is_better"] else 1
    known = [trial for trial in result["trials"] if trial["value"] is not None]
    ordered = sorted(known, key=lambda trial: (sign * trial["value"], trial["number"]))
    return [trial["number"] for trial in ordered[:count]]


def _due(services: Services, model: str, rules: RetentionSpec) -> list[OnRecord]:
    """Return the versions whose quarantine would be over, and whose trials were not thinned yet."""
    before = custody.now(services.ledger) - timedelta(days=rules.quarantine_days)
    thinned = {event.version for event in services.ledger.history(model, kinds=[EventKind.TRIALS_THINNED])}
    return [
        one
        for one in custody.versions_on_record(services.ledger, model)
        if one.run_id and one.registered_at <= before and one.number not in thinned
    ]


def _thin(  # noqa: PLR0913 - as it is called
    services: Services,
    leftovers: Leftovers,
    disposal: Disposal,
    model: str,
    version: OnRecord,
    count: int,
    run: str,
) -> int:
    try:
        best = best_trials(_result(services, version.run_id), count)
    except NotFound:
        # Without the evidence the trials are all that is left of the search.
        return 0
    trials = leftovers.trials(model, version.run_id)
    going = [one for one in trials if one.number not in best and one.ended and not one.deleted]
    named = {one.run_id for one in services.registry.versions_sharing(one.run_id for one in going)}
    going = [one for one in going if one.run_id not in named]
    for one in going:
        disposal.delete_run(one.run_id)
    with services.ledger.lock(model):
        record(services, _thinned(model, version.number, best, trials, going, run))
    return len(going)


def _result(services: Services, run_id: str) -> Any:
    with TemporaryDirectory(prefix="podium-") as folder:
        path = services.registry.download_artifacts(run_id, f"{FOLDER}/{RESULT}", Path(folder))
        return json.loads(path.read_text(encoding="utf-8"))


def _thinned(  # noqa: PLR0913 - what is said of it
    model: str,
    number: int,
    best: Collection[int],
    trials: Collection[TrialRun],
    going: Collection[TrialRun],
    run: str,
) -> NewEvent:
    deleted = {one.run_id for one in going} | {one.run_id for one in trials if one.deleted}
    return NewEvent(
        EventKind.TRIALS_THINNED,
        model,
        number,
        actor=ACTOR,
        reason=f"of {len(trials):,} trials the best {len(best)} stay; the training run keeps all results",
        run=run,
        key=f"{EventKind.TRIALS_THINNED}:{model}:{number}",
        details={"best": sorted(best), "deleted": sorted(deleted)},
    )
