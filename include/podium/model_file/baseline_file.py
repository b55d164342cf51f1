"""Numbers that a team keeps in a file to hold new versions against, such as ``qa/baseline_metrics.json``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from podium.errors import DataError
from podium.model_file.gates import LabelCoverageGate
from podium.model_file.metric_gate import MetricGate
from podium.model_file.spec import ModelSpec
from podium.names import CHAMPION

_LABELS = "labels"


def baseline_paths(spec: ModelSpec) -> list[str]:
    """Return the baseline files that the gates name, each once."""
    named = [gate.baseline for gate in spec.gates if isinstance(gate, MetricGate)]
    named += [
        gate.label_coverage
        for gate in spec.gates
        if isinstance(gate, LabelCoverageGate) and isinstance(gate.label_coverage, str)
    ]
    return sorted({path for path in named if path is not None and path != CHAMPION})


def read_baseline_file(path: Path) -> tuple[dict[str, float], list[str]]:
    """Read a baseline file.

    Returns:
        Its finite numbers by name, and its labels as the file has them.

    Raises:
        DataError: The file is not there, or is no JSON object of numbers with perhaps a list of labels.
    """
    try:
        # Whole numbers as floats: JSON's have no end, a metric has.
        content = json.loads(path.read_text(encoding="utf-8"), parse_int=float)
    except OSError as error:
        raise DataError(f"baseline file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"baseline file {path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"baseline file {path}: must be an object of numbers by name")
    labels = content.get(_LABELS, [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f"baseline file {path}: {_LABELS} must be a list of texts, not {labels!r}")
    return {name: float(value) for name, value in content.items() if _is_number(value)}, labels


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
