"""The names that other systems store."""

from __future__ import annotations

import pytest
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from podium.names import LONGEST_IN_MLFLOW, name_from_mlflow, name_in_mlflow

ODD = [
    "hit@1",
    "the shop's own order",
    "100% [chars] (n<5)",
    "umbrüche",
    "line\nfeed\n",
    "a//b",
    "/a",
    "a/",
    "../a",
    ".",
    "..",
    "a/./b",
    "_x0040_",
    "_x0041@",
    "@x0041_",
    "_x0041_x0042_",
    "🚀",
]


@pytest.mark.parametrize("name", ODD)
def test_mlflow_takes_every_name_and_gives_it_back(name: str) -> None:
    for whole in (name, f"trainer.{name}", f"holdout.{name}.log_loss"):
        stored = name_in_mlflow(whole)
        _validate_metric_name(stored)
        _validate_param_name(stored)
        assert name_from_mlflow(stored) == whole
    assert name_in_mlflow(f"trainer.{name}").startswith("trainer.")


def test_two_names_are_two_in_mlflow() -> None:
    long = ["n" * 300, "n" * 301, "@" * 60, "@" * 61]
    stored = [name_in_mlflow(name) for name in [*ODD, *long]]
    assert len(set(stored)) == len(stored)
    assert max(map(len, stored)) <= LONGEST_IN_MLFLOW


@pytest.mark.parametrize("name", ["log_loss", "holdout.class_prior.log_loss", "loss/train", "top 5: hits-1"])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert name_in_mlflow(name) == name
