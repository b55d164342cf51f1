"""docs/add-a-model.md and docs/frameworks.md, followed literally in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.models import Model

from podium.settings import PROJECT_ROOT

DOCUMENTS = PROJECT_ROOT / "docs"


def follow(document: str, folder: Path) -> str:
    """Run each block of commands of a page in a copy of the project, and return what they told."""
    for name in ("include", "qa", "examples"):
        shutil.copytree(PROJECT_ROOT / name, folder / name)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", folder)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    paths = [str(folder / "include"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "160"}
    for name in ("PODIUM_HOME", "PODIUM_MODELS_DIR"):
        environment.pop(name, None)
    told = ""
    for block in re.findall(r"```sh\n(.*?)```", (DOCUMENTS / document).read_text(), re.DOTALL):
        done = subprocess.run(
            ["sh", "-e", "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    return told


def test_a_model_is_added_as_documented(tmp_path: Path) -> None:
    told = follow("add-a-model.md", tmp_path)
    assert "wrote include/models/house_prices.yaml" in told
    assert re.search(r"\d model files checked, 0 problems", told)
    assert "mean_absolute_error" in told
    assert "1 passed" in told
    assert (tmp_path / "models" / "house-prices" / "model" / "MLmodel").is_file()


def test_the_examples_of_frameworks_are_trained_as_documented(tmp_path: Path) -> None:
    for package in ("lightgbm", "torch", "skl2onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: `make test` installs it")
    told = follow("frameworks.md", tmp_path)
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
