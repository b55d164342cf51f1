"""Baseline files as gates compare with them: their labels are those that the model file means."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from podium.gates.evidence import BaselineFile
from podium.model_file.baseline_file import baseline_paths, read_baseline_file
from podium.model_file.spec import ModelSpec
from podium.training.data import normalised_labels


def read_baseline_files(spec: ModelSpec, home: Path) -> dict[str, BaselineFile]:
    """Read the baseline files that the gates name.

    Args:
        spec: The model file.
        home: The project's top folder, to which the paths are relative.

    Raises:
        DataError: A file is not there, or is no JSON object of numbers with perhaps a list of labels.
    """
    return {path: _read(spec, home / path) for path in baseline_paths(spec)}


def _read(spec: ModelSpec, path: Path) -> BaselineFile:
    metrics, labels = read_baseline_file(path)
    names = normalised_labels(pd.Series(labels, dtype=str), spec.data.label_map, spec.labels)
    return BaselineFile(metrics=metrics, labels=tuple(dict.fromkeys(names)))
