"""Labels that come later, and the canary gate that counts what the server mirrored."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import RequestRefused
from podium.gates.live_comparison import Subject, compare_live
from podium.ledger.events import Event, EventKind
from podium.ledger.live_answers import LiveStore, VersionOnTrial
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Answer, Person
from podium.model_file.approval import ApprovalSpec
from podium.model_file.metric_names import TaskKind
from podium.names import Alias
from podium.services import Services
from podium.serving import recorder
from podium.serving.feedback import parse_feedback
from support.database import execute
from support.services import services_with
from support.serving import Server, make_champion, register_model, serving
from support.trial import (
    OUTCOME,
    RECORDS,
    ROWS,
    begun,
    champion_and_candidate,
    classifier,
    nominate,
    predict,
    regression,
    stored,
)

POLICY = ApprovalSpec(approvers=("amy",), expires_after="20d")  # type: ignore[arg-type]


@pytest.fixture
def model() -> str:
    return f"feedback-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.02)


def refused(server: Server, body: Any, status: int) -> str:
    answer = server.client.post("/feedback", json=body)
    assert answer.status_code == status, answer.text
    return str(answer.json()["message"])


def test_labels_are_kept_once_and_wrong_ones_are_explained(services: Services, model: str) -> None:
    champion_and_candidate(services, model, classifier(1.0), classifier(0.001))
    with serving(services, model, shadow="candidate", token="secret") as server:
        server.client.headers["Authorization"] = "Bearer secret"
        begun(server)
        answer = predict(server, RECORDS[:40])
        stored(services, model, 1)
        request, labels = answer.headers["X-Request-Id"], OUTCOME[:40].tolist()
        assert "39 labels; request" in refused(server, {"request_id": request, "labels": labels[1:]}, 400)
        unknown = {"request_id": request, "labels": [*labels[1:], "wn"]}
        assert 'row 39: unknown label "wn"; known: "loss", "win"' in refused(server, unknown, 400)
        assert "no answer to request x of" in refused(server, {"request_id": "x", "label": "win"}, 404)
        for _ in range(2):
            kept = server.client.post(
                f"/models/{model}/feedback", json={"request_id": request, "labels": labels}
            )
            assert (kept.status_code, kept.json()) == (202, {"request_id": request, "labels": 40})
        others = {"request_id": request, "labels": labels[::-1]}
        assert "has other labels already; the first ones stay" in refused(server, others, 409)
        paths = server.client.get("/openapi.json").json()["paths"]
        assert {"202", "404", "409"} <= paths["/feedback"]["post"]["responses"].keys()
        del server.client.headers["Authorization"]
        refused(server, others, 401)
    found = compare_live(
        LiveStore(services.ledger), Subject(model, TaskKind.CLASSIFICATION, ("win", "loss")), "log_loss"
    )
    log_loss = found.metrics[0]
    assert found.champion_labelled == 40
    assert log_loss.candidate > log_loss.champion + 0.2
    # One row in forty may cost a model as sure as the champion more than that.
    assert log_loss.verdict == ""


def test_one_label_of_a_number_must_be_a_number(services: Services, model: str) -> None:
    champion_and_candidate(services, model, regression(1), regression(2))
    with serving(services, model, canary=100) as server:
        begun(server)
        request = predict(server, RECORDS[:1]).headers["X-Request-Id"]
        stored(services, model, 1)
        assert 'row 0: "1" is not a number' in refused(server, {"request_id": request, "label": "1"}, 400)
        assert server.client.post("/feedback", json={"request_id": request, "label": 1}).status_code == 202


def test_where_nothing_is_stored_the_answer_says_how_to_switch_it_on(services: Services, model: str) -> None:
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    with serving(services, model) as server:
        server.wait_until_ready()
        said = refused(server, {"request_id": "x", "label": 1}, 409)
        assert "start the server with --shadow or --canary" in said


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_any_json_is_read_or_refused(content: Any) -> None:
    for body in (content, {"request_id": content, "labels": content}, {"request_id": "x", "label": content}):
        try:
            text = orjson.dumps(body)
        except orjson.JSONEncodeError:
            continue
        try:
            feedback = parse_feedback(text, "application/json")
        except RequestRefused:
            continue
        assert feedback.labels
        assert 0 < len(feedback.request_id) <= 200
        assert "\0" not in feedback.request_id


def approve(ledger: Ledger, model: str, run: str) -> Event:
    request = approval.open_request(services_with(ledger), POLICY, model, run)
    answer = Answer("Approve", "it is good enough", Person("amy"), datetime.now(UTC))
    return approval.judge(services_with(ledger), POLICY, request, answer, 1)


def test_a_candidate_cannot_be_approved_until_the_server_mirrored_enough_rows(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "COUNT_SECONDS", 0.02)
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    run = nominate(services, model, register_model(services, model, regression(2), ROWS), shadow_rows=50)
    with serving(services, model, shadow="candidate") as server:
        begun(server)
        predict(server, RECORDS[:49], **{"X-Request-Id": "first"})
        predict(server, RECORDS[:49], **{"X-Request-Id": "first"})
        server.wait_for(lambda: counted(services, model) == 49, "counted")
        early = approve(services.ledger, model, run)
        assert early.event is EventKind.ANSWER_INVALID
        assert "v2 has scored 49 of 50 rows beside the champion" in early.reason
        predict(server, RECORDS[:1])
        server.wait_for(lambda: counted(services, model) == 50, "counted")
        # Nobody asks for more: the record is not filled with what nobody counts.
        predict(server, RECORDS[:7])
        stored(services, model, 3)
        before = len(list(services.ledger.record()))
    assert counted(services, model) == 50
    # The server recorded no event.
    assert len(list(services.ledger.record())) == before
    assert approve(services.ledger, model, run).event is EventKind.APPROVED


def test_rows_that_were_mirrored_are_counted_when_the_server_stops(services: Services, model: str) -> None:
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    nominate(services, model, register_model(services, model, regression(2), ROWS), shadow_rows=50)
    with serving(services, model, shadow="candidate") as server:
        begun(server)
        predict(server, RECORDS[:30])
    assert counted(services, model) == 30


def test_rows_of_a_version_that_is_not_the_candidate_or_beside_another_champion_do_not_count(
    services: Services, model: str
) -> None:
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    number = register_model(services, model, regression(2), ROWS)
    with serving(services, model, shadow="v2") as server:
        begun(server)
        predict(server, RECORDS)
        stored(services, model, 1)
        nominate(services, model, number, shadow_rows=10)
    assert counted(services, model) == 0
    third = register_model(services, model, regression(3), ROWS)
    with serving(services, model, version=third, shadow="candidate") as server:
        begun(server)
        predict(server, RECORDS)
    assert [
        answer.rows for answer, _ in LiveStore(services.ledger).read(model, VersionOnTrial(third, 2))
    ] == [60]
    assert counted(services, model) == 0
    assert services.registry.aliases(model)[Alias.CANDIDATE] == 2


def counted(services: Services, model: str) -> int:
    """The rows of all counts of a model, whatever they are worth."""
    url = services.ledger.engine.url.render_as_string(hide_password=False)
    ((rows,),) = execute(url, "SELECT coalesce(sum(rows), 0) FROM live_counts WHERE model = %s", model)
    return int(rows)
