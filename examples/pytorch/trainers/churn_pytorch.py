"""A network of PyTorch: exported with a free batch dimension; no pickle, and no class to import later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.dummy import DummyClassifier
from torch import nn

from podium.training import TrainedModel, TrainingExamples

LABELS = ["no", "yes"]


class Churn(nn.Module):
    """Scale the inputs, and answer with a probability for each label."""

    def __init__(self, mean: torch.Tensor, spread: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.layers = nn.Sequential(nn.Linear(len(mean), 16), nn.ReLU(), nn.Linear(16, len(LABELS)))

    def scores(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the loss takes: numbers before the softmax."""
        return self.layers((rows - self.mean) / self.spread)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Take one tensor (rows, inputs) of 32 bits; a classification answers with probabilities."""
        return torch.softmax(self.scores(rows), dim=1)


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Learn from all rows at once; the seed makes it the same network each time."""
    torch.manual_seed(0)
    rows = torch.tensor(examples.inputs.to_numpy(np.float32))
    label = torch.tensor(examples.label.map(LABELS.index).to_numpy())
    network = Churn(rows.mean(dim=0), rows.std(dim=0))
    steps = torch.optim.Adam(network.parameters(), lr=0.02)
    loss = nn.CrossEntropyLoss()
    for _ in range(int(params["epochs"])):
        steps.zero_grad()
        off = loss(network.scores(rows), label)
        off.backward()
        steps.step()
    prior = DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)
    return TrainedModel(
        network, baselines={"class_prior": prior}, metrics={"loss": off.item()}, classes=LABELS
    )
