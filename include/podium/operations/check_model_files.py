"""Check model files as a commit hook or CI does: without Airflow, a registry or a database."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from podium.errors import DataError
from podium.model_file.baseline_file import baseline_paths, read_baseline_file
from podium.model_file.loading import load_specs_of, model_files
from podium.settings import project_home


def check_files(paths: Iterable[Path]) -> tuple[list[str], list[Path]]:
    """Check model files, and the baseline files that their gates name.

    Args:
        paths: Model files, and folders of them.

    Returns:
        What is wrong, and the model files that were looked at.
    """
    named = [file for path in paths for file in (model_files(path) if path.is_dir() else [path])]
    # A file that is named beside its folder is one file, not a second of its model.
    files = list({file.absolute(): file for file in named}.values())
    specs, errors = load_specs_of(files)
    problems = [problem for error in errors for problem in str(error).splitlines()]
    for spec in specs.values():
        for path in baseline_paths(spec):
            try:
                read_baseline_file(project_home() / path)
            except DataError as error:
                problems.append(f"{spec.name}: {error}")
    if not files:
        problems.append(f"no model file in {', '.join(map(str, paths))}")
    return problems, files
