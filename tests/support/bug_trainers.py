"""The bug report trainer on examples that something happened to."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from podium.training import TrainedModel, TrainingExamples
from trainers import bug_severity_clf


def train_on_scrambled_labels(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    order = np.random.default_rng(1).permutation(len(examples))
    scrambled = examples.label.iloc[order].reset_index(drop=True)
    return bug_severity_clf.train(replace(examples, label=scrambled), params)


def train_without_critical(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    kept = (examples.label != "Critical").to_numpy()
    left = replace(examples, inputs=examples.inputs[kept], label=examples.label[kept])
    return bug_severity_clf.train(left, params)
