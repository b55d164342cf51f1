"""A champion that its watch window found bad, and what is asked about it."""

from __future__ import annotations

from pathlib import Path

from podium.ledger.events import Event
from podium.ledger.watch_counts import Counts, tell_watched
from podium.lifecycle import approval
from podium.model_file.spec import ModelSpec
from podium.model_file.watch import WatchSpec
from podium.monitoring.watch_propose import propose, run_of
from podium.monitoring.watch_record import judge_window
from podium.services import Services
from support.serving import as_server
from support.steps import FIRST, SECOND, answer, promote_as_of

BAD = Counts(200, 200, new_failed=30)


def with_models(services: Services, folder: Path) -> Services:
    """The same, with the model files of a folder."""
    return Services(services.settings.model_copy(update={"models_dir": folder}))


def found_bad(services: Services, spec: ModelSpec, auto_rollback: str = "propose") -> Event:
    """Promote a second version over the first, and let its window find it bad."""
    section = WatchSpec.model_validate({"rows": 100, "labelled_rows": 0, "auto_rollback": auto_rollback})
    watched = spec.model_copy(update={"watch": section})
    promote_as_of(services, watched, FIRST)
    promoted = promote_as_of(services, watched, SECOND)
    tell_watched(as_server(services).ledger, spec.name, promoted.seq, "a", BAD, "")
    judged = judge_window(services, spec.name)
    assert judged is not None
    return judged


def answered(services: Services, spec: ModelSpec, verdict: Event, option: str = "Approve") -> Event:
    """Ask about a rollback as the Dag does, and let amy answer."""
    request = propose(services, spec.approval, run_of(verdict))
    champion = services.registry.champion(spec.name)
    return approval.judge(services, spec.approval, request, answer(option), champion)
