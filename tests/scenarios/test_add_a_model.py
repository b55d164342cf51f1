"""docs/add-a-model.md, followed literally in a copy of the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
