"""Check model files as a commit hook or CI does: without Airflow, a registry or a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from podium.errors import DataError, SpecError, TrainerError
from podium.model_file.baseline_file import baseline_paths, read_baseline_file
from podium.model_file.document import read_document
from podium.model_file.gates import Gate
from podium.model_file.loading import ModelFile, model_files, read_model_files
from podium.model_file.metric_gate import MetricGate
from podium.model_file.problems import Location, key_text
from podium.model_file.spec import ModelSpec
from podium.model_file.user_code import code_file, function_problem
from podium.settings import project_home


def check_files(paths: Iterable[Path]) -> tuple[list[str], list[Path]]:
    """Check model files, and the functions, code and baseline files that they name.

    Args:
        paths: Model files, and folders of them.

    Returns:
        What is wrong, and the model files that were looked at.
    """
    named = [file for path in paths for file in (model_files(path) if path.is_dir() else [path])]
    # A file that is named beside its folder is one file, not a second of its model.
    files = list({file.absolute(): file for file in named}.values())
    good, errors = read_model_files(files)
    for file in good.values():
        if wrong := [*_wrong_functions(file), *_wrong_code(file)]:
            errors.append(SpecError(file.path, wrong))
    problems = [problem for error in errors for problem in str(error).splitlines()]
    for file in good.values():
        for path in baseline_paths(file.spec):
            try:
                read_baseline_file(project_home() / path)
            except DataError as error:
                problems.append(f"{file.spec.name}: {error}")
    if not files:
        problems.append(f"no model file in {', '.join(map(str, paths))}")
    return problems, files


def _wrong_functions(file: ModelFile) -> Iterator[str]:
    for location, path in _functions(file.spec):
        if wrong := function_problem(path):
            line = read_document(file.path).line(location)
            yield f"line {line}: {key_text(location)}: '{path}': {wrong}"


def _wrong_code(file: ModelFile) -> Iterator[str]:
    for place, path in enumerate(file.spec.code):
        try:
            code_file(project_home(), path)
        except TrainerError as error:
            yield f"line {read_document(file.path).line(('code', place))}: {error}"


def _functions(spec: ModelSpec) -> Iterator[tuple[Location, str]]:
    """Yield the functions that a model file names, each with its key."""
    if spec.trainer:
        yield ("trainer",), spec.trainer
    if spec.data.examples is not None:
        yield ("data", "examples"), spec.data.examples
    if spec.scoring is not None and spec.scoring.inputs is not None:
        yield ("scoring", "inputs"), spec.scoring.inputs
    if spec.monitoring is not None:
        for place, path in enumerate(spec.monitoring.detectors):
            yield ("monitoring", "detectors", place), path
    of_profiles = [(("profiles", name.value), less.gates or ()) for name, less in spec.profiles.items()]
    sections: list[tuple[Location, tuple[Gate, ...]]] = [((), spec.gates), *of_profiles]
    for section, gates in sections:
        for place, gate in enumerate(gates):
            if isinstance(gate, MetricGate) and ":" in gate.metric:
                yield (*section, "gates", place, "metric"), gate.metric
