"""The workflow that users copy for their CI does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import yaml

from podium.settings import PROJECT_ROOT
from support.patience import PATIENCE_SECONDS

EXAMPLE = PROJECT_ROOT / "examples" / "ci"


def test_a_ci_smoke_champion_is_promoted_and_served_on_a_registry_that_is_thrown_away() -> None:
    (job,) = yaml.safe_load((EXAMPLE / "podium.yml").read_text())["jobs"].values()
    (chosen,) = job["strategy"]["matrix"]["include"]
    assert (PROJECT_ROOT / chosen["tests"]).exists()
    (proof,) = [step["run"] for step in job["steps"] if "prove_lifecycle" in step.get("run", "")]
    program, *words = proof.replace("${{ matrix.model }}", chosen["model"]).split()
    assert program == ".venv/bin/python"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PODIUM", "MLFLOW"))
    }
    done = subprocess.run(
        [sys.executable, *words],
        cwd=PROJECT_ROOT,
        env={**environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "champion of soccer-match-outcome: v1" in done.stdout
    served = re.search(r"soccer-match-outcome is served by version 1: (\{.*\})", done.stdout)
    assert served is not None
    assert "'labels': [" in served[1]
    assert not (PROJECT_ROOT / ".podium" / "ci").exists()
