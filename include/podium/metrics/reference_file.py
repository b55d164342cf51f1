"""A reference as JSON: as a file of its version, and as evidence."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from podium.errors import DataError
from podium.metrics.bins import Bins
from podium.metrics.reference import Column, Measured, Reference
from podium.metrics.windows import Window

# Among the files of a version, so that its manifest has it.
FILE = "podium_reference.json"

Content = dict[str, Any]


def reference_content(reference: Reference) -> Content:
    """Return a reference as it is kept."""
    return {
        # A list, for their order is that of the streams.
        "columns": [
            {"name": name, **asdict(column.bins), "counts": column.counts.tolist()}
            for name, column in reference.columns.items()
        ],
        "past": [measured_content(seen) for seen in reference.past],
        "at_promotion": reference.at_promotion,
        "unknown": reference.unknown,
        "windows": reference.windows,
        "answers": list(reference.answers),
        "detectors": list(reference.detectors),
        "metric": reference.metric,
        "importance": dict(finite(reference.importance)),
    }


def read_reference(content: Mapping[str, Any]) -> Reference:
    """Return the reference that was kept."""
    return Reference(
        {column["name"]: _column(column) for column in content["columns"]},
        tuple(map(read_measured, content["past"])),
        content["at_promotion"],
        content["unknown"],
        # An older Podium kept none of these.
        content.get("windows", ""),
        tuple(content.get("answers", ())),
        tuple(content.get("detectors", ())),
        content.get("metric", ""),
        content.get("importance", {}),
    )


def write_reference(folder: Path, reference: Reference) -> Path:
    """Write a reference into a folder, and return its file."""
    path = folder / FILE
    path.write_text(json.dumps(reference_content(reference), sort_keys=True), encoding="utf-8")
    return path


def reference_of(folder: Path) -> Reference | None:
    """Return the reference among the files of a version; None if it was made without one.

    Raises:
        DataError: It is not what Podium writes.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return read_reference(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{FILE} among the files of the version is not a reference: {error}") from error


def bins_digest(bins: Mapping[str, Bins]) -> str:
    """Return a name for exactly these bins: counts on others do not add up with theirs."""
    content = [[name, asdict(binned)] for name, binned in bins.items()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def measured_content(seen: Measured) -> Content:
    """Return what is measured of a window as it is kept."""
    return {
        "window": [seen.window.start.isoformat(), seen.window.end.isoformat()],
        "rows": seen.rows,
        "distances": dict(finite(seen.distances)),
        "shifts": dict(finite(seen.shifts)),
    }


def read_measured(content: Mapping[str, Any]) -> Measured:
    """Return what was measured of a window that was kept."""
    window = read_window(content["window"])
    return Measured(window, content["rows"], content["distances"], content["shifts"])


def read_window(span: Sequence[str]) -> Window:
    """Return the window that was kept."""
    return Window(*map(datetime.fromisoformat, span))


def finite(by_name: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers: JSON has no others."""
    for name, value in by_name.items():
        if math.isfinite(value):
            yield name, float(value)


def _column(content: Mapping[str, Any]) -> Column:
    bins = Bins(tuple(content["edges"]), tuple(content["categories"]), content["scale"])
    return Column(bins, np.asarray(content["counts"], dtype=np.int64))
