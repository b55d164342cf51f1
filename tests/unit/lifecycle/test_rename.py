"""Renaming a model, as docs/retention.md says: the old name is retired, and the new one adopted."""

from __future__ import annotations

import pytest

from podium.errors import Retired
from podium.ledger import custody, history
from podium.lifecycle.adopt import adopt, adopt_request
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.holding import Ending, ending_request, say
from podium.lifecycle.retention import run_retention
from podium.lifecycle.verify import all_differences
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.scoring.pinned_version import pin
from podium.services import Services
from support.mlflow_client import raw
from support.retained import RULES, disposal, later, loads
from support.steps import FIRST, SECOND, asked_now, new_run, promote_as_of, roll_back

AMY = Person("amy")


def test_a_model_is_renamed_by_retiring_it_and_adopting_copies_under_the_new_name(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = toy_spec.name, f"{toy_spec.name}-renamed"
    former, champion = (promote_as_of(services, toy_spec, as_of).version for as_of in (FIRST, SECOND))
    said = "it is called otherwise now"
    say(services, ending_request(toy_spec, Ending.RETIRE, asks=AMY, reason=said, run=new_run()))
    client = raw(services.registry)
    client.create_registered_model(new)
    for number in (former, champion):
        client.copy_model_version(f"models:/{old}/{number}", new)
    client.set_registered_model_alias(new, Alias.PREVIOUS_CHAMPION, "1")
    renamed = toy_spec.model_copy(update={"name": new})
    request = adopt_request(renamed, asks=AMY, reason=said, run=new_run())
    adopted = adopt(services, renamed, request, asked_now(), champion="2")
    assert (adopted.versions, adopted.left_out) == (2, [])

    with pytest.raises(Retired, match=f"{old} was retired on .* by amy: {said}"):
        pin(services, old, "champion")
    assert pin(services, new, "champion").version == 2
    assert roll_back(services, renamed).version == 1
    assert history.retirement(services.ledger.present(new)) is None
    # The old name ends, and what it shares with the new one stays.
    monkeypatch.setattr(custody, "now", later(RULES.retired_days + 1))
    for run in range(2):
        for model in (old, new):
            done = run_retention(services, disposal(services), model, RULES, new_run())
            assert (done.deleted, done.failed, done.damages) == ([], [], []), (model, run)
    monkeypatch.setattr(custody, "now", later(30))
    run_retention(services, disposal(services), old, RULES, new_run())
    assert [loads(services, new, number) for number in (1, 2)] == [True, True]
    assert [said for said in all_differences(services, [old, new]) if old in said] == []
