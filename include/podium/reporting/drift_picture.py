"""Windows as a picture: how much evidence there is by column and window, and the risk with its bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from podium.errors import PodiumError
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind
from podium.monitoring.on_record import RecordedWindow
from podium.monitoring.verdicts import ALARMS, Said
from podium.names import version_name

_MOST_STREAMS = 30
_MOST_DATES = 15
_STANDARD_ERRORS = 2
_LETTERS = {Said.RETRAIN: "R", Said.MOVED: "x", Said.BROKEN: "b"}


@dataclass(frozen=True)
class Mark:
    """A new champion among windows.

    Attributes:
        place: How many windows are before it.
        said: What happened.
        back: It was rolled back to.
    """

    place: int
    said: str
    back: bool


def draw(windows: Sequence[RecordedWindow], path: Path, moves: Sequence[Event] = ()) -> None:
    """Draw windows into a file.

    Args:
        windows: By version and time.
        path: The file.
        moves: The events of the model by which its champions changed.

    Raises:
        PodiumError: It cannot be written.
    """
    try:
        drift_picture(windows, moves).savefig(path, format="png", dpi=110)
    except OSError as error:
        raise PodiumError(f"{path} cannot be written: {error.strerror}") from error


def drift_picture(windows: Sequence[RecordedWindow], moves: Sequence[Event] = ()) -> Figure:
    """Draw the evidence of each column and the risk, by window; alarms and new champions are marked."""
    windows = sorted(windows, key=lambda one: (one.window, one.version))
    streams = _strongest(windows)
    figure = Figure(figsize=(11, 4 + 0.24 * len(streams)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[max(len(streams), 4), 9])
    _heat(above, windows, streams)
    _risk(below, windows)
    for place, window in enumerate(windows):
        if window.worst.said in ALARMS:
            letter = _LETTERS[window.worst.said]
            above.annotate(letter, (place, -0.7), ha="center", weight="bold", annotation_clip=False)
    for mark in marks(windows, moves):
        for axes in (above, below):
            color, style = ("firebrick", "--") if mark.back else ("black", "-")
            axes.axvline(mark.place - 0.5, color=color, linestyle=style)
        at = (mark.place - 0.5, below.get_ylim()[1])
        below.annotate(mark.said, at, (4, -4), textcoords="offset points", va="top", fontsize=8)
    step = max(1, -(-len(windows) // _MOST_DATES))
    shown = range(0, len(windows), step)
    dates = [str(windows[place].window).partition(" to ")[0] for place in shown]
    below.set_xticks(shown, dates, rotation=30, ha="right", fontsize=8)
    below.set_xlabel("first moment of the window (UTC)")
    return figure


def marks(windows: Sequence[RecordedWindow], moves: Sequence[Event]) -> list[Mark]:
    """Return where other champions begin: windows follow a version, whenever they were judged.

    Args:
        windows: By time.
        moves: Promotions and rollbacks, by time. The last one counts too, before there is a window of it.
    """
    found = []
    for place, window in enumerate(windows):
        if not place or window.version != windows[place - 1].version:
            found.append(_mark(place, window.version, moves, windows[:place]))
    moved = [event for event in moves if event.event in CHAMPION_MOVES]
    if windows and moved and moved[-1].version != windows[-1].version:
        found.append(_mark(len(windows), int(moved[-1].version or 0), moves, windows))
    return found


def _mark(place: int, version: int, moves: Sequence[Event], before: Sequence[RecordedWindow]) -> Mark:
    """Return the mark of a version: it was rolled back to where it was promoted before."""
    name = version_name(version)
    kinds = [event.event for event in moves if event.version == version]
    been = any(one.version == version for one in before)
    back = EventKind.ROLLED_BACK in kinds and (been or EventKind.PROMOTED not in kinds)
    return Mark(place, f"rolled back to {name}" if back else f"{name} promoted", back)


def _heat(axes: Axes, windows: Sequence[RecordedWindow], streams: Sequence[str]) -> None:
    """Draw how far each stream has come to an alarm; where no bet was made it is grey."""
    axes.set_title(
        "Did inputs or answers move? Above a window, x: moved, R: retrain, b: broken data",
        loc="left",
        pad=18,
    )
    values = [[window.evidence.get(name, np.nan) for window in windows] for name in streams]
    table = np.asarray(values, dtype=float).reshape(len(streams), len(windows))
    shades = axes.imshow(
        table, cmap=colormaps["Reds"].with_extremes(bad="gainsboro"), vmin=0, vmax=1, aspect="auto"
    )
    axes.set_yticks(range(len(streams)), streams, fontsize=8)
    bar = axes.figure.colorbar(shades, ax=axes, ticks=[0, 0.5, 1], pad=0.01, aspect=30)
    bar.set_ticklabels(["none", "half-way", "alarm"])
    bar.set_label("evidence, on a log scale; grey: not judged", fontsize=8)


def _risk(axes: Axes, windows: Sequence[RecordedWindow]) -> None:
    places = np.arange(len(windows))
    risks = np.asarray([np.nan if window.risk is None else window.risk for window in windows], dtype=float)
    errors = np.asarray([window.risk_error for window in windows], dtype=float)
    bound = np.asarray([window.tolerated for window in windows], dtype=float)
    axes.errorbar(
        places,
        risks,
        _STANDARD_ERRORS * errors,
        marker=".",
        linestyle="",
        elinewidth=1,
        label=f"mean loss, {_STANDARD_ERRORS} standard errors",
    )
    if np.isfinite(bound).any():
        axes.step(places, bound, where="mid", color="firebrick", label="tolerated")
    axes.set_title("Does it hurt?", loc="left")
    axes.set_ylabel(f"mean loss ({_metrics(windows)})", fontsize=8)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8)


def _metrics(windows: Sequence[RecordedWindow]) -> str:
    return ", ".join(sorted({window.rules.metric.replace("_", " ") for window in windows}))


def _strongest(windows: Sequence[RecordedWindow]) -> list[str]:
    """Return the streams that any bet was made on, the strongest evidence first."""
    most: dict[str, float] = {}
    for window in windows:
        for name, evidence in window.evidence.items():
            most[name] = max(most.get(name, 0.0), evidence)
    return sorted(most, key=lambda name: -most[name])[:_MOST_STREAMS]
