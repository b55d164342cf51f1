"""docs/add-a-model.md and docs/frameworks.md, followed literally in a copy of the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mlflow.models import Model

from podium.settings import PROJECT_ROOT
from support.documents import copy_project, follow


def test_the_document_is_followed_literally(tmp_path: Path) -> None:
    told = follow(PROJECT_ROOT / "docs" / "add-a-model.md", tmp_path, copy_project(tmp_path))
    assert "wrote include/models/house_prices.yaml" in told
    assert re.search(r"\d model files checked, 0 problems", told)
    assert "mean_absolute_error" in told
    assert "1 passed" in told
    assert (tmp_path / "models" / "house-prices" / "model" / "MLmodel").is_file()


@pytest.mark.parametrize(("folder", "model"), [("parquet-folder", "energy-demand"), ("sql", "late-payment")])
def test_an_example_is_followed_literally(tmp_path: Path, folder: str, model: str) -> None:
    told = follow(PROJECT_ROOT / "examples" / folder / "README.md", tmp_path, copy_project(tmp_path))
    assert "1 model files checked, 0 problems" in told
    assert (tmp_path / "models" / model / "model" / "MLmodel").is_file()


def test_the_examples_of_frameworks_are_trained_as_documented(tmp_path: Path) -> None:
    for package in ("lightgbm", "torch", "skl2onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: `make test` installs it")
    told = follow(PROJECT_ROOT / "docs" / "frameworks.md", tmp_path, copy_project(tmp_path))
    for name, file in (
        ("lightgbm", "model.lgb"),
        ("pytorch", "data/model.pt2"),
        ("onnx", "model.onnx"),
    ):
        saved = tmp_path / "models" / f"churn-{name}" / "model"
        assert f"The model is in models/churn-{name}/model" in told
        assert (saved / file).is_file()
        model = Model.load(str(saved))
        assert name in model.flavors
        assert model.metadata["classes"] == ["no", "yes"]
    losses = re.findall(r"log_loss +([0-9.]+) +([0-9.]+)", told)
    assert len(losses) == 3
    assert all(float(ours) < float(prior) - 0.05 for ours, prior in losses), losses
