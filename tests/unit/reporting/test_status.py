"""What `podium status` says of a model, beyond what the steps' own tests look at."""

from __future__ import annotations

from podium.ledger.events import EventKind, NewEvent
from podium.model_file.spec import ModelSpec
from podium.reporting.status import model_statuses
from podium.services import Services


def test_the_newest_version_has_the_highest_number_whichever_was_adopted_first(
    services: Services, toy_spec: ModelSpec
) -> None:
    for kind, number in ((EventKind.ADOPTED, 3), (EventKind.ADOPTED, 1), (EventKind.CHAMPION_ADOPTED, 3)):
        services.ledger.append(NewEvent(kind, toy_spec.name, number))
    (status,) = (one for one in model_statuses(services) if one.model == toy_spec.name)
    assert status.newest_version == 3
