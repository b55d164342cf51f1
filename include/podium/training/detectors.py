"""Own detectors: functions of the user's that say how far a window's rows are from those of the reference.

    def spread(reference: pd.DataFrame, window: pd.DataFrame) -> float: ...

Each gets inputs as clients send them, and returns one number: the greater, the further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd

from podium.errors import TrainerError
from podium.metrics.reference import Detector
from podium.model_file.user_code import import_object, trainer_errors


def own_detectors(paths: Sequence[str]) -> dict[str, Detector]:
    """Return the detectors that a model file lists, by their import path.

    Raises:
        TrainerError: One is not there.
    """
    return {path: partial(_detect, path, import_object(path)) for path in paths}


def _detect(path: str, function: Detector, reference: pd.DataFrame, window: pd.DataFrame) -> float:
    """Ask one.

    Raises:
        TrainerError: It raised, or did not return a finite number.
    """
    with trainer_errors(path):
        found = function(reference.copy(), window.copy())
    try:
        number = float(found)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise TrainerError(f"{path} must return a finite number, not {found!r}")
    return number
