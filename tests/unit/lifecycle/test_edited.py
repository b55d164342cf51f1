"""What somebody edits by hand in MLflow is seen by doctor and verify, and mended by the command they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import EditedByHand, NothingToDo
from podium.lifecycle.edited import edits, mend
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.operations.doctor.findings import State
from podium.operations.doctor.model_checks import check_champions
from podium.services import Services
from support.mlflow_client import raw
from support.moved_outside import look, make_by_hand
from support.steps import FIRST, SECOND, TRAINED, kinds, new_run, promote_as_of, register, roll_back

Edit = Callable[[Services, ModelSpec], None]


def rename(services: Services, spec: ModelSpec) -> None:
    raw(services.registry).rename_registered_model(spec.name, f"{spec.name}-old")


def delete(services: Services, spec: ModelSpec) -> None:
    raw(services.registry).delete_registered_model(spec.name)


def make_again(services: Services, spec: ModelSpec) -> None:
    """Numbers begin at 1 again: v1 is what was v2."""
    delete(services, spec)
    raw(services.registry).create_registered_model(spec.name)
    make_by_hand(services, spec, SECOND)
    services.registry.set_alias(spec.name, Alias.CHAMPION, 1)


def delete_former_champion(services: Services, spec: ModelSpec) -> None:
    raw(services.registry).delete_model_version(spec.name, "1")


def delete_champion(services: Services, spec: ModelSpec) -> None:
    raw(services.registry).delete_model_version(spec.name, "2")


def delete_experiment(services: Services, _: ModelSpec) -> None:
    client = raw(services.registry)
    client.delete_experiment(client.get_run(TRAINED[FIRST].run_id).info.experiment_id)


def delete_run(services: Services, _: ModelSpec) -> None:
    raw(services.registry).delete_run(TRAINED[FIRST].run_id)


EDITS: dict[Edit, str] = {
    rename: "the registered model was renamed to {name}-old in MLflow; the ledger has 2 versions of it",
    delete: "the registered model was deleted in MLflow; the ledger has 2 versions of it",
    make_again: "the registered model was made again in MLflow: v1 is of run {second}, by the ledger of run",
    delete_former_champion: "{name} v1, a former champion, was deleted in MLflow",
    delete_champion: "{name} v2, the champion, was deleted in MLflow",
    delete_experiment: "the experiment or training run of v1, v2 was deleted in MLflow; the next `mlflow gc`",
    delete_run: "the experiment or training run of v1 was deleted in MLflow; the next `mlflow gc` removes",
}


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "1000"})


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_an_edit_is_seen_and_mended_by_the_command_that_is_named(
    own_services: Services, toy_spec: ModelSpec, tmp_path: Path, edit: Edit
) -> None:
    (tmp_path / "toy.yaml").unlink(missing_ok=True)
    services, name = own_services, toy_spec.name
    for as_of in (FIRST, SECOND):
        promote_as_of(services, toy_spec, as_of)
    assert edits(services, name) == []
    before = {version.number: version.run_id for version in services.registry.versions(name)}
    edit(services, toy_spec)

    said = EDITS[edit].format(name=name, second=TRAINED[SECOND].run_id)
    mending = f"`podium mend {name}` restores the state of the ledger"
    verified = command("verify", "--json")
    assert verified.exit_code == 1
    assert said in verified.stdout
    assert mending in verified.stdout
    (found,) = (item for item in check_champions(lambda _: None) if item.part == f"registered model {name}")
    assert (found.state, said in found.observed, found.remedy) == (State.PROBLEM, True, mending)

    mended = command("mend", name)
    assert mended.exit_code == 0, mended.output
    assert command("verify").stdout.startswith("Intact: "), mended.output
    assert {finding.state for finding in check_champions(lambda _: None)} == {State.OK}
    assert before == {version.number: version.run_id for version in services.registry.versions(name)}
    assert services.registry.aliases(name) == {"champion": 2, "previous_champion": 1}
    assert look(services, toy_spec) is None
    assert roll_back(services, toy_spec).version == 1
    with pytest.raises(NothingToDo):
        mend(services, name)


@pytest.mark.parametrize("edit", [rename, delete, make_again], ids=lambda edit: edit.__name__)
def test_no_version_is_registered_under_a_number_that_the_ledger_has(
    own_services: Services, toy_spec: ModelSpec, edit: Edit
) -> None:
    promote_as_of(own_services, toy_spec, FIRST)
    edit(own_services, toy_spec)
    recorded = kinds(own_services, toy_spec)
    with pytest.raises(EditedByHand, match=f"Nothing was registered: `podium mend {toy_spec.name}` restores"):
        register(own_services, toy_spec, SECOND, new_run())
    assert kinds(own_services, toy_spec) == recorded
    mend(own_services, toy_spec.name)
    assert register(own_services, toy_spec, SECOND, new_run()) == 2


def test_a_number_that_mlflow_gives_again_is_noticed_where_nothing_else_is_seen(
    own_services: Services, toy_spec: ModelSpec
) -> None:
    promote_as_of(own_services, toy_spec, FIRST)
    delete(own_services, toy_spec)
    raw(own_services.registry).create_registered_model(toy_spec.name)
    with pytest.raises(EditedByHand, match="the number 1, which the ledger already has for run"):
        register(own_services, toy_spec, SECOND, new_run())
    assert own_services.registry.versions(toy_spec.name) == []
    assert own_services.registry.exists(toy_spec.name)
    mend(own_services, toy_spec.name)
    assert own_services.registry.champion(toy_spec.name) == 1


def test_what_stood_in_the_way_is_kept_and_a_stopped_mending_is_run_again(
    own_services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, name = own_services, toy_spec.name
    for as_of in (FIRST, SECOND):
        promote_as_of(services, toy_spec, as_of)
    make_again(services, toy_spec)
    real, renamed = type(services.registry).rename, []

    def stopped(registry: object, model: str, to: str) -> None:
        if renamed:
            raise KeyboardInterrupt
        renamed.append(to)
        real(registry, model, to)  # type: ignore[arg-type]

    monkeypatch.setattr(type(services.registry), "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        mend(services, name)
    monkeypatch.setattr(type(services.registry), "rename", real)
    mend(services, name)
    assert edits(services, name) == []
    assert services.registry.champion(name) == 2
    assert [version.run_id for version in services.registry.versions(renamed[0])] == [TRAINED[SECOND].run_id]
    assert f"{name}-mended" not in services.registry.models()
