"""What monitoring says, for people and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from podium.monitoring.journal import Judged
from podium.monitoring.verdicts import Said, Verdict
from podium.reporting.tables import Column, fitted
from podium.reporting.terminal import ShownTable


def monitored_sentence(model: str, judged: Sequence[Judged]) -> str:
    """Say in a sentence how the windows came out; what was not judged is never taken for nothing seen."""
    counts = Counter(one.worst.said for one in judged)
    order = (Said.RETRAIN, Said.MOVED, Said.BROKEN, Said.NOTHING_SEEN, Said.NOT_JUDGED)
    parts = ", ".join(f"{counts[said]} {said}" for said in order if counts[said])
    first, last = judged[0].observation.window, judged[-1].observation.window
    return f"{model}: {len(judged)} windows from {first.start:%Y-%m-%d} to {last.end:%Y-%m-%d}: {parts}."


def monitored_table(judged: Sequence[Judged], width: int) -> ShownTable:
    """Render windows, one row each."""
    return fitted(
        width,
        Column("window (UTC)", [str(one.observation.window) for one in judged], whole=True),
        Column("rows", [f"{one.observation.rows:,}" for one in judged], justify="right"),
        Column("verdict", [one.worst.said for one in judged]),
        Column("why", [one.worst.reason for one in judged]),
    )


def monitored_json(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return windows for machines: verdicts, and the numbers behind them."""
    return [
        {
            "start": one.observation.window.start.isoformat(),
            "end": one.observation.window.end.isoformat(),
            "rows": one.observation.rows,
            "whole": _verdict(one.whole),
            "moved": _verdict(one.moved),
            "p": {} if one.inputs is None else _numbers(one.streams, one.inputs.p),
            "log_wealth": {} if one.inputs is None else _numbers(one.streams, one.inputs.log_wealth),
        }
        for one in judged
    ]


def _verdict(verdict: Verdict) -> dict[str, str]:
    return {"said": verdict.said, "reason": verdict.reason}


def _numbers(streams: Sequence[str], values: Any) -> dict[str, float]:
    """Return the finite numbers by stream: JSON has no others."""
    return {name: float(value) for name, value in zip(streams, values, strict=True) if np.isfinite(value)}
