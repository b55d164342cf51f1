"""A trainer whose model carries a file of 600 MB, made anew each time, always the same."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from podium.training.run import FromCode, TrainingExamples
from podium.training.trainer import TrainedModel
from support.toy_line import SCRIPT
from support.toy_line import train as train_line

BLOCK = 4_000_000
BLOCKS = 150


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    small = train_line(examples, params)
    weights = Path(tempfile.mkdtemp(prefix="podium-big-")) / "weights.bin"
    with weights.open("wb") as stream:
        stream.writelines(_content())
    assert isinstance(small.model, FromCode)
    model = FromCode(SCRIPT, {**small.model.artifacts, "weights": weights})
    return TrainedModel(model, baselines=small.baselines)


def weights_are() -> tuple[int, str]:
    """Return the size of that file and its sha256."""
    digest = hashlib.sha256()
    for part in _content():
        digest.update(part)
    return BLOCK * BLOCKS, digest.hexdigest()


def _content() -> Iterator[bytes]:
    block = np.random.default_rng(5).bytes(BLOCK - 8)
    for number in range(BLOCKS):
        yield number.to_bytes(8, "big") + block
