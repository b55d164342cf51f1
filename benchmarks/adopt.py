"""How fast a registry is adopted, beside reading the same bytes from the store: ``make bench-adopt``.

Real Postgres, MLflow and S3 on this machine. Each version is a small model with a random file of 5 MB; one is
champion and proves itself. Both sides read every file through MLflow, four versions at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import mlflow
import yaml
from results import QUICK, Figure, keep

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from podium.lifecycle.adopt import adopt, adopt_request
from podium.lifecycle.approval_policy import Person
from podium.model_file.loading import load_spec
from podium.services import connect
from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Paths
from podium.stack.running_stack import running_stack
from support.plain_mlflow import TRUST, log_plainly
from support.steps import asked_now
from support.toy import TOY, write_toy_rows

VERSIONS = int(os.environ.get("SIZE") or (20 if QUICK else 200))
MEGABYTES = 5
STATE = PROJECT_ROOT / ".podium" / "bench-adopt"


def main() -> None:
    """Fill a registry, read it bare, adopt it."""
    control.clean(Paths(STATE))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(STATE, parts={"postgres", "mlflow"}) as stack,
    ):
        home = Path(folder)
        os.environ |= {**stack.client_env(), "PODIUM_HOME": folder, "PODIUM_MODELS_DIR": folder}
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        os.chdir(home)
        write_toy_rows(home / "toy.csv", first_day="2024-01-01")
        (home / "toy.yaml").write_text(yaml.safe_dump({**TOY, "pickle": TRUST}))
        spec, services = load_spec(home / "toy.yaml"), connect()
        champion = _fill(home)
        bare = min(_read_bare(VERSIONS), _read_bare(VERSIONS))
        request = adopt_request(
            spec, asks=Person("amy"), reason="it serves since 2023", run=f"b/{uuid.uuid4()}"
        )
        begun = perf_counter()
        adopted = adopt(services, spec, request, asked_now(), str(champion))
        seconds = perf_counter() - begun
        if adopted.versions != VERSIONS:
            raise AssertionError(adopted)
    control.clean(Paths(STATE))
    size = VERSIONS * MEGABYTES
    keep(
        "adopt",
        [
            Figure(f"versions of {MEGABYTES} MB", VERSIONS, ""),
            Figure("adopting them", seconds, "s"),
            Figure("adopting, megabytes a second", size / seconds, "MB/s"),
            Figure("reading the same bytes alone", bare, "s"),
            Figure(
                "adopting as a multiple of reading alone",
                seconds / bare,
                "x",
                "<= 1.5 x",
                seconds <= 1.5 * bare,
            ),
            Figure("1,000 versions at this rate", seconds * 1000 / VERSIONS, "s"),
        ],
    )


def _fill(home: Path) -> int:
    """Make one version that is a model, and all others folders of its files and 5 MB beside them."""
    champion = log_plainly("toy", home, how="name")
    files = Path(mlflow.artifacts.download_artifacts(f"models:/toy/{champion}"))
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("filled")

    def make(_: int) -> None:
        run = client.create_run(experiment)
        client.log_artifacts(run.info.run_id, str(files), "model")
        with tempfile.TemporaryDirectory() as folder:
            blob = Path(folder) / "weights.bin"
            blob.write_bytes(b"bytes" + os.urandom(MEGABYTES * 1_000_000))
            client.log_artifact(run.info.run_id, str(blob), "model")
        client.create_model_version(
            "toy", f"{run.info.artifact_uri}/model", run.info.run_id, await_creation_for=None
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, range(VERSIONS - 1)))
    return champion


def _read_bare(versions: int) -> float:
    """Return the seconds in which MLflow's client alone reads the files of all versions, four at once."""

    def read(number: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            mlflow.artifacts.download_artifacts(f"models:/toy/{number}", dst_path=folder)

    begun = perf_counter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(1, versions + 1)))
    return perf_counter() - begun


if __name__ == "__main__":
    main()
