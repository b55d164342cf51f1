"""Windows on record as a picture: how much evidence there is by column and window, and the risk below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from podium.errors import PodiumError
from podium.monitoring.on_record import RecordedWindow
from podium.monitoring.verdicts import ALARMS
from podium.names import version_name

_MOST_STREAMS = 30


def draw(windows: Sequence[RecordedWindow], path: Path) -> None:
    """Draw windows into a file.

    Raises:
        PodiumError: It cannot be written.
    """
    try:
        drift_picture(windows).savefig(path, format="png", dpi=110)
    except OSError as error:
        raise PodiumError(f"{path} cannot be written: {error.strerror}") from error


def drift_picture(windows: Sequence[RecordedWindow]) -> Figure:
    """Draw the evidence of each column and the risk, by window; alarms and new versions are marked."""
    streams = _strongest(windows)
    figure = Figure(figsize=(10, 3.5 + 0.22 * len(streams)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[max(len(streams), 4), 8])
    _heat(above, windows, streams)
    _risk(below, windows)
    for place, window in enumerate(windows):
        if window.worst.said in ALARMS:
            above.annotate("x", (place, -0.7), ha="center", annotation_clip=False)
        if place and window.version != windows[place - 1].version:
            for axes in (above, below):
                axes.axvline(place - 0.5, color="black")
            below.annotate(version_name(window.version), (place - 0.4, below.get_ylim()[1]), va="top")
    step = max(1, len(windows) // 12)
    shown = range(0, len(windows), step)
    below.set_xticks(shown, [f"{windows[place].window.start:%Y-%m-%d}" for place in shown], rotation=45)
    return figure


def _heat(axes: Axes, windows: Sequence[RecordedWindow], streams: Sequence[str]) -> None:
    values = [[_wealth(window, name) for window in windows] for name in streams]
    axes.set_title("Evidence by column (log wealth); x: an alarm")
    table = np.asarray(values, dtype=float).reshape(len(streams), len(windows))
    shades = axes.imshow(table, cmap="Reds", vmin=0, aspect="auto")
    axes.set_yticks(range(len(streams)), streams, fontsize=7)
    axes.figure.colorbar(shades, ax=axes)


def _risk(axes: Axes, windows: Sequence[RecordedWindow]) -> None:
    risks = [np.nan if window.risk is None else window.risk for window in windows]
    axes.plot(range(len(windows)), risks, marker=".", label="risk (mean loss)")
    axes.set_title("Risk by window; none where too few labels are here")
    axes.legend(loc="upper left")


def _strongest(windows: Sequence[RecordedWindow]) -> list[str]:
    most: dict[str, float] = {}
    for window in windows:
        for name, wealth in (window.content["inputs"] or {"log_wealth": {}})["log_wealth"].items():
            most[name] = max(most.get(name, -np.inf), wealth)
    return sorted(most, key=lambda name: -most[name])[:_MOST_STREAMS]


def _wealth(window: RecordedWindow, stream: str) -> float:
    inputs = window.content["inputs"]
    return np.nan if inputs is None else inputs["log_wealth"].get(stream, np.nan)
