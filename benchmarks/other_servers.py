"""LitServe and BentoML beside the model server, in an environment of their own.

Each serves the same forest in one process for the model, and puts requests that wait into one batch, as their
documentation recommends. Where the environment cannot be made, the reason is printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from rich.console import Console

VERSIONS = ("litserve==0.2.19", "bentoml==1.4.40")
# What the model is made of is as here.
SAME = ("scikit-learn", "numpy", "joblib")
MODEL = "forest.joblib"

LITSERVE = f"""
import sys
import joblib, litserve, numpy

class Forest(litserve.LitAPI):
    def setup(self, device):
        self.model = joblib.load("{MODEL}")

    def decode_request(self, request):
        return request["rows"][0]

    def batch(self, inputs):
        return numpy.asarray(inputs)

    def predict(self, rows):
        return self.model.predict_proba(rows)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {{"predictions": [output.tolist()]}}

if __name__ == "__main__":
    api = Forest(max_batch_size=64, batch_timeout=0.001, api_path="/invocations")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False,
               log_level="warning")
"""

BENTOML = f"""
import bentoml, joblib, numpy

@bentoml.service(workers=1)
class Forest:
    def __init__(self):
        self.model = joblib.load("{MODEL}")

    @bentoml.api(route="/invocations", batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, rows: list[list[float]]) -> list[list[float]]:
        return self.model.predict_proba(numpy.asarray(rows)).tolist()
"""


@dataclass(frozen=True)
class Server:
    """A running server, and the request for one row that it takes at ``/invocations``."""

    name: str
    url: str
    body: bytes


def environment(folder: Path) -> Path | None:
    """Make the environment in a folder, and return where its programs are; None: it cannot be had."""
    uv = str(Path(sys.executable).with_name("uv"))
    pins = (*VERSIONS, *(f"{name}=={version(name)}" for name in SAME))
    for words in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "env")],
        [uv, "pip", "install", "--quiet", "--python", str(folder / "env" / "bin" / "python"), *pins],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            Console().print(
                f"LitServe and BentoML are left out: {' '.join(words[:3])}: {why[0]}", markup=False
            )
            return None
    return folder / "env" / "bin"


@contextmanager
def others(
    folder: Path, model: Any, rows: pd.DataFrame, running: Any, ports: list[int]
) -> Iterator[list[Server]]:
    """Run both servers for the length of a with-block; none where there is no environment for them."""
    binaries = environment(folder)
    if binaries is None:
        yield []
        return
    joblib.dump(model, folder / MODEL)
    (folder / "lit_forest.py").write_text(LITSERVE)
    (folder / "bento_forest.py").write_text(BENTOML)
    body = json.dumps({"rows": rows.head(1).to_numpy().tolist()}).encode()
    commands = {
        "LitServe": [str(binaries / "python"), "lit_forest.py", str(ports[0])],
        "BentoML": [
            *(str(binaries / "bentoml"), "serve", "bento_forest:Forest", "--working-dir", str(folder)),
            *("--host", "127.0.0.1", "--port", str(ports[1])),
        ],
    }
    with ExitStack() as held:
        servers = []
        for (name, words), port in zip(commands.items(), ports, strict=True):
            server = Server(name, f"http://127.0.0.1:{port}", body)
            held.enter_context(running(words, server, folder / f"{name}.log"))
            servers.append(server)
        yield servers
