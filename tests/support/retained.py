"""Versions with a few bytes, as retention sees them: a run, a logged model, an entry, a registration."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from podium.errors import BytesChanged, NotFound, Outage
from podium.ledger import custody
from podium.ledger.events import EventKind, NewEvent
from podium.model_file.retention import RetentionSpec
from podium.names import Alias, Tag
from podium.registry.disposal import Disposal
from podium.registry.manifest import read_manifest
from podium.services import Services
from podium.versions import check_bytes

# By a clock that is ahead answers of today are old, and the ledger refuses to forget these.
RULES = RetentionSpec(
    former_champions=1,
    versions=1,
    days=0,
    quarantine_days=14,
    live_answers="365d",  # type: ignore[arg-type]
)


def add_version(
    services: Services,
    model: str,
    content: str | None = None,
    of: str | None = None,
    entered: EventKind = EventKind.REGISTERED,
    **details: str,
) -> int:
    """Make the next version; of a run that is there, it shares that run's files."""
    registry = services.registry
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        (folder / "data" / "MLmodel").write_text(content or uuid.uuid4().hex)
        (folder / "model.skops").write_text("weights of " + (content or uuid.uuid4().hex))
        manifest = read_manifest(folder)
        run = of
        if run is None:
            experiment = registry.ensure_experiment(model)
            run = registry.create_run(experiment, "r", {Tag.INPUTS_DIGEST: uuid.uuid4().hex})
            registry.upload_model(experiment, run, "model", folder)
            registry.end_run(run, "FINISHED")
        else:
            known = next(
                one for one in custody.versions_on_record(services.ledger, model) if one.run_id == of
            )
            registered = services.ledger.find(f"registered:{model}:{known.number}")
            assert registered is not None
    number = registry.add_version(model, run, {})
    digest = manifest.digest() if of is None else known.digest
    files = manifest.as_json() if of is None else registered.details["manifest"]
    services.ledger.append(
        NewEvent(
            entered,
            model,
            number,
            key=f"registered:{model}:{number}",
            details={
                "mlflow_run": run,
                "manifest": files,
                "manifest_digest": digest,
                "signature": {},
                **details,
            },
        )
    )
    return number


def run_of(services: Services, model: str, number: int) -> str:
    return services.registry.version(model, number).run_id


def crown(services: Services, model: str, number: int, former: int | None = None) -> None:
    """Make a version champion, on both sides."""
    services.registry.set_alias(model, Alias.CHAMPION, number)
    services.ledger.append(NewEvent(EventKind.PROMOTED, model, number, former, actor="amy"))


def loads(services: Services, model: str, number: int) -> bool:
    """Whether a version is there, with the files that were registered."""
    try:
        check_bytes(services, services.ledger.present(model, number), model, number)
    except (NotFound, BytesChanged, Outage):
        return False
    return True


def disposal(services: Services) -> Disposal:
    return Disposal(services.registry.tracking_uri, None)


def later(days: float) -> Callable[[object], datetime]:
    """Return a clock of the ledger's database that is ahead."""
    real = custody.now
    return lambda ledger: real(ledger) + timedelta(days=days)  # type: ignore[arg-type]
