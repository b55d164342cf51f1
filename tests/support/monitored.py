"""Judged windows on record, of a version that need not be there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from podium.ledger.events import EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.metrics.reference import count_rows, make_reference
from podium.metrics.reference_file import reference_content
from podium.metrics.windows import Window
from podium.monitoring.evidence import counts_content, rules_content
from podium.monitoring.inputs import stream_shares
from podium.monitoring.journal import Judged, Rules, observe
from podium.monitoring.on_record import Basis
from podium.monitoring.run import record_windows as record_seen
from podium.monitoring.seen import Seen
from podium.services import Services

DAY = timedelta(days=1)
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
PAST_DAYS = 60


def record_windows(
    services: Services,
    model: str,
    version: int,
    shifts: list[float],
    *,
    first: int = 0,
    made: bool = True,
) -> list[Judged]:
    """Record a day for each of these shifts of its mean, and return how they were judged.

    Args:
        services: The ledger.
        model: The model.
        version: The version.
        shifts: By day.
        first: The first of the days.
        made: The reference is made now; else it is on record.
    """
    draws = np.random.default_rng(5)
    times = pd.Series(np.repeat(pd.date_range(FIRST_DAY, periods=PAST_DAYS), 40))
    reference = make_reference(pd.DataFrame({"x": draws.normal(size=len(times))}), times, "0 0 * * *")
    rules = Rules(10, stream_shares({"x": 1.0}, ()))
    contents = {"reference": reference_content(reference), "rules": rules_content(rules)}
    evidence = {name: Evidence.of(model, version, content) for name, content in contents.items()}
    EvidenceStore(services.ledger).keep([*evidence.values()])
    if made:
        details = {"digest": evidence["reference"].digest}
        services.ledger.append(NewEvent(EventKind.REFERENCE_MADE, model, version, details=details))
    judged: list[Judged] = []
    for number, shift in enumerate(shifts):
        start = FIRST_DAY + (PAST_DAYS + first + number) * DAY
        counts = count_rows(reference.columns, pd.DataFrame({"x": draws.normal(size=40) + shift}))
        seen = Seen(observe(reference.columns, Window(start, start + DAY), counts), counts_content(counts))
        basis = Basis(model, version, reference, rules, evidence)
        judged = record_seen(services, basis, [seen], "monitor_toy/made-up")
    return judged
