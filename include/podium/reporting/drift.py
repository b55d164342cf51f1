"""What is on record of a model's windows, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from podium.gates.report import number
from podium.monitoring.on_record import RecordedWindow
from podium.monitoring.verdicts import Said
from podium.names import version_name
from podium.reporting.tables import Column, fitted
from podium.reporting.terminal import ShownTable

_MOST_STREAMS = 10


def drift_sentence(model: str, windows: Sequence[RecordedWindow]) -> str:
    """Say in a sentence how the windows came out, and the newest one."""
    if not windows:
        return f"{model}: no window is on record. The Dag monitor_{model.replace('-', '_')} judges them."
    counts = Counter(window.worst.said for window in windows)
    parts = ", ".join(f"{counts[said]} {said}" for said in Said if counts[said])
    newest = windows[-1]
    why = f", {newest.worst.reason}" if newest.worst.reason else ""
    return (
        f"{model}: {len(windows)} windows on record: {parts}. The newest, {newest.window} of "
        f"{version_name(newest.version)}: {newest.worst.said}{why}."
    )


def drift_table(windows: Sequence[RecordedWindow], width: int) -> ShownTable:
    """Render windows, one row each."""
    return fitted(
        width,
        Column("window (UTC)", [str(one.window) for one in windows], whole=True),
        Column("version", [version_name(one.version) for one in windows]),
        Column("rows", [f"{one.content['rows']:,}" for one in windows], justify="right"),
        Column("risk", [number(one.risk) for one in windows], justify="right"),
        Column("verdict", [one.worst.said for one in windows]),
        Column("why", [one.worst.reason for one in windows]),
    )


def evidence_table(windows: Sequence[RecordedWindow], width: int) -> ShownTable:
    """Render what the newest window says of each column, the strongest evidence first."""
    newest = windows[-1]
    inputs, evidence = newest.content["inputs"] or {"p": {}}, newest.evidence
    order = sorted(evidence, key=lambda name: (-evidence[name], inputs["p"][name]))[:_MOST_STREAMS]
    distances = newest.content["distances"]
    return fitted(
        width,
        Column("moved most, newest window", order, whole=True),
        Column("distance", [number(distances.get(name)) for name in order], justify="right"),
        Column("p-value", [number(inputs["p"][name]) for name in order], justify="right"),
        Column("evidence (alarm at 100%)", [f"{evidence[name]:.0%}" for name in order], justify="right"),
    )
