"""Podium's pages in Airflow's own application: who sees and may send what, and what is told of an outage."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import yaml

from podium.ledger.events import EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.servers import Served, tell
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, tell_watched
from podium.lifecycle import approval, removal
from podium.lifecycle.approval_policy import Request
from podium.lifecycle.watched import WATCH
from podium.model_file.spec import ModelSpec
from podium.monitoring.watch_propose import propose, run_of
from podium.monitoring.watch_record import judge_window
from podium.services import Services
from podium.settings import PROJECT_ROOT
from support.answering import answering
from support.services import services_with
from support.toy import TOY
from support.watched import ramp_step, terms

PASSWORDS = ("VIEWER", "OPERATOR", "APPROVER", "ADMIN", "LOOKUP")
SCRIPT = "<script>alert(1)</script>"
SEARCH = "/api/2.0/mlflow/registered-models/search"
WATCHED = f"paged-watched-{uuid.uuid4().hex[:8]}"
RAMPED = f"paged-ramped-{uuid.uuid4().hex[:8]}"
OTHER = f"paged-too-{uuid.uuid4().hex[:8]}"
KEPT = f"paged-kept-{uuid.uuid4().hex[:8]}"
REASON = "a reason that is long enough <b>&"


class Told(NamedTuple):
    status: int
    text: str
    headers: Mapping[str, str]


def get(who: str, path: str, **headers: str) -> dict[str, Any]:
    return {"who": who, "path": path, "headers": headers}


def post(
    who: str, path: str, page: str, headers: Mapping[str, str] | None = None, **form: str
) -> dict[str, Any]:
    return {"who": who, "path": path, "page": page, "headers": dict(headers or {}), "form": form}


class Asked:
    """A model whose run waits for the account ``approver``, beside a model file of a bad name."""

    def __init__(self, folder: Path, ledger_url: str) -> None:
        self.model = f"paged-{uuid.uuid4().hex[:8]}"
        content = {**TOY, "name": self.model, "description": SCRIPT}
        content["approval"] = {"approvers": ["Approver"], "reason_min_length": 12, "checklist": ["I looked"]}
        (folder / f"{self.model}.yaml").write_text(yaml.safe_dump(content))
        (folder / "bad.yaml").write_text(yaml.safe_dump({**content, "name": SCRIPT}))
        (folder / "watched.yaml").write_text(yaml.safe_dump({**content, "name": WATCHED}))
        (folder / "ramped.yaml").write_text(yaml.safe_dump({**content, "name": RAMPED}))
        (folder / "other.yaml").write_text(yaml.safe_dump({**content, "name": OTHER}))
        rules = {"former_champions": 1, "versions": 1, "days": 10}
        (folder / "kept.yaml").write_text(yaml.safe_dump({**content, "name": KEPT, "retention": rules}))
        self.spec = ModelSpec.model_validate(content)
        self.services: Services = services_with(Ledger(ledger_url))
        self.run = f"{self.spec.lifecycle_dag_id}/r1"
        self.environment = {
            "CARDS": self.run,
            "DAGS": "rollback_champion settle_champion hold_version retention",
            "AIRFLOW__CORE__AUTH_MANAGER": "podium_airflow.auth_manager.PodiumFabAuthManager",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW__API__SECRET_KEY": "of-a-test",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of-a-test-and-long-enough-for-sha-512-" + "x" * 32,
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
            # An answer is told to MLflow as well, which is silent here.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_READER_PASSWORD": "not-a-secret",
            "PODIUM_LEDGER_URL": ledger_url,
            "PODIUM_MODELS_DIR": str(folder),
            **{f"PODIUM_{name}_PASSWORD": f"{name}-not-a-secret" for name in PASSWORDS},
        }
        self.request = self._ask()

    def _ask(self) -> int:
        gate = {
            "gate": f"{SCRIPT} at most 1",
            "status": "failed",
            "value": 2.0,
            "limit": 1.0,
            "level": "advisory",
        }
        scores = {"rows": 10, "candidate": {"log_loss": 0.5}, "references": {}}
        report = {"model": self.model, "version": 1, "champion": None, "scores": scores, "results": [gate]}
        registered = {"manifest": {}, "manifest_digest": "m", "signature": None}
        append = self.services.ledger.append
        append(NewEvent(EventKind.REGISTERED, self.model, 1, reason=SCRIPT, run=self.run, details=registered))
        judged = {**report, "digest": "d"}
        append(NewEvent(EventKind.GATES_PASSED, self.model, 1, reason="passed", run=self.run, details=judged))
        append(NewEvent(EventKind.NOMINATED, self.model, 1, run=self.run, key=f"nominated:{self.run}"))
        asked = approval.open_request(self.services, self.spec.approval, self.model, self.run, "operator")
        return asked.seq

    @property
    def page(self) -> str:
        return f"/podium/decisions/{self.request}"

    def events(self) -> list[tuple[str, str]]:
        return [(str(event.event), event.reason) for event in self.services.ledger.history(self.model)]


@pytest.fixture(scope="module")
def asked(ledger_url: str, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return Asked(tmp_path_factory.mktemp("asked"), ledger_url)


@pytest.fixture(scope="module")
def mlflow() -> Iterator[tuple[str, list[str]]]:
    """Where an MLflow is in which somebody set aliases by hand, and what it is asked."""
    aliases = {"champion": 5, "case-4711": 1, "baseline": 3}
    bears = [{"alias": alias, "version": str(version)} for alias, version in aliases.items()]
    asked: list[str] = []
    with answering({SEARCH: {"registered_models": [{"name": KEPT, "aliases": bears}]}}, asked=asked) as url:
        yield url, asked


@pytest.fixture(scope="module")
def told(
    run_script: Callable[..., dict[str, Any]], asked: Asked, mlflow: tuple[str, list[str]]
) -> Mapping[str, Told]:
    """All that is asked, in this order, of one application: starting it takes half a minute."""
    for number in (1, 2):
        promoted = NewEvent(EventKind.PROMOTED, OTHER, number, number - 1 or None, actor="amy")
        asked.services.ledger.append(promoted)
    proposal = watch_windows(asked)
    for server, version, problem in (("one:8000", 2, ""), (SCRIPT, 1, SCRIPT)):
        tell(asked.services.ledger, server, 1, [Served(OTHER, version, problem)])
    asks = {
        **looks(asked),
        **answers(asked),
        **actions(),
        **windows(proposal),
        **keeping(old_versions(asked)),
        "old with aliases": get("approver", f"/podium/old/models/{KEPT}")
        | {"environment": {"MLFLOW_TRACKING_URI": mlflow[0]}},
        **outage(asked),
    }
    found = run_script("ask_pages.py", ASKED=json.dumps(list(asks.values())), **asked.environment)
    assert not found["heavy_before"], "an Airflow process loads these before anybody asks for a page"
    return {name: Told(*one) for name, one in zip(asks, found["told"], strict=True)}


def looks(asked: Asked) -> dict[str, Any]:
    return {
        "every": get("viewer", "/podium/models"),
        "mine": get("approver", "/podium/models"),
        "theirs": get("operator", asked.page),
        "one": get("viewer", f"/podium/models/{asked.model}?version=1"),
        "decision": get("approver", asked.page),
        "tab": get("viewer", f"/podium/dags/{asked.spec.lifecycle_dag_id}"),
        "no tab": get("viewer", "/podium/dags/rollback_champion"),
        "none": get("viewer", f"/podium/models/{quote(SCRIPT)}"),
        "away": get("nobody", f"{asked.page}?x=1"),
        "api": get("nobody", "/podium/models", Accept="application/json"),
        # Podium's own account may read no lifecycle Dag.
        "every of nobody's": get("podium", "/podium/models"),
        "one of nobody's": get("podium", f"/podium/models/{asked.model}"),
        "decision of nobody's": get("podium", asked.page),
        "picture of nobody's": get("podium", f"{asked.page}/pictures"),
        "state of nobody's": get("podium", f"/podium/state/models/{asked.model}"),
        "pictures": get("viewer", f"{asked.page}/pictures"),
        "third folder": get("viewer", f"{asked.page}/pictures/2/calibration.png"),
        "model file": get("viewer", f"{asked.page}/pictures/0/..%2Fmodel%2FMLmodel"),
    }


def answers(asked: Asked) -> dict[str, Any]:
    tick = next(iter(asked.spec.approval.ticks))
    good = {"option": "Approve", "reason": REASON, tick: "on"}
    short = {**good, "reason": "too short"}
    return {
        "short": post("approver", asked.page, asked.page, **short),
        "unticked": post("approver", asked.page, asked.page, option="Approve", reason=REASON),
        "forged": post("approver", asked.page, asked.page, token="forged", **good),
        "without": post("approver", asked.page, asked.page, token="", **good),
        "cross": post("approver", asked.page, asked.page, {"Sec-Fetch-Site": "cross-site"}, **good),
        "by operator": post("operator", asked.page, f"/podium/models/{asked.model}", **good),
        "sent": post("approver", asked.page, asked.page, **good),
        "after": get("approver", asked.page),
    }


def actions() -> dict[str, Any]:
    page, form = f"/podium/models/{OTHER}", {"model": OTHER, "reason": REASON, "to_version": "1"}
    return {
        "ways back": get("operator", page),
        "viewer's": post("viewer", "/podium/rollback", page, **form),
        "approver's": post("approver", "/podium/rollback", f"/podium/models/{OTHER}", **form),
        "operator's short": post("operator", "/podium/rollback", page, **{**form, "reason": "short"}),
        "unknown": post("operator", "/podium/rollback", page, **{**form, "model": "no-such-model"}),
    }


def watch_windows(asked: Asked) -> Request:
    """A model with a proposed rollback, and a window that is open."""
    services, ledger = asked.services, asked.services.ledger
    manifest = {"manifest": {}, "manifest_digest": "m"}
    ledger.append(NewEvent(EventKind.REGISTERED, WATCHED, 1, details=manifest))
    watch = {WATCH: terms().as_json()}
    promoted = ledger.append(NewEvent(EventKind.PROMOTED, WATCHED, 2, 1, "amy", details=watch))
    tell_watched(ledger, WATCHED, promoted.seq, "a", Counts(200, 200, new_failed=30), "")
    verdict = judge_window(services, WATCHED)
    assert verdict is not None
    proposal = propose(services, asked.spec.approval, run_of(verdict))
    promoted = ledger.append(NewEvent(EventKind.PROMOTED, WATCHED, 3, 2, "amy", details=watch))
    tell_watched(ledger, WATCHED, promoted.seq, "a", Counts(3, 30), SCRIPT)
    first = ramp_step(services, RAMPED, 2, 5, champion=1)
    tell_watched(ledger, RAMPED, first.seq, "a", Counts(20, 30, new_failed=4), "")
    return proposal


def windows(proposal: Request) -> dict[str, Any]:
    page = f"/podium/decisions/{proposal.seq}"
    return {
        "proposal": get("approver", page),
        "window": get("viewer", f"/podium/watch/models/{WATCHED}"),
        "of a window": get("viewer", f"/podium/models/{WATCHED}"),
        "window of nobody's": get("podium", f"/podium/watch/models/{WATCHED}"),
        "ramp": get("viewer", f"/podium/watch/models/{RAMPED}"),
        "of a ramp": get("viewer", f"/podium/models/{RAMPED}"),
    }


def old_versions(asked: Asked) -> Request:
    """A model with a version in quarantine, one that is held, and a removal that people are asked about."""
    services, ledger = asked.services, asked.services.ledger
    for number in range(1, 6):
        files = [{"path": "MLmodel", "size": 1_500_000, "sha256": "s"}]
        details = {"manifest": files, "manifest_digest": f"digest-{number}"}
        ledger.append(NewEvent(EventKind.REGISTERED, KEPT, number, details=details))
    ledger.append(NewEvent(EventKind.PROMOTED, KEPT, 5, None, "amy"))
    ledger.append(NewEvent(EventKind.QUARANTINED, KEPT, 1))
    ledger.append(NewEvent(EventKind.HELD, KEPT, 2, actor="amy", reason=SCRIPT))
    listed = {
        "version": 3,
        "action": "delete",
        "digest": "digest-3",
        "bytes": 1_500_000,
        "registered_at": "2025-03-01T00:00:00+00:00",
    }
    evidence = Evidence.of(KEPT, 3, {"versions": [listed]})
    EvidenceStore(ledger).keep([evidence])
    details = {"digest": evidence.digest, "versions": 1, "requester": None}
    reason = "1 version, 1.5 MB, oldest of March 2025: 1 is deleted for good"
    proposal = ledger.append(NewEvent(EventKind.REMOVAL_PROPOSED, KEPT, reason=reason, details=details))
    return removal.ask(services, asked.spec.approval, removal.run_of(proposal))


def keeping(proposal: Request) -> dict[str, Any]:
    page, part = f"/podium/models/{KEPT}", f"/podium/old/models/{KEPT}"
    form = {"model": KEPT, "keep": "hold:3", "reason": REASON}
    return {
        "removal": get("approver", f"/podium/decisions/{proposal.seq}"),
        "old": get("approver", part),
        "old for a viewer": get("viewer", part),
        "old of nobody's": get("podium", part),
        "kept": get("approver", page),
        "kept for a viewer": get("viewer", page),
        "kept for an operator": get("operator", page),
        "held": post("approver", "/podium/keep", page, **form),
        "held by operator": post("operator", "/podium/keep", page, **form),
        "held for short": post("approver", "/podium/keep", page, **{**form, "reason": "short"}),
        "dropped": post("approver", "/podium/keep", page, **{**form, "keep": "drop:3"}),
    }


def outage(asked: Asked) -> dict[str, Any]:
    away = {
        "environment": {
            "PODIUM_LEDGER_URL": "postgresql+psycopg2://nobody@127.0.0.1:1/ledger",
            "MLFLOW_TRACKING_URI": asked.environment["MLFLOW_TRACKING_URI"],
        }
    }
    return {
        "every without ledger": get("viewer", "/podium/models") | away,
        "one without ledger": get("viewer", f"/podium/models/{asked.model}") | away,
        "decision without ledger": get("approver", asked.page) | away,
    }


def test_pages_show_what_somebody_may_see_and_nothing_that_runs(
    told: Mapping[str, Told], asked: Asked
) -> None:
    shown = [told[name] for name in ("every", "mine", "theirs", "one", "decision", "tab", "no tab")]
    assert [said.status for said in shown] == [200] * len(shown), [said.text[-2000:] for said in shown]
    for said in (*shown, told["none"]):
        assert SCRIPT not in said.text
        policy = said.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert said.headers["cache-control"] == "no-store"
    every, decision, theirs = told["every"].text, told["decision"].text, told["theirs"].text
    assert asked.model in every
    assert "A model file cannot be read" in every
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in every
    assert "MLflow does not answer" in every
    assert "1 of 2 behind" in every
    assert "Servers: 1 of 2 behind." in told["ways back"].text
    assert "Approve v1" in decision
    assert 'data-least="12"' in decision
    assert "I looked" in decision
    assert "Approve v1" not in theirs
    assert "operator is not an approver (approvers: Approver); operator triggered this run" in theirs
    assert f"<h1>{asked.model}</h1>" in told["tab"].text
    assert "The Dag rollback_champion does not belong to a single model" in told["no tab"].text
    assert told["none"].status == 404
    assert "&lt;script&gt;" in told["none"].text


def test_who_may_not_read_a_dag_sees_nothing_of_its_model(told: Mapping[str, Told], asked: Asked) -> None:
    assert told["every of nobody's"].status == 200
    assert f"/podium/models/{asked.model}" not in told["every of nobody's"].text
    for what in ("one", "decision", "picture", "state", "window"):
        said = told[f"{what} of nobody's"]
        assert said.status == 404
        assert "or you may not see it" in said.text
        assert "log_loss" not in said.text


def test_a_watch_window_is_shown_as_it_grows_and_a_proposed_rollback_with_its_evidence(
    told: Mapping[str, Told],
) -> None:
    proposal, window = told["proposal"].text, told["window"].text
    assert f"<h1>Roll back {WATCHED} v2 to v1?</h1>" in proposal
    assert "The watch window of v2 said bad: v2 alone failed 30 and v1 alone 0 of 200 requests." in proposal
    assert "Approve the rollback" in proposal
    assert '<span class="bad-word">100%</span>' in proposal
    assert "Gates" not in proposal
    assert f"{WATCHED}: v3 beside v2 since " in window
    assert "open, missing: 10 rows." in window
    assert "v3 alone failed 0 and v2 alone 0 of 3 requests" in window
    assert "A server cannot compare: &lt;script&gt;" in window
    assert f'data-from="/podium/watch/models/{WATCHED}"' in told["of a window"].text
    assert "open: v3 beside v2 until " in told["every"].text


def test_old_versions_say_what_they_wait_for_and_an_approver_gets_buttons(told: Mapping[str, Told]) -> None:
    old, seen = told["old"].text, told["old for a viewer"].text
    assert "5 versions, 7.5 MB, oldest of " in old
    assert re.search(r"in quarantine, and kept: it was registered on .*, within 10 days", old)
    assert "held by amy because: &lt;script&gt;" in old
    assert re.search(r"goes to quarantine from \d+ \w+ 20\d\d on", old)
    assert "Retention runs next on" not in old, "nothing has scheduled it here"
    for value in ("hold:1", "restore:1", "release:2", "hold:3"):
        assert f'<button form="keep" name="keep" value="{value}">' in old
    assert 'value="restore:3"' not in old
    assert "held by amy" in seen
    assert "<button" not in seen
    assert "People are asked whether 1 old version may go" in old
    assert '<form id="keep"' in told["kept"].text
    assert f'data-from="/podium/old/models/{KEPT}"' in told["kept"].text
    for who in ("a viewer", "an operator"):
        assert '<form id="keep"' not in told[f"kept for {who}"].text
        assert (
            "An approver of the model holds, releases and restores versions" in told[f"kept for {who}"].text
        )
    assert told["old of nobody's"].status == 404


def test_an_alias_set_by_hand_keeps_an_old_version_by_one_request_to_mlflow(
    told: Mapping[str, Told], mlflow: tuple[str, list[str]]
) -> None:
    silent, found = told["old"].text, told["old with aliases"].text
    assert "MLflow does not answer" in silent
    assert "it has the alias" not in silent
    assert "MLflow does not answer" not in found
    assert "in quarantine, and kept: it has the alias case-4711" in found
    assert 'value="hold:3"' in silent
    assert 'value="hold:3"' not in found, "an alias keeps it: it waits for nothing"
    assert mlflow[1] == [f"GET {SEARCH}"]


def test_what_an_approver_says_of_a_version_is_judged_before_it_is_sent(told: Mapping[str, Told]) -> None:
    names = ("held by operator", "held for short", "dropped")
    assert [told[name].status for name in names] == [422, 422, 422]
    assert "operator is not an approver (approvers: Approver)" in told["held by operator"].text
    assert "Not sent: the reason has 5 letters and digits, at least 12" in told["held for short"].text
    assert ">short</textarea>" in told["held for short"].text
    assert "Choose what to do with which version." in told["dropped"].text
    assert "hold_version" in told["held"].text, "Airflow was asked, which has no such Dag here"


def test_a_removal_is_decided_on_a_page_that_lists_the_versions(told: Mapping[str, Told]) -> None:
    page = told["removal"].text
    assert f"<h1>Remove 1 old version of {KEPT}?</h1>" in page
    assert "1 version, 1.5 MB, oldest of March 2025: 1 is deleted for good." in page
    assert "is deleted for good</td>" in page
    assert ">1.5 MB</td>" in page
    assert "2025-03-01 00:00 UTC" in page
    assert "Approve the removal" in page
    for other in ("Gates</h2>", "Lineage</h2>", "Pictures</h2>", "in MLflow"):
        assert other not in page


def test_the_step_of_a_ramp_is_shown_with_its_evidence(told: Mapping[str, Told]) -> None:
    ramp = told["ramp"].text
    assert f"{RAMPED}: v2 on its ramp beside v1 since " in ramp
    assert "step 1 of 3, 5% of the clients since " in ramp
    assert "open, missing: 10 rows." in ramp
    assert '<td data-label="Answers">the other clients</td>' in ramp
    assert "v2 alone failed 4 and v1 alone 0 of 20 requests" in ramp
    assert re.search(r'<progress max="1" value="0\.[1-9]', ramp)
    assert f'data-from="/podium/watch/models/{RAMPED}"' in told["of a ramp"].text


def test_who_is_not_logged_in_is_sent_to_airflows_login_and_back(
    told: Mapping[str, Told], asked: Asked
) -> None:
    back = quote(f"/podium/decisions/{asked.request}?x=1", safe="")
    assert told["away"].status == 303
    assert told["away"].headers["location"] == f"/api/v2/auth/login?next={back}"
    assert told["api"].status == 401


def test_an_answer_is_judged_before_it_is_sent_and_goes_through_the_door(
    told: Mapping[str, Told], asked: Asked
) -> None:
    refused = ("short", "unticked", "forged", "without", "cross", "by operator")
    assert [told[name].status for name in refused] == [422, 422, 403, 403, 403, 422]
    assert "Not sent: the reason has 8 letters and digits, at least 12 are required" in told["short"].text
    assert ">too short</textarea>" in told["short"].text
    assert "Not sent: not ticked: &#39;I looked&#39;" in told["unticked"].text
    assert "a reason that is long enough &lt;b&gt;&amp;</textarea>" in told["unticked"].text
    assert "operator is not an approver" in told["by operator"].text
    sent = told["sent"]
    assert (sent.status, sent.headers["location"]) == (303, f"{asked.page}#answer"), sent.text
    given = [reason for kind, reason in asked.events() if kind in ("approval_given", "answer_invalid")]
    assert given == [REASON]
    assert "your approval counts (1 of 1 approvals)" in told["after"].text


def test_who_may_not_do_it_in_airflow_may_not_do_it_here(told: Mapping[str, Told], asked: Asked) -> None:
    assert "Your role in Airflow may not roll back" not in told["ways back"].text
    # No form, so no token either.
    assert told["viewer's"].status == 403
    assert [told[name].status for name in ("approver's", "operator's short", "unknown")] == [422, 422, 404]
    assert "Your role in Airflow may not do this. Nothing was done." in told["approver's"].text
    short = "Not sent: the reason has 5 letters and digits, at least 10 are required"
    assert short in told["operator's short"].text
    assert not [kind for kind, _ in asked.events() if kind.startswith("rollback")]


def test_an_outage_of_the_ledger_is_told_as_one(told: Mapping[str, Told]) -> None:
    for name in ("every", "one", "decision"):
        said = told[f"{name} without ledger"]
        assert said.status == 503
        assert "Podium cannot answer now" in said.text
        assert "the ledger database did not answer" in said.text
        assert "There is no model" not in said.text


def test_pictures_are_read_from_two_folders_only_and_a_silent_mlflow_is_told(
    told: Mapping[str, Told],
) -> None:
    assert told["pictures"].status == 200
    assert "The pictures are not available" in told["pictures"].text
    assert (told["third folder"].status, told["model file"].status) == (404, 404)


def test_the_plugin_costs_an_airflow_process_next_to_nothing(tmp_path: Path) -> None:
    """Each task and each parsing imports it."""
    code = (
        "import sys; import airflow.plugins_manager; before = set(sys.modules); import podium_plugin; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path),
            "PYTHONPATH": str(PROJECT_ROOT / "plugins"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['airflow._shared.listeners', 'airflow.listeners', 'podium_plugin']"
