"""The model files that the project ships, as the tests' stacks run them."""

from __future__ import annotations

from pathlib import Path

from podium.settings import PROJECT_ROOT

SHIPPED = PROJECT_ROOT / "include" / "models"
# Where cores are shared, fine-tuning and trying 119 functions takes longer than the tests wait.
SMALLER = {
    "epochs: 12": "epochs: 7",
    "share: 0.2": "share: 0.1",
    "min_holdout_rows: 80": "min_holdout_rows: 20",
}


def write_shipped_models(project: Path) -> Path:
    """Copy them below a folder that also keeps all that they score, and return the folder of the copies."""
    models = project / "include" / "models"
    models.mkdir(parents=True)
    for model_file in SHIPPED.glob("*.yaml"):
        # What people scored on this stack's machine stays.
        text = model_file.read_text().replace("output: .podium/scores", f"output: {project}/scores")
        (models / model_file.name).write_text(text)
    small = (models / "code_generation.yaml").read_text()
    for shipped, changed in SMALLER.items():
        assert shipped in small
        small = small.replace(shipped, changed)
    (models / "code_generation.yaml").write_text(small)
    return models
