"""docs/add-a-model.md, followed literally in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from podium.settings import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "docs" / "add-a-model.md"


def test_the_document_is_followed_literally(tmp_path: Path) -> None:
    for folder in ("include", "qa"):
        shutil.copytree(PROJECT_ROOT / folder, tmp_path / folder)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    paths = [str(tmp_path / "include"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "160"}
    for name in ("PODIUM_HOME", "PODIUM_MODELS_DIR"):
        environment.pop(name, None)
    told = ""
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        done = subprocess.run(
            ["sh", "-e", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    assert "wrote include/models/house_prices.yaml" in told
    assert re.search(r"\d model files checked, 0 problems", told)
    assert "mean_absolute_error" in told
    assert "1 passed" in told
    assert (tmp_path / "models" / "house-prices" / "model" / "MLmodel").is_file()
