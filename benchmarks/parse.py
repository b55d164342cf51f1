"""What many model files cost Airflow's Dag processor, beside dag-factory: ``make bench-parse``.

Each number of models is measured in a process of its own, as Airflow parses a Dag file: the model files are
read, the Dag file builds its Dags from them, and each Dag is serialised. Told is the processor time of that
process. dag-factory builds as many Dags of as many tasks from its own YAML, in an environment made for that.
How often a file is read is a test.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import process_time
from typing import Any

import yaml

HERE = Path(__file__)
PROJECT = HERE.parents[1]
SIZES = (10, 100, 1_000)
BESIDE = 100
LONG_AGO = 1_700_000_000
SHIPPED = PROJECT / "include" / "models" / "soccer_match_outcome.yaml"
NAME = "name: soccer-match-outcome"
DAG_FACTORY = "dag-factory==1.1.0"
TASKS = ("train", "register", "validate", "nominate", "approve", "promote", "announce", "note", "outcome")
# Airflow looks only into files with the words airflow and dag.
DAG_FILE = """import airflow
from dagfactory import load_yaml_dags

load_yaml_dags(globals(), config_filepath={path!r})
"""

BARE_DAG_FILE = """from airflow.sdk import DAG, BaseOperator, chain

for number in range({number}):
    with DAG(f"bare_{{number}}", schedule="0 6 * * 1", catchup=False, default_args={{"owner": "tests"}}):
        chain(*(BaseOperator(task_id=name) for name in {tasks}))
"""


def main() -> None:
    """Write model files, measure each number of them, and print."""
    if sys.argv[1:2] == ["--measure"]:
        sys.stdout.write(json.dumps(_measure(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    # Here, since dag-factory's environment runs this file too.
    from results import QUICK, Figure, at_most, keep

    sizes, figures, totals, read = SIZES[:-1] if QUICK else SIZES, [], {}, {}
    with tempfile.TemporaryDirectory(prefix="podium-parse-") as scratch:
        for models in sizes:
            found = _run(sys.executable, PROJECT / "dags" / "lifecycle.py", _models(Path(scratch), models))
            *parts, totals[models] = _each(found, models)
            read[models] = parts[0]
            name = f"{models:,} model files"
            for part, ms in zip(("read", "build", "serialise"), parts, strict=True):
                figures.append(Figure(f"{name}: {part}, a model", ms, "ms of CPU"))
            figures.append(at_most(f"{name}: in all, a model", totals[models], "ms of CPU", 10))
        figures.append(Figure("of the largest beside 100", totals[sizes[-1]] / totals[BESIDE], "x"))
        bare = _each(_bare(Path(scratch)), BESIDE)[-1]
        figures.append(
            Figure(f"Airflow alone, {BESIDE} Dags of as many empty tasks: a Dag", bare, "ms of CPU")
        )
        beside = _dag_factory(Path(scratch))
    if isinstance(beside, str):
        sys.stdout.write(f"dag-factory was left out: {beside}\n")
    else:
        theirs = _each(beside, BESIDE)[-1]
        figures.append(Figure(f"dag-factory, {BESIDE} Dags of as many tasks: a Dag", theirs, "ms of CPU"))
        figures.append(at_most("Podium / dag-factory", totals[BESIDE] / theirs, "x", 0.5))
        figures.append(Figure("Airflow alone / dag-factory", bare / theirs, "x"))
        floor = (bare + read[BESIDE]) / theirs
        figures.append(Figure("Airflow alone, and our model files read / dag-factory", floor, "x"))
    keep("parse", figures)


def _bare(scratch: Path) -> dict[str, float]:
    """Measure Dags of empty tasks, which need neither a file nor a form."""
    dags = scratch / "bare"
    dags.mkdir()
    (dags / "bare.py").write_text(BARE_DAG_FILE.format(number=BESIDE, tasks=TASKS))
    return _run(sys.executable, dags / "bare.py", scratch)


def _models(scratch: Path, number: int) -> Path:
    folder = scratch / str(number)
    folder.mkdir()
    text = SHIPPED.read_text()
    for model in range(number):
        path = folder / f"m{model}.yaml"
        path.write_text(text.replace(NAME, f"name: model-{model}"))
        # Files of this very moment are read again in any case.
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def _dag_factory(scratch: Path) -> dict[str, float] | str:
    """Measure dag-factory; says why where its environment cannot be made."""
    environment, config, dags = scratch / "environment", scratch / "dags.yml", scratch / "dags"
    python = environment / "bin" / "python"
    dags.mkdir()
    config.write_text(yaml.safe_dump({f"model_{number}": _their_dag() for number in range(BESIDE)}))
    (dags / "made.py").write_text(DAG_FILE.format(path=str(config)))
    uv = Path(sys.executable).with_name("uv")
    airflow = f"apache-airflow=={version('apache-airflow')}"
    for command in (
        [uv, "venv", "-q", "--python", sys.executable, environment],
        [uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, airflow, DAG_FACTORY],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except OSError as error:
            return str(error)
        except subprocess.CalledProcessError as error:
            return str(error.stderr).strip().splitlines()[-1]
    return _run(str(python), dags / "made.py", scratch)


def _their_dag() -> dict[str, Any]:
    """Return a Dag of as many tasks in a row, with the same arguments, as a lifecycle Dag."""
    tasks = {
        name: {
            "operator": "airflow.providers.standard.operators.bash.BashOperator",
            "bash_command": "true",
            "dependencies": [TASKS[place - 1]] if place else [],
        }
        for place, name in enumerate(TASKS)
    }
    defaults = {"owner": "tests", "retries": 9, "start_date": "2025-01-01"}
    return {"default_args": defaults, "schedule": "0 6 * * 1", "catchup": False, "tasks": tasks}


def _run(python: str, dag_file: Path, folder: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__PLUGINS_FOLDER": home,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PODIUM_MODELS_DIR": str(folder),
            "PYTHONPATH": f"{PROJECT / 'include'}:{PROJECT / 'plugins'}" if python == sys.executable else "",
        }
        command = [python, str(HERE), "--measure", str(dag_file), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _each(found: dict[str, float], models: int) -> list[float]:
    """Return the milliseconds a model of each part, and of all."""
    parts = [1_000 * found[part] / models for part in ("read", "build", "serialise")]
    return [*parts, sum(parts)]


def _measure(dag_file: Path, folder: Path) -> dict[str, float]:
    """Read, build and serialise the Dags of a file in this process; the seconds of processor time of each."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import Asset
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    # What the first Dag of a process imports is not a model's.
    Asset(name="first", uri="podium://first")
    # As the Dag processor does before it starts the process that parses (airflow/dag_processing/manager.py).
    gc.freeze()
    read = 0.0
    if dag_file.parent == PROJECT / "dags":
        from podium.model_file.loading import load_specs

        begun = process_time()
        load_specs(folder)
        read = process_time() - begun
    elif dag_file.name == "made.py":
        import dagfactory  # noqa: F401
    begun = process_time()
    bag = DagBag(str(dag_file))
    built = process_time()
    if bag.import_errors:
        raise SystemExit(str(bag.import_errors))
    for dag in bag.dags.values():
        LazyDeserializedDAG.from_dag(dag)
    return {"read": read, "build": built - begun, "serialise": process_time() - built, "dags": len(bag.dags)}


if __name__ == "__main__":
    main()
