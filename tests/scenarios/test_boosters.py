"""Boosters are trained and saved as docs/model-file.md tells, with text labels and columns of any name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import make_pipeline

from podium.model_file.spec import ModelSpec
from podium.training.local import train_locally
from support import toy_trainer
from support.steps import FIRST
from support.toy import TOY

NAMES = ["text length [chars]", "hour < noon?"]
BOOSTERS: list[tuple[str, list[str], Callable[[], Any]]] = [
    (
        "xgboost:XGBClassifier",
        ["xgboost.core.Booster", "xgboost.sklearn.XGBClassifier", "sklearn.utils._bunch.Bunch"],
        lambda: VotingClassifier([("xgb", _boost("xgboost", "XGBClassifier"))], voting="soft"),
    ),
    (
        "lightgbm:LGBMClassifier",
        ["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"],
        lambda: _boost("lightgbm", "LGBMClassifier"),
    ),
    (
        "catboost:CatBoostClassifier",
        ["catboost.core.CatBoostClassifier"],
        lambda: _boost("catboost", "CatBoostClassifier"),
    ),
]


def _boost(module: str, name: str) -> Any:
    quiet = {"verbose": 0} if module == "catboost" else {"verbosity": -1 if module == "lightgbm" else 0}
    return getattr(pytest.importorskip(module), name)(n_estimators=5, **quiet)


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(("_", "types", "booster"), BOOSTERS, ids=[name for name, _, _ in BOOSTERS])
def test_boosters_take_text_labels_and_any_column_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _: str, types: list[str], booster: Callable[[], Any]
) -> None:
    draws = np.random.default_rng(3)
    x = draws.normal(size=(600, 2))
    queue = np.select([x[:, 0] < -0.5, x[:, 0] < 0.5], ["billing", "access"], "network")
    rows = pd.DataFrame(x, columns=NAMES).assign(queue=queue)
    rows["day"] = pd.date_range("2024-01-01", periods=600).strftime("%Y-%m-%d")
    rows.to_csv(tmp_path / "tickets.csv", index=False)
    model = make_pipeline(ColumnTransformer([("all", "passthrough", NAMES)]), booster())
    monkeypatch.setattr(toy_trainer, "RETURNED", {"model": model.fit(rows[NAMES], rows["queue"])})
    content = {
        **TOY,
        "trainer": "support.toy_trainer:return_parts",
        "labels": ["billing", "access", "network"],
        "data": {"source": "tickets.csv", "time_column": "day", "label": "queue", "inputs": NAMES},
        "params": {},
        "skops_trusted_types": ["collections.OrderedDict", *types],
        "gates": [{"min_holdout_rows": 5}],
    }
    numbers = train_locally(ModelSpec.model_validate(content), FIRST, tmp_path, tmp_path / "out")
    assert numbers.by_model["candidate"]["accuracy"] > 0.9
