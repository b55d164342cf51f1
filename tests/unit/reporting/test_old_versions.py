"""What old versions wait for, as the page of a model says it."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from podium.ledger import custody
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle.holding import Keeping
from podium.model_file.retention import RetentionSpec
from podium.reporting.model_overview import result_of_run
from podium.reporting.old_versions import OldVersions, old_versions
from podium.services import Services
from support.retained import RULES, later

HOLD, RELEASE, RESTORE = Keeping.HOLD, Keeping.RELEASE, Keeping.RESTORE


@pytest.fixture
def model(services: Services) -> str:
    """Six versions: v2 is champion, v1 was; v6 is the newest; v3 is in quarantine and v4 is held."""
    name = f"old-{uuid.uuid4().hex[:8]}"
    for number in range(1, 7):
        files = [{"path": "MLmodel", "size": 2_000_000, "sha256": "s"}]
        details = {"manifest": files, "manifest_digest": f"{name}-{number}"}
        services.ledger.append(NewEvent(EventKind.REGISTERED, name, number, details=details))
    for number in (1, 2):
        services.ledger.append(NewEvent(EventKind.PROMOTED, name, number, number - 1 or None, "amy"))
    services.ledger.append(NewEvent(EventKind.QUARANTINED, name, 3))
    services.ledger.append(NewEvent(EventKind.HELD, name, 4, actor="amy", reason="case 4711"))
    return name


def seen(services: Services, model: str, rules: RetentionSpec | None, **aliases: int) -> OldVersions:
    return old_versions(services, model, rules, {"champion": 2, "previous_champion": 1, **aliases})


def said(found: OldVersions) -> dict[int, tuple[str, tuple[Keeping, ...]]]:
    return {one.number: (one.said, one.can) for one in found.rows}


def day(services: Services, days: float) -> str:
    return f"{custody.now(services.ledger) + timedelta(days=days):%-d %b %Y}"


def test_each_version_says_what_it_waits_for_and_what_an_approver_can_do(
    services: Services, model: str
) -> None:
    found = seen(services, model, RULES)
    assert found.sentence.startswith("6 versions, 12.0 MB, oldest of ")
    assert said(found) == {
        5: ("goes to quarantine with the next run of retention", (HOLD,)),
        3: (f"in quarantine, deleted from {day(services, 14)} on", (HOLD, RESTORE)),
        4: ("held by amy because: case 4711", (RELEASE,)),
    }
    assert [one.number for one in found.rows] == [5, 3, 4], "the next to go first, what is held last"


def test_a_version_that_only_its_age_keeps_has_a_day(services: Services, model: str) -> None:
    rules = RULES.model_copy(update={"days": 30})
    found = said(seen(services, model, rules))
    assert found[5] == (f"goes to quarantine from {day(services, 30)} on", (HOLD,))
    assert found[3][0].startswith("in quarantine, and kept: it was registered on ")
    assert not {1, 2, 6} & set(found), "the champion, the way back and the newest go on no day"


def test_an_alias_that_somebody_set_in_mlflow_keeps_a_version(services: Services, model: str) -> None:
    found = said(seen(services, model, RULES, baseline=5, **{"case-4711": 3}))
    assert 5 not in found
    assert found[3] == ("in quarantine, and kept: it has the alias case-4711", (HOLD, RESTORE))
    assert found[4] == said(seen(services, model, RULES))[4]


def test_while_mlflow_is_silent_the_aliases_on_record_count(services: Services, model: str) -> None:
    assert said(old_versions(services, model, RULES, None)) == said(seen(services, model, RULES))


def test_a_hold_on_a_version_in_quarantine_shows_both(services: Services, model: str) -> None:
    services.ledger.append(NewEvent(EventKind.HELD, model, 3, actor="amy", reason="case 4712"))
    assert said(seen(services, model, RULES))[3] == (
        "held by amy because: case 4712; in quarantine, and kept: it is held by amy: case 4712",
        (RELEASE, RESTORE),
    )


def test_what_is_due_what_failed_and_what_was_begun_is_said(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.ledger.append(NewEvent(EventKind.DELETION_FAILED, model, 5))
    services.ledger.append(NewEvent(EventKind.DELETION_STARTED, model, 6))
    services.ledger.append(NewEvent(EventKind.DELETED, model, 1))
    monkeypatch.setattr(custody, "now", later(15))
    found = said(seen(services, model, RULES))
    assert found[3] == ("in quarantine, deleted with the next run of retention", (HOLD, RESTORE))
    assert found[5][0] == ("in quarantine, deleted with the next run of retention: a deletion failed before")
    assert found[6] == ("is being deleted", ())
    assert 1 not in found


def test_without_rules_nothing_is_said_to_go(services: Services, model: str) -> None:
    assert said(seen(services, model, None)) == {
        3: ("in quarantine, and stays there: the model file has no section retention", (HOLD, RESTORE)),
        4: ("held by amy because: case 4711", (RELEASE,)),
    }


def test_a_screen_is_filled_and_the_rest_counted(services: Services, model: str) -> None:
    for number in range(7, 50):
        details = {"manifest": [{"size": 1}], "manifest_digest": f"{model}-{number}"}
        services.ledger.append(NewEvent(EventKind.REGISTERED, model, number, details=details))
    found = seen(services, model, RetentionSpec(versions=1, days=0))
    assert (len(found.rows), found.more) == (30, 16)


def test_what_became_of_a_button_is_shown(services: Services, model: str) -> None:
    held = NewEvent(EventKind.HELD, model, 5, actor="amy", reason="case 1", run="hold_version/r")
    recorded = services.ledger.append(held)
    assert result_of_run(services, model, "hold_version/r") == recorded
