"""Notifications reach real servers: once, in one thread, without secrets, and no channel stops another."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import PodiumError
from podium.ledger import servers
from podium.ledger.deliveries import Deliveries
from podium.ledger.events import Event, EventKind, NewEvent
from podium.model_file.loading import load_spec
from podium.model_file.notify import Topic, channels_of, read_defaults
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import Account, Run
from podium.operations.doctor.findings import State
from podium.operations.doctor.notify_checks import check_notifications
from podium.operations.notify.channels import without_secrets
from podium.operations.notify.sweep import Swept, is_quiet, sweep
from podium.services import Services
from podium.settings import Settings
from support.database import execute
from support.machine import free_port
from support.receiving import Inbox, webhook

SECRET = "hunter2-secret"
AIRFLOW = "https://airflow.example.org"
Announce = Callable[..., Event]


@pytest.fixture
def mail() -> Iterator[Inbox]:
    inbox = Inbox()

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            if inbox.status != 200:
                return f"{inbox.status} no room for {SECRET}"
            inbox.got.append(message_from_bytes(envelope.content))
            return "250 OK"

    port = free_port()
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    inbox.url = f"mailto://127.0.0.1:{port}?from=podium@example.org&to=team@example.org"
    yield inbox
    controller.stop()


@pytest.fixture
def hook() -> Iterator[Inbox]:
    with webhook(SECRET) as inbox:
        yield inbox


@pytest.fixture
def model(own_services: Services, toy_file: Callable[..., Path]) -> ModelSpec:
    """A model that says nothing of notifications, in a ledger of its own."""
    return load_spec(toy_file(name="toy-shop", approval__expires_after="10h"))


@pytest.fixture
def tell(own_services: Services, mail: Inbox, hook: Inbox) -> Callable[..., Swept]:
    """Look once, with the channels ``mail`` and ``hook`` for all."""

    def look(**changes: Any) -> Swept:
        settings = {
            "notify": '{"all": ["mail", "hook"]}',
            "notify_channels": json.dumps({"mail": mail.url, "hook": hook.url}),
            "airflow_public_url": AIRFLOW,
            **{key: changes.pop(key) for key in [*changes] if key in Settings.model_fields},
        }
        aliases = {str(Settings.model_fields[key].alias): value for key, value in settings.items()}
        services = Services(Settings(**aliases), registry=own_services.registry, ledger=own_services.ledger)
        return sweep(services, changes.pop("airflow", None), **changes)

    return look


@pytest.fixture
def record(own_services: Services) -> Announce:
    def append(kind: EventKind, version: int | None = 5, **more: Any) -> Event:
        return own_services.ledger.append(NewEvent(kind, "toy-shop", version, **more))

    return append


@pytest.fixture
def asked(record: Announce, model: ModelSpec) -> Event:
    """A request that waits for ten hours."""
    report = {
        "model": model.name,
        "version": 5,
        "champion": 4,
        "results": [],
        "scores": {
            "rows": 1050,
            "candidate": {"log_loss": 0.8666},
            "references": {"champion": {"log_loss": 0.8667}},
        },
        "digest": "d",
    }
    record(EventKind.GATES_PASSED, run="lifecycle_toy_shop/r", details=report)
    details = {
        "requester": "operator",
        "manifest": "m",
        "gates": "d",
        "expires_after_seconds": 36_000.0,
        "form": {},
        "form_digest": "f",
    }
    run = "lifecycle_toy_shop/r"
    return record(
        EventKind.APPROVAL_REQUESTED,
        from_version=4,
        run=run,
        key=f"approval_requested:{run}",
        details=details,
    )


def test_who_wants_a_decision_says_so_to_each_channel_once(
    asked: Event, tell: Callable[..., Swept], mail: Inbox, hook: Inbox
) -> None:
    tell()
    tell()
    until = asked.at + timedelta(hours=10)
    subject = f"Podium: toy-shop v5 waits for approval until {until:%Y-%m-%d %H:%M} UTC"
    assert mail.subjects == [subject]
    (posted,) = hook.got
    assert posted["title"] == subject
    assert posted["key"] == f"toy-shop:approval:{asked.seq}"
    assert (posted["event"], posted["model"]) == ("approval_wanted", "toy-shop")
    assert posted["link"] == f"{AIRFLOW}/podium/decisions/{asked.seq}"
    assert posted["message"].splitlines()[:2] == [
        "operator asks to promote toy-shop v5, over v4.",
        "v5 replaces v4: log loss 0.8667 -> 0.8666. On the holdout of 1,050 rows it passed all 0 gates.",
    ]
    assert posted["link"] in posted["message"]


def test_a_request_whose_report_cannot_be_read_is_told_and_keeps_none_back(
    asked: Event, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    run = "lifecycle_toy_shop/from-elsewhere"
    record(EventKind.GATES_PASSED, version=6, run=run, details={"digest": "d", "scores": 5})
    key = f"approval_requested:{run}"
    record(EventKind.APPROVAL_REQUESTED, version=6, run=run, key=key, details=asked.details)
    record(EventKind.APPROVAL_REQUESTED, version=7, run="lifecycle_toy_shop/spoilt", details={})
    record(EventKind.PROMOTED)
    assert not tell(notify='{"all": ["hook"]}').failed
    first, second, last = hook.got
    assert "log loss 0.8667 -> 0.8666" in first["message"]
    assert second["title"].startswith("Podium: toy-shop v6 waits for approval")
    assert "holds no readable gate report" in second["message"]
    assert last["event"] == "champion_changed"


def test_all_of_one_request_is_one_thread_and_one_key(
    asked: Event, record: Announce, tell: Callable[..., Swept], mail: Inbox, hook: Inbox
) -> None:
    record(EventKind.ANSWER_INVALID, run=asked.run, actor="approver", reason="the reason has 2 letters")
    record(EventKind.REJECTED, run=asked.run, actor="approver", reason="draws are worse")
    tell()
    assert [subject.removeprefix("Podium: ") for subject in mail.subjects[1:]] == [
        "toy-shop v5: the answer of approver did not count",
        "toy-shop v5 was rejected by approver",
    ]
    assert len({mail["References"] for mail in mail.got}) == 1
    assert mail.got[0]["In-Reply-To"] == mail.got[0]["References"]
    assert len({mail["Message-ID"] for mail in mail.got}) == 3
    assert {post["key"] for post in hook.got} == {f"toy-shop:approval:{asked.seq}"}
    assert "draws are worse" in hook.got[2]["message"]
    assert "The champion stays v4." in hook.got[2]["message"]


@pytest.mark.parametrize(
    ("kind", "more", "subject"),
    [
        (EventKind.GATES_REFUSED, {"reason": "refused by 2 of 16 gates"}, "v5 was refused by its gates"),
        (EventKind.PROMOTED, {"from_version": 4, "actor": "a"}, "v5 is champion now, over v4"),
        (EventKind.PROMOTED, {}, "v5 is champion now, the first champion"),
        (EventKind.PROMOTION_REFUSED, {"reason": "bytes"}, "v5 was approved but could not be promoted"),
        (EventKind.ROLLED_BACK, {"from_version": 6}, ": the champion was rolled back, v6 to v5"),
        (
            EventKind.MOVED_OUTSIDE,
            {"from_version": 4},
            ": FROZEN: the champion was moved outside Podium, v4 to v5",
        ),
        (EventKind.OUTSIDE_MOVE_REVERTED, {}, ": no longer frozen: the champion is back at v5"),
        (
            EventKind.OUTSIDE_MOVE_ACCEPTED,
            {},
            ": no longer frozen: the move outside Podium to v5 was accepted",
        ),
        (
            EventKind.WINDOWS_JUDGED,
            {
                "reason": "2026-05-01 to 2026-06-01: moved, price moved",
                "details": {"windows": [{"said": "nothing seen"}, {"said": "moved"}]},
            },
            "v5: monitoring raised an alarm: 2026-05-01 to 2026-06-01: moved, price moved",
        ),
        (
            EventKind.RETRAIN_WANTED,
            {"reason": "log loss 0.91 over 0.85 + 0.03 since 2026-05-12"},
            "v5: monitoring asks for a training: log loss 0.91 over 0.85 + 0.03 since 2026-05-12",
        ),
    ],
)
def test_each_event_has_a_subject_that_can_be_read_alone(
    model: ModelSpec,
    record: Announce,
    tell: Callable[..., Swept],
    hook: Inbox,
    kind: EventKind,
    more: dict[str, Any],
    subject: str,
) -> None:
    record(kind, **more)
    tell()
    (posted,) = hook.got
    assert posted["title"] == f"Podium: toy-shop{subject if subject[0] == ':' else f' {subject}'}"
    assert posted["link"] == f"{AIRFLOW}/podium/models/toy-shop"


def test_versions_that_went_in_one_run_are_told_of_at_once(
    model: ModelSpec, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    run, said = "retention/r", "no rule keeps it; it is deleted after 14 days"
    for version in (3, 4):
        record(EventKind.QUARANTINED, version, run=run, reason=said, details={"bytes": 1_000_000})
    record(EventKind.DELETION_STARTED, 1, run=run, reason="nobody restored it from quarantine")
    record(EventKind.DELETED, 1, run=run, reason="nobody restored it from quarantine", details={"bytes": 5})
    record(EventKind.RETENTION_CHECKED, None, run=run, reason="all well", details={"damages": []})
    tell()
    tell()
    quarantined, deleted = hook.got
    assert quarantined["title"] == "Podium: toy-shop: 2 old versions went to quarantine, 2.0 MB"
    assert quarantined["message"].splitlines()[:2] == [
        f"v3, v4: {said}.",
        "Nobody can use them. An approver restores one: `podium restore toy-shop VERSION`.",
    ]
    assert quarantined["event"] == "quarantined"
    assert deleted["title"] == "Podium: toy-shop: 1 old version was deleted for good, 5 bytes"
    assert deleted["message"].splitlines()[:2] == [
        "v1: nobody restored it from quarantine.",
        "Its record stays in the ledger.",
    ]
    assert deleted["event"] == "deleted"


def test_versions_that_went_are_named_again_until_every_channel_was_told(
    model: ModelSpec, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    record(EventKind.QUARANTINED, 3, run="retention/r", details={"bytes": 1})
    record(EventKind.PROMOTED)
    record(EventKind.QUARANTINED, 4, run="retention/r", details={"bytes": 1})
    hook.status = 500
    tell(notify='{"all": ["hook"]}')
    hook.status = 200
    tell(notify='{"all": ["hook"]}')
    titles = [post["title"] for post in hook.got]
    assert "Podium: toy-shop: 2 old versions went to quarantine, 2 bytes" in titles


def test_a_damage_is_told_at_night_with_the_file(
    model: ModelSpec, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    damage = "toy-shop v2 is not what was registered: model.skops is missing"
    record(EventKind.RETENTION_CHECKED, None, reason=damage, details={"damages": [damage]})
    tell(notify_quiet="00:00-23:59 UTC")
    (posted,) = hook.got
    assert posted["event"] == "damaged"
    assert posted["title"] == "Podium: toy-shop: FROZEN: files of versions that had to stay are damaged"
    assert posted["message"].splitlines()[0] == damage


def test_a_removal_that_wants_a_decision_is_told_to_the_approvers_and_how_it_ended(
    asked: Event, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    tell()
    why = "31 versions, 4.2 GB, oldest of March 2025: 24 go to quarantine, 7 are deleted for good"
    run = "propose_removal/proposal-7"
    details = {**asked.details, "requester": None, "removal": 31, "why": why}
    request = record(
        EventKind.APPROVAL_REQUESTED, None, run=run, key=f"approval_requested:{run}", details=details
    )
    for hours in (0, 5.1, 9.1):
        tell(now=request.at + timedelta(hours=hours))
    record(EventKind.REJECTED, None, run=run, actor="amy", reason="not these", details={"removal": 31})
    tell()
    wanted, reminded, expires, decided = [post for post in hook.got if post["key"].endswith(str(request.seq))]
    until = f"{request.at + timedelta(hours=10):%Y-%m-%d %H:%M} UTC"
    name = "Podium: toy-shop: the removal of 31 old versions"
    assert wanted["title"] == f"{name} waits for approval until {until}"
    assert wanted["event"] == "removal_wanted"
    assert wanted["message"].splitlines()[:2] == [
        f"{why}.",
        "Without an approval no version goes. The page of the decision lists each with size and age.",
    ]
    assert wanted["link"] == f"{AIRFLOW}/podium/decisions/{request.seq}"
    assert reminded["title"] == f"{name} still waits for approval, until {until}"
    assert "A request that expires is closed, and no version goes." in expires["message"]
    assert decided["title"] == f"{name} was rejected by amy"
    assert "No version goes. The next run of retention asks again" in decided["message"]


def test_of_windows_without_an_alarm_nobody_is_told(
    model: ModelSpec, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    windows = [{"said": "nothing seen"}, {"said": "not judged"}]
    record(EventKind.WINDOWS_JUDGED, details={"windows": windows})
    tell()
    assert hook.got == []


def test_a_reminder_at_half_of_the_time_and_an_escalation_at_nine_tenths_each_once(
    asked: Event, tell: Callable[..., Swept], hook: Inbox
) -> None:
    for hours in (0, 4.9, 5.1, 5.2, 8.9, 9.1, 9.5, 10.1):
        tell(now=asked.at + timedelta(hours=hours))
    assert [post["event"] for post in hook.got] == ["approval_wanted", "reminder", "escalation"]
    assert "expires at" in hook.got[2]["title"]


def test_nobody_is_reminded_of_what_is_decided(
    asked: Event, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    record(EventKind.REJECTED, run=asked.run, actor="a", reason="r")
    tell(now=asked.at + timedelta(hours=9.5))
    assert [post["event"] for post in hook.got] == ["approval_wanted", "decided"]


def test_a_channel_that_fails_stops_no_other_and_is_told_later(
    asked: Event,
    record: Announce,
    tell: Callable[..., Swept],
    mail: Inbox,
    hook: Inbox,
    own_services: Services,
) -> None:
    hook.status = 500
    (problem,) = tell().failed
    assert problem.startswith("channel 'hook': ")
    record(EventKind.REJECTED, run=asked.run, actor="a", reason="r")
    tell()
    tell()
    assert len(mail.got) == 2
    failures = "SELECT count(*) FROM notices WHERE error <> ''"
    url = own_services.settings.ledger_url.get_secret_value()
    assert execute(url, failures) == [(1,)]
    hook.status = 200
    tell()
    assert [post["event"] for post in hook.got] == ["approval_wanted", "decided"]
    assert len(mail.got) == 2


def test_who_dies_between_telling_and_recording_tells_it_again_with_the_same_key(
    asked: Event, tell: Callable[..., Swept], hook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process ended here."""

    def die(_: object, notice: str, *__: object) -> None:
        if notice.startswith("approval_wanted"):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Deliveries, "note", die)
        with pytest.raises(Killed):
            tell(notify='{"all": ["hook"]}')
    tell(notify='{"all": ["hook"]}')
    tell(notify='{"all": ["hook"]}')
    first, second = hook.got
    assert first == second


def test_no_secret_of_an_address_is_shown_anywhere(
    asked: Event,
    tell: Callable[..., Swept],
    mail: Inbox,
    hook: Inbox,
    own_services: Services,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    mail.status, hook.status = 552, 401
    mail.url = mail.url.replace("&to=", f"&name={SECRET}&to=")
    done = tell()
    assert len(done.failed) == 2
    url = own_services.settings.ledger_url.get_secret_value()
    # The mail server of this test logs what it answers, too.
    logged = [record.getMessage() for record in caplog.records if record.name != "mail.log"]
    shown = [*done.failed, *logged, str(execute(url, "SELECT * FROM notices"))]
    assert [place for place, text in enumerate(shown) if SECRET in text] == []


@pytest.mark.parametrize(
    ("url", "said", "shown"),
    [
        ("slack://TokenAaaa/TokenBbbb/%23room", "no TokenAaaa, TokenBbbb in #room", "no ***, *** in ***"),
        (
            "jsons://me:p%40ssword@hooks.example.org/x",
            "p@ssword at hooks.example.org",
            "*** at hooks.example.org",
        ),
    ],
)
def test_of_an_address_only_the_host_is_shown(url: str, said: str, shown: str) -> None:
    assert without_secrets(said, url) == shown


def test_the_doctor_names_the_channel_and_the_last_error(
    asked: Event, tell: Callable[..., Swept], hook: Inbox, own_services: Services
) -> None:
    hook.status = 500
    tell(notify='{"all": ["hook"]}')
    ledger = own_services.settings.ledger_url.get_secret_value()
    settings = Settings(
        PODIUM_LEDGER_URL=ledger,
        PODIUM_NOTIFY_CHANNELS=json.dumps({"hook": hook.url}),
        PODIUM_NOTIFY='{"all": ["hook", "gone"]}',
    )
    found = {finding.part: finding for finding in check_notifications(settings)}
    assert found["channel hook"].state is State.PROBLEM
    assert "error=500" in found["channel hook"].observed
    assert found["channel gone"].state is State.WARNING
    hook.status = 200
    tell(notify='{"all": ["hook"]}')
    assert {f.part: f.state for f in check_notifications(settings)}["channel hook"] is State.OK


def test_quiet_hours_hold_back_all_but_what_is_urgent(
    asked: Event, record: Announce, tell: Callable[..., Swept], hook: Inbox
) -> None:
    record(EventKind.MOVED_OUTSIDE, 3, from_version=4, reason="moved")
    night = asked.at.replace(hour=23)
    late = {"now": asked.at, "notify": '{"all": ["hook"]}'}
    hours = f"{asked.at:%H:%M}-{asked.at + timedelta(hours=1):%H:%M}"
    assert tell(**late, notify_quiet=hours).waiting == 1
    assert [post["event"] for post in hook.got] == ["moved_outside"]
    tell(**late)
    assert [post["event"] for post in hook.got] == ["moved_outside", "approval_wanted"]
    assert is_quiet("22:00-07:00", night)
    assert not is_quiet("22:00-07:00 Asia/Tokyo", night)
    with pytest.raises(PodiumError, match=r"PODIUM_NOTIFY_QUIET: 'nights' are not hours"):
        is_quiet("nights", night)


def test_a_personal_channel_tells_the_people_whom_it_concerns(
    asked: Event, record: Announce, tell: Callable[..., Swept], mail: Inbox
) -> None:
    mail.url = mail.url.replace("team@example.org", "{email}")
    people = [
        Account("Amy", frozenset({"Approver"}), True, "amy@example.org"),
        Account("operator", frozenset({"Operator"}), True, "operator@example.org"),
    ]
    record(EventKind.ANSWER_INVALID, run=asked.run, actor="operator", reason="may not approve it")
    airflow: Any = FakeAirflow(people)
    for _ in range(2):
        tell(notify='{"all": ["mail"]}', airflow=lambda: airflow)
    assert [mail["To"] for mail in mail.got] == ["amy@example.org", "operator@example.org"]


def test_a_run_that_failed_or_did_not_start_is_told_once(
    model: ModelSpec, toy_file: Callable[..., Path], tell: Callable[..., Swept], hook: Inbox
) -> None:
    toy_file(name="toy-shop", schedule="0 6 * * 1")
    airflow: Any = FakeAirflow([], [Run("lifecycle_toy_shop", "manual__1", {}, "train failed: no rows")])
    airflow.due = datetime.now(UTC) - timedelta(hours=2)
    for _ in range(2):
        tell(airflow=lambda: airflow)
    failed, missing = hook.got
    assert failed["title"] == "Podium: toy-shop: the run lifecycle_toy_shop/manual__1 failed"
    assert failed["link"] == f"{AIRFLOW}/dags/lifecycle_toy_shop/runs/manual__1"
    assert "train failed: no rows" in failed["message"]
    assert f"due at {airflow.due:%Y-%m-%d %H:%M} UTC has not started" in missing["title"]
    assert "is paused" in missing["message"]


def test_servers_behind_the_champion_are_named(
    record: Announce, model: ModelSpec, tell: Callable[..., Swept], hook: Inbox, own_services: Services
) -> None:
    move = record(EventKind.PROMOTED)
    only = {"notify": '{"servers_behind": ["hook"]}'}
    for server, version, problem in (("a:8000", 5, ""), ("b:8000", 4, "registry does not answer")):
        servers.tell(own_services.ledger, server, 1, [servers.Served("toy-shop", version, problem)])
    tell(**only)
    assert hook.got == []
    for minutes in (6, 7):
        tell(**only, now=move.at + timedelta(minutes=minutes))
    (posted,) = hook.got
    assert "toy-shop: 1 model server behind champion v5" in posted["title"]
    assert "b:8000 answers with v4: registry does not answer." in posted["message"]


def test_a_damaged_ledger_is_told_once_a_day(
    asked: Event,
    tell: Callable[..., Swept],
    hook: Inbox,
    own_services: Services,
    layout: Any,
    empty_database: str,
) -> None:
    owner = layout.database_url("ledger_owner", empty_database)
    execute(owner, "UPDATE ledger_events SET reason = 'better' WHERE seq = 1")
    only = {"notify": '{"ledger_damaged": ["hook"]}'}
    for _ in range(2):
        tell(**only)
    (posted,) = hook.got
    assert posted["title"] == "Podium: the ledger is damaged: its record was changed"
    assert "event 1" in posted["message"]
    tell(**only, now=datetime.now(UTC) + timedelta(days=1))
    assert len(hook.got) == 2


def test_what_is_older_than_a_day_is_no_news(asked: Event, tell: Callable[..., Swept], hook: Inbox) -> None:
    tell(now=asked.at + timedelta(days=2))
    assert hook.got == []


def test_a_channel_that_nobody_named_is_said_and_waited_for(
    asked: Event, tell: Callable[..., Swept], hook: Inbox
) -> None:
    chosen = {"notify": '{"all": ["chat"]}'}
    (problem,) = tell(**chosen).failed
    assert "there is no channel 'chat'" in problem
    tell(**chosen, notify_channels=json.dumps({"chat": hook.url}))
    assert len(hook.got) == 1


def test_a_model_file_chooses_per_event() -> None:
    own = {Topic.DECIDED: ("team",), Topic.REMINDER: ()}
    defaults = read_defaults('{"all": ["ops"], "frozen": []}'.replace("frozen", "moved_outside"))
    assert channels_of(Topic.DECIDED, own, defaults) == ("team",)
    assert channels_of(Topic.REMINDER, own, defaults) == ()
    assert channels_of(Topic.ROLLED_BACK, own, defaults) == ("ops",)
    assert channels_of(Topic.MOVED_OUTSIDE, own, defaults) == ()
    assert channels_of(Topic.ROLLED_BACK, {Topic.ALL: ("team",)}, defaults) == ("team",)
    with pytest.raises(PodiumError, match="PODIUM_NOTIFY: frozen: Input should be 'all', 'approval_wanted'"):
        read_defaults('{"frozen": []}')


def test_a_channel_is_tried_and_a_dry_run_sends_nothing(
    asked: Event, own_services: Services, hook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_NOTIFY_CHANNELS", json.dumps({"hook": hook.url}))
    monkeypatch.setenv("PODIUM_NOTIFY", '{"all": ["hook"]}')
    for name in ("PODIUM_AIRFLOW_URL", "PODIUM_LOOKUP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    run = CliRunner().invoke
    dry = run(app, ["notify", "--dry-run"])
    assert dry.exit_code == 0
    assert "would tell hook: toy-shop v5 waits for approval until" in dry.output
    assert hook.got == []
    assert run(app, ["notify"]).exit_code == 0
    assert run(app, ["notify", "test", "hook"]).exit_code == 0
    assert [post["title"][:24] for post in hook.got] == [
        "Podium: toy-shop v5 wait",
        "Podium: a test of the ch",
    ]
    hook.status = 500
    failed = run(app, ["notify", "test", "hook"])
    assert failed.exit_code == 1
    assert "error=500" in " ".join(failed.output.split())
    gone = run(app, ["notify", "test", "chat"])
    assert "no channel 'chat'; available: hook" in " ".join(gone.output.split())


class FakeAirflow:
    """What Airflow says of accounts and runs."""

    def __init__(self, accounts: list[Account], failed: list[Run] | None = None) -> None:
        self._accounts, self._failed = accounts, failed or []
        self.due: datetime | None = None

    def accounts(self) -> list[Account]:
        return self._accounts

    def failed_runs(self, since: datetime) -> list[Run]:
        return self._failed

    def next_run(self, dag_id: str) -> tuple[datetime | None, bool]:
        return self.due, True
