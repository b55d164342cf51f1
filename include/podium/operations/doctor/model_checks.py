"""The models: are their files valid, and is each champion what the ledger says, to the last byte?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from podium.errors import BytesChanged, NotFound, PodiumError
from podium.ledger import history
from podium.ledger.events import EventKind
from podium.lifecycle.edited import edits_of, mending
from podium.lifecycle.verify import aliases_of, models_to_compare
from podium.lifecycle.witness import told_problems
from podium.names import Alias, version_name
from podium.operations.check_model_files import check_files
from podium.operations.doctor.findings import Finding, State
from podium.services import Services, connect
from podium.settings import Settings
from podium.versions import check_bytes

MODEL_FILES, CHAMPIONS = "model files", "champions"
_ADOPT = "docs/adopt.md"


def check_model_files(settings: Settings) -> Iterator[Finding]:
    """Read all model files, and the baseline files that they name."""
    problems, files = check_files([settings.models_dir])
    for problem in problems:
        yield Finding(MODEL_FILES, State.PROBLEM, problem, "`podium validate-spec` checks the correction")
    if not problems:
        yield Finding(MODEL_FILES, State.OK, f"{len(files)} in {settings.models_dir} are valid")


def check_champions(working: Callable[[str], None]) -> Iterator[Finding]:
    """Compare the aliases of all models with the ledger, and the files of each champion with its manifest.

    Args:
        working: Told what is being downloaded, which takes a while.
    """
    try:
        services = connect()
        models = models_to_compare(services, [])
        labels = services.registry.labels_of(models)
        told, edited = told_problems(services, labels), edits_of(services, models)
        aliases = aliases_of(services, models)
        for model in models:
            yield from _told(model, told.get(model))
            yield from _edits(model, edited[model])
            yield from _aliases(model, aliases[model])
            number = labels[model].aliases.get(Alias.CHAMPION) if model in labels else None
            yield from _champion(services, model, number, working)
    except PodiumError as error:
        yield Finding(CHAMPIONS, State.PROBLEM, str(error), "see the findings above, then run this again")
    else:
        if not models:
            yield Finding(CHAMPIONS, State.OK, "the ledger knows no model yet")


def _told(model: str, problem: str | None) -> Iterator[Finding]:
    if problem:
        remedy = "`podium verify` shows where the ledger differs; docs/operations.md has the remedies"
        yield Finding(f"ledger of {model}", State.PROBLEM, problem, remedy)


def _edits(model: str, edits: Iterable[str]) -> Iterator[Finding]:
    for edit in edits:
        yield Finding(f"registered model {model}", State.PROBLEM, edit, mending(model))


def _aliases(model: str, differences: Iterable[str]) -> Iterator[Finding]:
    for difference in differences:
        remedy = "an approver runs settle_champion; other aliases are set again by the next lifecycle run"
        yield Finding(f"aliases of {model}", State.PROBLEM, difference, remedy)


def _champion(
    services: Services, model: str, number: int | None, working: Callable[[str], None]
) -> Iterator[Finding]:
    name = f"champion of {model}"
    if number is None:
        yield Finding(name, State.OK, "none")
        return
    working(f"reading the files of {model} {version_name(number)}")
    try:
        events = services.ledger.present(model, number)
        manifest = check_bytes(services, events, model, number)
    except (BytesChanged, NotFound) as error:
        remedy = "roll back (`podium rollback`), or restore the files from the bucket's older versions"
        if history.champion_move(events) is None:
            remedy = f"an approver takes over what is there: `podium adopt {model} --reason ...` ({_ADOPT})"
        yield Finding(name, State.PROBLEM, str(error), remedy)
        return
    size = sum(file.size for file in manifest.files) / 1e6
    registered = history.registration(events, number)
    if registered and registered.event is not EventKind.REGISTERED and not history.example_of(events, number):
        why = registered.details.get(history.NO_EXAMPLE, "")
        observed = (
            f"{version_name(number)} was accepted without an example: it scores, and is neither served "
        )
        remedy = f"`podium adopt {model} --reason ...` takes an example of it ({_ADOPT})"
        yield Finding(name, State.WARNING, f"{observed}nor rolled back to{f': {why}' if why else ''}", remedy)
        return
    observed = f"{version_name(number)}, its {len(manifest.files)} files ({size:,.1f} MB) as registered"
    yield Finding(name, State.OK, observed)
