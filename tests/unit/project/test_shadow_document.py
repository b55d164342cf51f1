"""What docs/shadow-and-canary.md shows is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from unittest.mock import patch

import pytest
import uvicorn
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from podium.cli.main import app
from podium.ledger.live_answers import LiveStore, VersionOnTrial
from podium.model_file.gates import Gate, TaggedGate
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.serving import recorder
from podium.serving.settings import ServingSettings
from podium.settings import PROJECT_ROOT
from podium.stack.layout import Layout
from support.database import execute
from support.serving import serving
from support.trial import begun, champion_and_candidate, classifier, stored

DOCUMENT = (PROJECT_ROOT / "docs" / "shadow-and-canary.md").read_text()
MODEL = "soccer-match-outcome"
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
]
invoke = CliRunner().invoke


def commands(start: str) -> list[str]:
    return [line for line in LINES if line.startswith(start)]


def test_the_servers_options_mean_what_is_said(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[ServingSettings] = []
    monkeypatch.setattr(uvicorn, "run", lambda *_, **__: started.append(ServingSettings()))
    for line in commands("podium serve"):
        # The command hands its options to the server's processes in the environment.
        with patch.dict(os.environ):
            done = invoke(app, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, done.stderr
    said = [(one.shadow, one.shadow_share, one.canary) for one in started]
    assert said == [("candidate", 1, 0), ("v7", 0.2, 0), (None, 1, 10), ("candidate", 1, 10)]


def test_the_requests_and_comparisons_do_what_is_said(
    services: Services, toy_spec: ModelSpec, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.02)
    monkeypatch.setenv("PODIUM_MODELS_DIR", str(services.settings.home))
    model = f"{toy_spec.name}-document"
    (services.settings.home / "document.yaml").write_text(
        (services.settings.home / f"{toy_spec.name}.yaml")
        .read_text()
        .replace(f"name: {toy_spec.name}", f"name: {model}")
        .replace("'no'", "loss")
        .replace("'yes'", "win")
    )
    champion_and_candidate(services, model, classifier(1.0), classifier(0.01))
    predict, *feedback = commands("curl")
    with serving(services, model, shadow="candidate") as server:
        begun(server)
        assert "X-Model-Version: 1" in title(run(predict, server.url, model))
        stored(services, model, 1)
        for line in feedback:
            assert run(line, server.url, model) == '{"request_id":"order-4711","labels":1}'
    for line in commands("podium compare"):
        done = invoke(app, shlex.split(line.replace(MODEL, model))[1:])
        assert done.exit_code == 0, done.stderr
        assert "Too few to tell v2 from v1" in " ".join(done.stdout.split())
    execute(layout.ledger_owner_url, "UPDATE live_answers SET at = '2020-01-01' WHERE model = %s", model)
    (deletion,) = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)
    execute(layout.ledger_owner_url, deletion)
    assert list(LiveStore(services.ledger).read(model, VersionOnTrial(1, 2))) == []
    assert execute(layout.ledger_url, "SELECT 1 FROM live_labels WHERE model = %s", model) == []


def test_the_gates_are_gates() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    gates: list[Gate] = [
        TypeAdapter(TaggedGate).validate_python(gate) for gate in yaml.safe_load(block)["gates"]
    ]
    assert len(gates) == 2


def run(line: str, url: str, model: str) -> str:
    command = line.replace("localhost:8000", url).replace(MODEL, model)
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout


def title(headers: str) -> str:
    return re.sub(r"(?m)^[\w-]+", lambda name: name[0].title(), headers)
