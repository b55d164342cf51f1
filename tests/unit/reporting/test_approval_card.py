"""What the approver sees, drawn from a real ledger and registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import mlflow
import pandas as pd
import pytest

from podium.lifecycle import approval, reconcile, register, validate
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle.approval_policy import Request
from podium.lifecycle.model_card import ARTIFACT
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.reporting import approval_card
from podium.services import Services
from support.steps import (
    FIRST,
    SECOND,
    answer,
    decide,
    new_run,
    nominate,
    nominate_unjudged,
    promote,
    promote_as_of,
    train,
)

PAGES = approval_card.Pages("/podium/x.svg", "/podium/decisions/7")
BOXES = ["I looked at the calibration", "The owner was told"]


@pytest.fixture
def spec(toy_spec: ModelSpec, toy_file: Callable[..., Path]) -> ModelSpec:
    """Two of three must approve, and tick a checklist."""
    policy = {"approvers": ["amy", "ben", "role:Op"], "required": 2, "checklist": BOXES}
    return load_spec(toy_file(name=toy_spec.name, approval=policy))


def ask(services: Services, spec: ModelSpec, requester: str | None = "olga") -> Request:
    run = new_run()
    nominate(services, spec, FIRST, run)
    return approval.open_request(services, spec.approval, spec.name, run, requester)


def say(services: Services, spec: ModelSpec, request: Request, who: str, reason: str) -> None:
    given = answer(who=who, reason=reason)
    ticked = type(given)(given.option, given.reason, given.who, given.at, frozenset(BOXES))
    approval.judge(services, spec.approval, request, ticked, request.champion)


def test_the_card_of_a_first_version_shows_what_is_asked_and_by_which_rules(
    services: Services, spec: ModelSpec
) -> None:
    request = ask(services, spec)
    assert approval_card.subject(request) == f"Promote {spec.name} v1 to champion, the first champion?"
    body = approval_card.body(services, spec, request, PAGES)
    until = f"{request.expires_at:%Y-%m-%d %H:%M} UTC"
    first = body.splitlines()
    assert first[0].startswith("**v1 becomes the first champion: log loss 0.")
    assert first[2] == "v1, as of 2025-06-01; there is no champion yet."
    assert first[4] == (
        f"**{spec.name} v1: passed 3 gates, 1 had nothing to compare with yet**, on 100 rows."
    )
    assert first[6].startswith("Who may decide: 2 of: amy, ben, any Op. A reason of at least 10")
    # The picture of the state has the words of the state.
    assert f"[![Approved by 0 of 2 when this card was created; open until {until}](/podium/x.svg)]" in body
    assert "[the page of this decision](/podium/decisions/7)" in body
    assert body.index("Who may decide") < body.index("A toy.") < body.index("| gate | measured")
    assert f"`{request.manifest[:12]}`" in body
    assert request.manifest == services.registry.version(spec.name, 1).tags[Tag.MANIFEST_DIGEST]
    assert "Who may decide: 2 of: amy, ben, any Op. A reason of at least 10 letters and digits" in body
    assert "`olga` triggered this run and may not approve it." in body
    assert "To approve, tick every statement of the checklist." in body
    assert f"expires on {request.expires_at:%Y-%m-%d at %H:%M} UTC" in body


def test_the_card_says_who_asked_for_what(services: Services, spec: ModelSpec) -> None:
    run = new_run()
    nominate(services, spec, FIRST, run)
    form = {"version": 1, "params": {"strength": "`|<b>\n# loud"}}
    request = approval.open_request(services, spec.approval, spec.name, run, "olga", form)
    body = approval_card.body(services, spec, request, PAGES)
    said = """Requested by `olga`: `params {"strength": "'|<b>\\n# loud"}, version 1`."""
    assert said in body.splitlines()
    for asked, expected in (
        (replace(request, form={}), "Requested by `olga`: all from the model file."),
        (replace(request, form={}, requester=None), "Requested by a schedule or another Dag: all from"),
    ):
        assert expected in approval_card.body(services, spec, asked, PAGES)
    # An older Podium did not record it.
    older = approval_card.body(services, spec, replace(request, form=None), PAGES)
    assert "Requested by" not in older


def test_both_cards_say_why_a_pickle_is_trusted(
    services: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "trusted_pickle", lambda _: "we fitted | it ourselves")
    request = ask(services, spec)
    shown = approval_card.body(services, spec, request, PAGES)
    assert "| a pickle, trusted because | `we fitted " in shown
    version = services.registry.version(spec.name, request.version)
    card = mlflow.artifacts.load_text(f"runs:/{version.run_id}/{ARTIFACT}")
    assert "- Pickle: runs code when it is loaded; trusted because `we fitted | it ourselves`" in card
    monkeypatch.setattr(register, "trusted_pickle", lambda _: "")


def test_the_card_says_until_when_it_is_too_early(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    gates = [{"min_holdout_rows": 50}, {"canary": {"days": 0.5}}]
    spec = load_spec(toy_file(name=toy_spec.name, gates=gates, approval__expires_after="2d"))
    body = approval_card.body(services, spec, ask(services, spec), PAGES)
    assert (
        "| candidate for 0.5 days before anybody approves |  | 0.5000 days | ⏳ held until approval |" in body
    )
    over = datetime.now(UTC) + timedelta(days=0.5)
    assert f"Too early to approve: v1 is the candidate since {datetime.now(UTC):%Y-%m-%d}" in body
    assert f"canary period of 0.5 days ends on {over:%Y-%m-%d}" in body


def test_values_of_the_data_draw_nothing_on_the_card(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path], tmp_path: Path
) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.assign(note="![x](http://evil) | **approve** <b>").to_csv(tmp_path / "toy.csv", index=False)
    sliced = {"metric": "log_loss", "threshold": 0.0001, "slices": {"column": "note"}, "level": "advisory"}
    spec = load_spec(toy_file(name=toy_spec.name, gates=[{"min_holdout_rows": 50}, sliced]))
    trained, run = train(services, spec), new_run()
    number = register.register_version(services, spec, trained.run_id, run)
    validate.validate_version(services, spec, number, run)
    nominate_module.nominate_version(services, spec.name, run)
    request = approval.open_request(services, spec.approval, spec.name, run)
    body = approval_card.body(services, spec, request, PAGES)
    assert "http://evil" in body
    assert body.count("![") == 1
    assert "<b>" not in body
    assert "](http://evil" not in body.replace("&#91;x](http://evil", "")


def test_the_card_says_that_the_code_differed_from_its_commit(
    services: Services, toy_spec: ModelSpec
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    settings = services.settings.model_copy(update={"git_commit": f"{commit}-dirty"})
    trained = train(Services(settings, registry=services.registry, ledger=services.ledger), toy_spec)
    run = new_run()
    register.register_version(services, toy_spec, trained.run_id, run)
    validate.validate_version(services, toy_spec, 1, run)
    nominate_module.nominate_version(services, toy_spec.name, run)
    request = approval.open_request(services, toy_spec.approval, toy_spec.name, run)
    body = approval_card.body(services, toy_spec, request, PAGES)
    assert "| git commit | `0123456789ab-dirty` |" in body
    version = services.registry.version(toy_spec.name, 1)
    card = services.registry.download_artifacts(version.run_id, "model_card.md", settings.home / "card")
    assert "commit `0123456789ab-dirty`" in card.read_text()


def test_the_card_shows_candidate_and_champion_side_by_side(services: Services, spec: ModelSpec) -> None:
    plain = spec.model_copy(update={"approval": spec.approval.model_copy(update={"required": 1})})
    plain = plain.model_copy(update={"approval": plain.approval.model_copy(update={"checklist": ()})})
    promote_as_of(services, plain, SECOND)
    run = new_run()
    nominate(services, plain, FIRST, run)
    request = approval.open_request(services, plain.approval, plain.name, run)
    assert approval_card.subject(request) == f"Promote {spec.name} v2 to champion, over v1?"
    body = approval_card.body(services, plain, request, PAGES)
    # The first things that are said: what changes, and that the champion saw later days.
    assert body.splitlines()[0].startswith("**v2 replaces v1: log loss 0.")
    assert body.splitlines()[2].startswith("v2, as of 2025-06-01; champion v1, as of 2025-07-01 (")
    assert body.splitlines()[2].endswith(
        "**⚠️ v2 was trained on older data than champion v1, as of 2025-07-01.**"
    )
    assert body.splitlines()[4] == (
        "**⚠️ champion v1 was trained on rows up to 2025-03-22, and 30 of these 100 holdout rows are no "
        "newer: it may know their answers, and looks better here than it is.**"
    )
    digests = [
        services.registry.version(spec.name, number).tags[Tag.MANIFEST_DIGEST][:12] for number in (2, 1)
    ]
    assert "| | candidate v2 | champion v1 |" in body
    assert f"| checksum of all files | `{digests[0]}` | `{digests[1]}` |" in body
    assert "champion v1 |" in body.split("holdout rows", 1)[1]
    # Nobody triggered the run, and there is no checklist.
    assert "triggered this run" not in body
    assert "checklist" not in body
    assert "Who may decide: amy, ben, any Op." in body


def test_whoever_triggered_the_run_may_approve_it_where_the_model_file_says_so(
    services: Services, spec: ModelSpec
) -> None:
    request = ask(services, spec)
    relaxed = spec.approval.model_copy(update={"prevent_self_approval": False})
    body = approval_card.body(services, spec.model_copy(update={"approval": relaxed}), request, PAGES)
    assert "may not approve" not in body


def said(services: Services, spec: ModelSpec, request: Request) -> list[str]:
    answers = approval.answers(services.ledger.history(spec.name), request.run)
    return approval_card.describe_answers(spec.approval, answers)


def test_the_picture_shows_who_has_approved_and_what_was_wrong_with_other_answers(
    services: Services, spec: ModelSpec
) -> None:
    request = ask(services, spec)
    assert said(services, spec, request) == ["Approved by 0 of 2."]
    approval.record_asked_again(services, request, 2)
    say(services, spec, request, "eve", "let me in, please")
    say(services, spec, request, "amy", "fine on all leagues")
    say(services, spec, request, "amy", "really, it is fine")
    lines = said(services, spec, request)
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d UTC: ", "", line) for line in lines] == [
        "Approved by 1 of 2.",
        "asked again: the task was cleared, or Airflow lost an answer given within a second of asking",
        "the answer of eve did not count: eve is not an approver (approvers: 2 of: amy, ben, any Op)",
        "amy approved: fine on all leagues",
        "the answer of amy did not count: amy has approved already; another person must",
    ]


def state(services: Services, spec: ModelSpec, request: Request) -> list[str]:
    events = services.ledger.present(spec.name, request.version, request.champion, run=request.run)
    return approval_card.describe_state(spec.approval, request, events)


def test_the_picture_says_how_a_request_was_closed(services: Services, spec: ModelSpec) -> None:
    plain = spec.approval.model_copy(update={"required": 1, "checklist": ()})
    spec = spec.model_copy(update={"approval": plain})
    rejected, superseded, expired, approved, voided = (new_run() for _ in range(5))
    nominate_unjudged(services, spec, FIRST, rejected)
    open_until = state(services, spec, approval.open_request(services, plain, spec.name, rejected))[0]
    assert re.fullmatch(r"Open until \d{4}-\d\d-\d\d \d\d:\d\d UTC\.", open_until)
    decide(services, spec, rejected, "Reject")

    def closing(run: str) -> str:
        said = state(services, spec, approval.find_request(services, run))[0]
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "WHEN", said)

    ended = "Answers no longer count."
    assert closing(rejected) == f"Rejected on WHEN by amy: it is good enough. {ended}"
    nominate_unjudged(services, spec, FIRST, superseded)
    approval.open_request(services, plain, spec.name, superseded)
    nominate_unjudged(services, spec, SECOND, expired)
    newer = f"v2 of run {expired} is a newer candidate, as of 2025-07-01"
    assert closing(superseded) == f"Superseded since WHEN: {newer}. {ended}"
    brief = plain.model_copy(update={"expires_after": timedelta(0)})
    request = approval.open_request(services, brief, spec.name, expired)
    # Also before anybody has put it on record.
    assert closing(expired) == f"Expired on WHEN. {ended}"
    approval.record_expiry(services, request)
    assert closing(expired) == f"Expired since WHEN: no valid answer until WHEN. {ended}"
    nominate_unjudged(services, spec, SECOND, approved)
    decide(services, spec, approved)
    assert closing(approved) == "Approved on WHEN by amy. The promotion follows."
    promote(services, spec, approved)
    assert closing(approved) == "Promoted on WHEN: v2 became champion."
    nominate_unjudged(services, spec, FIRST, voided)
    approval.open_request(services, plain, spec.name, voided)
    services.registry.set_alias(spec.name, Alias.CHAMPION, 1)
    reconcile.reconcile_all(services, [spec])
    assert closing(voided).startswith(
        "Frozen since WHEN: the champion was moved outside Podium, from v2 to v1."
    )
    decide(services, spec, voided)
    assert closing(voided) == f"Void since WHEN: the champion was v2 and is v1 now. {ended}"


@pytest.mark.parametrize(
    "typed",
    [
        "<script>alert('x')</script><img src=x onerror=y>",
        "]]></text></svg><a href='https://evil.example'>here</a>",
        "&lt;b&gt; &amp; &",
        "NUL \0, escape \x1b, a lone \ud800 surrogate, \u2028 a line",
        "w" * 300,
    ],
)
def test_what_somebody_typed_stays_text_in_the_picture(typed: str) -> None:
    picture = ElementTree.fromstring(  # noqa: S314 - our own
        approval_card.answers_picture([f"amy approved: {typed}"]).encode()
    )
    names = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert names == {"svg", "rect", "text"}
    rows = [element.text or "" for element in picture.iter() if element.tag.endswith("text")]
    assert all(len(row) <= 40 for row in rows)
    shown = "".join("".join(rows).split())
    assert shown.startswith("amyapproved:" + "".join(typed.split())[:3])
    assert int(picture.attrib["height"]) == 16 * (len(rows) + 1)


def test_what_somebody_is_called_is_inline_code_on_the_card(services: Services, spec: ModelSpec) -> None:
    request = ask(services, spec, requester="[o](https://evil.example)\n# `x`")
    body = approval_card.body(services, spec, request, PAGES)
    assert "`[o](https://evil.example) # 'x'` triggered this run and may not approve it." in body
