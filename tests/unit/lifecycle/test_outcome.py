"""The outcome of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from podium.errors import NothingToDo, PodiumError, Refused
from podium.ledger.events import EventKind
from podium.lifecycle.outcome import outcome_of
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import RunOutcome
from podium.services import Services
from support.steps import (
    FIRST,
    decide,
    kinds,
    new_run,
    nominate,
    nominate_unjudged,
    promote_as_of,
)


def test_the_outcome_of_a_run_is_what_the_ledger_says(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    def outcome(run: str) -> str:
        return outcome_of(services, toy_spec.name, run)

    refused, rejected, approved, again = (new_run() for _ in range(4))
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    with pytest.raises(Refused):
        nominate(services, strict, FIRST, refused)
    assert outcome(refused) == RunOutcome.REFUSED_BY_GATES
    nominate_unjudged(services, toy_spec, FIRST, rejected)
    decide(services, toy_spec, rejected, "Reject")
    assert outcome(rejected) == RunOutcome.REJECTED
    nominate_unjudged(services, toy_spec, FIRST, approved)
    with pytest.raises(PodiumError, match="nobody has approved"):
        outcome(approved)
    decide(services, toy_spec, approved)
    assert outcome(approved) == RunOutcome.PROMOTE
    promote_as_of(services, toy_spec, FIRST)
    with pytest.raises(NothingToDo):
        nominate_unjudged(services, toy_spec, FIRST, again)
    assert outcome(again) == RunOutcome.NOTHING_TO_PROMOTE
    assert EventKind.PROMOTION_REFUSED in kinds(services, toy_spec)
