"""Pending, approve and reject: what waits, and what became of an answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.app import GROUPS
from podium.cli.main import app
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Answer, Person, Request
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.services import Services
from support.answering import answering

LONG = "toy-with-a-name-that-is-as-long-as-names-of-models-are-in-some-houses"
STATEMENT = "I looked at the calibration"
RUN = "lifecycle_toy/r"
REASON = "as good as before"


@pytest.fixture
def spec(own_services: Services, toy_file: Callable[..., Path]) -> ModelSpec:
    return load_spec(toy_file(name=LONG, approval__approvers=["amy", "ben"], approval__checklist=[STATEMENT]))


@pytest.fixture
def waiting(own_services: Services, spec: ModelSpec) -> Request:
    """A version that waits, nominated and judged on record."""
    report = {
        "model": spec.name,
        "version": 5,
        "champion": None,
        "results": [],
        "scores": {"rows": 1050, "candidate": {"log_loss": 0.8666}, "references": {}},
        "digest": "d",
    }
    for kind, key, details in (
        (EventKind.REGISTERED, None, {"manifest": {}, "manifest_digest": "m"}),
        (EventKind.GATES_PASSED, None, report),
        (EventKind.NOMINATED, f"nominated:{RUN}", {}),
    ):
        own_services.ledger.append(NewEvent(kind, spec.name, 5, run=RUN, key=key, details=details))
    return approval.open_request(own_services, spec.approval, spec.name, RUN, "olga", {})


@pytest.fixture
def airflow(
    own_services: Services, spec: ModelSpec, waiting: Request, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Airflow's API with Podium's door of answers: an answer is on record before its response is sent."""
    state: dict[str, Any] = {"status": 200, "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
            state["asked"].append(self.path)
            content: dict[str, Any] = {"access_token": body.get("username", "")}
            status = 200
            if self.command == "PATCH":
                status, content = state["status"], {"detail": "Forbidden"}
                if status == 200:
                    self._take(body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_POST = do_PATCH = do  # noqa: N815

        def _take(self, body: dict[str, Any]) -> None:
            who = self.headers["Authorization"].removeprefix("Bearer ")
            form = body["params_input"]
            ticked = frozenset(text for name, text in spec.approval.ticks.items() if form.get(name))
            answer = Answer(body["chosen_options"][0], form["reason"], Person(who), datetime.now(UTC), ticked)
            approval.judge(own_services, spec.approval, waiting, answer, None)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("PODIUM_AIRFLOW_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("PODIUM_AIRFLOW_PASSWORD", "secret")
    yield state
    server.shutdown()
    server.server_close()


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(words), input=stdin, env={"COLUMNS": "80"})


def text(done: Result) -> str:
    return " ".join(done.output.split())


def test_what_waits_is_told_whole_in_80_columns(airflow: dict[str, Any], waiting: Request) -> None:
    done = run("pending")
    assert f"{LONG} v5" in text(done)
    assert f"waits until {waiting.expires_at:%Y-%m-%d %H:%M} UTC (59 min left)" in text(done)
    assert "v5 becomes the first champion: log loss 0.8666" in text(done)
    assert "approved by 0 of 1; may decide: amy, ben; asked by olga" in text(done)
    assert f"/podium/decisions/{waiting.seq}\n" in done.output
    (item,) = json.loads(run("pending", "--json").output)
    assert (item["model"], item["version"], item["request"]) == (LONG, 5, waiting.seq)
    assert item["expires_at"] == waiting.expires_at.astimezone(UTC).isoformat()


def test_an_approval_is_asked_for_ticked_and_said_to_count(airflow: dict[str, Any]) -> None:
    done = run("approve", LONG, "--reason", REASON, "--user", "Amy", stdin="y\ny\n")
    assert done.exit_code == 0, done.output
    assert f"Confirm: {STATEMENT}" in text(done)
    assert f"Approve {LONG} v5?" in text(done)
    assert f"{LONG} v5 is approved. Podium promotes it now" in text(done)
    gone = run("approve", LONG, "--reason", REASON, "--user", "ben", "--yes")
    assert gone.exit_code == 1
    assert f"{LONG}: no version waits for approval" in text(gone)


def test_one_of_two_approvals_is_said_to_be_one(
    airflow: dict[str, Any], own_services: Services, toy_file: Callable[..., Path], spec: ModelSpec
) -> None:
    policy = {"approval__approvers": ["amy", "ben"], "approval__checklist": [STATEMENT]}
    toy_file(name=LONG, approval__required=2, **policy)
    object.__setattr__(spec.approval, "required", 2)
    done = run("approve", LONG, "--reason", REASON, "--user", "amy", "--yes")
    assert f"Your approval of {LONG} v5 counts: 1 of 2." in text(done)
    assert "approved by 1 of 2 (amy)" in text(run("pending"))


@pytest.mark.parametrize(
    ("who", "ticks", "why"),
    [
        ("olga", "y\ny\n", "olga is not an approver (approvers: amy, ben)"),
        ("amy", "n\ny\n", f"not ticked: '{STATEMENT}'"),
    ],
)
def test_an_answer_that_does_not_count_is_told_with_its_reason(
    airflow: dict[str, Any], who: str, ticks: str, why: str
) -> None:
    done = run("approve", LONG, "--reason", REASON, "--user", who, stdin=ticks)
    assert done.exit_code == 1
    assert f"{LONG} v5: your answer does not count: {why}" in text(done)


def test_a_rejection_is_said_to_count(airflow: dict[str, Any]) -> None:
    done = run("reject", LONG, "--reason", "draws are much worse", "--user", "ben", "--yes")
    assert (done.exit_code, f"{LONG} v5 is rejected." in text(done)) == (0, True)


def test_who_does_not_confirm_or_says_too_little_answers_nothing(airflow: dict[str, Any]) -> None:
    done = run("reject", LONG, "--reason", REASON, "--user", "ben", stdin="n\n")
    assert f"no answer was sent; {LONG} v5 still waits" in text(done)
    short = run("reject", LONG, "--reason", "ok", "--user", "ben", "--yes")
    assert "--reason: the reason has 2 letters and digits, at least 10 are required" in text(short)
    assert airflow["asked"] == []


def test_what_airflow_refuses_is_no_success(airflow: dict[str, Any]) -> None:
    airflow["status"] = 403
    done = run("approve", LONG, "--reason", REASON, "--user", "eve", "--yes")
    assert done.exit_code == 1
    assert "403" in text(done)
    assert "Forbidden" in text(done)


@pytest.mark.parametrize("command", ["status", "pending", f"history {LONG}", "--help"])
def test_what_is_asked_every_day_imports_nothing_heavy(
    own_services: Services, waiting: Request, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    script = (
        "import sys; from podium.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "print(sorted({'mlflow', 'pandas', 'sklearn', 'numpy', 'apprise'} & {*sys.modules}))"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with answering({"/api/2.0/mlflow/registered-models/search": "{}"}) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        done = subprocess.run(
            [sys.executable, "-c", script, *command.split()], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_each_command_has_its_place_in_the_help() -> None:
    from typer.main import get_command

    commands = get_command(app).list_commands(None)  # type: ignore[attr-defined, arg-type]
    assert commands == [name for names in GROUPS.values() for name in names]


@pytest.mark.parametrize(("state", "code"), [("success", 0), ("failed", 1)])
def test_a_run_is_started_and_each_step_is_told_as_it_ends(
    own_services: Services,
    toy_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    code: int,
) -> None:
    spec = load_spec(toy_file(name="toy-run"))
    reference = f"{spec.lifecycle_dag_id}/r1"
    own_services.ledger.append(NewEvent(EventKind.REGISTERED, spec.name, 7, run=reference))
    dag = f"/api/v2/dags/{spec.lifecycle_dag_id}"
    steps = [{"task_id": "train", "state": "success"}, {"task_id": "validate", "state": state}]
    pages = {
        "/auth/token": {"access_token": "t"},
        dag: {"is_paused": False},
        f"{dag}/dagRuns": {"dag_run_id": "r1"},
        f"{dag}/dagRuns/r1": {"state": state},
        f"{dag}/dagRuns/r1/taskInstances": {"task_instances": steps},
    }
    monkeypatch.setenv("PODIUM_AIRFLOW_PASSWORD", "secret")
    with answering(pages) as url:
        monkeypatch.setenv("PODIUM_AIRFLOW_URL", url)
        done = run("run", spec.name, "--as-of", "2025-06-01", "--follow", "--user", "olga")
    assert done.exit_code == code
    said = text(done)
    assert f"Started {spec.lifecycle_dag_id} r1. v7 registered train: success validate: {state}" in said
    assert ("failed at validate" in said) == (state == "failed")
