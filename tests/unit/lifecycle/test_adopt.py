"""Adopt: a registry that plain MLflow scripts have filled is taken over, and all of Podium holds for it."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import CannotAdopt, CannotRollBack, Frozen, NothingToDo, PodiumError
from podium.ledger import history
from podium.lifecycle.adopt import Adopted, adopt, adopt_request
from podium.lifecycle.adoption import plan_adoption
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.asked import Asked
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.settle import Settlement
from podium.lifecycle.verify import alias_differences
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.operations.doctor.findings import State
from podium.operations.doctor.model_checks import _champion as doctors_look
from podium.services import Services
from podium.serving.loaded_version import load_version
from support.mlflow_client import raw
from support.moved_outside import ask, look, move_by_hand
from support.plain_mlflow import TRUST, fill, log_plainly
from support.steps import SECOND, asked_now, kinds, live_through, new_run, newest, promote_as_of, roll_back
from support.store import changed_bytes, stored_files


@pytest.fixture
def trusting(toy_spec: ModelSpec) -> ModelSpec:
    """A model file that says why pickles are trusted."""
    return toy_spec.model_copy(update={"pickle": TRUST})


@pytest.fixture
def filled(services: Services, trusting: ModelSpec, tmp_path: Path) -> dict[str, int]:
    return fill(trusting, services.registry.tracking_uri, tmp_path)


def take(
    services: Services,
    spec: ModelSpec,
    champion: str | None = None,
    stage: str | None = None,
    who: str = "amy",
    run: str | None = None,
    asked: Asked | None = None,
) -> Adopted:
    request = adopt_request(spec, asks=Person(who), reason="it serves since 2023", run=run or new_run())
    return adopt(services, spec, request, asked or asked_now(), champion, stage)


def test_a_registry_of_plain_scripts_is_taken_over_and_nothing_is_moved(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    before = services.registry.aliases(trusting.name)
    adopted = take(services, trusting, stage="production")
    assert (adopted.versions, adopted.left_out, adopted.notes) == (len(filled), [], [])
    assert adopted.champion is not None
    assert adopted.champion.version == filled["champion"]
    # The alias that Podium follows is new; all others are where they were.
    assert services.registry.aliases(trusting.name) == {**before, Alias.CHAMPION: filled["champion"]}
    events = services.ledger.present(trusting.name, *filled.values())
    known = {what: history.registration(events, number) for what, number in filled.items()}
    for what, event in known.items():
        assert event is not None, what
        assert event.actor == "amy"
        assert event.details["manifest"], what
        assert event.details["created_at"], what
    details = {what: dict(event.details) for what, event in known.items() if event is not None}
    assert details["champion"]["stage"] == "Production"
    assert details["former"]["stage"] == "Archived"
    assert details["champion"]["run_name"] == "by hand, name"
    assert details["champion"]["created_by"] not in ("", "unknown")
    assert "mlflow_run" not in details["without a run"]
    assert details["of a deleted run"]["run_deleted"]
    assert details["unsigned"]["signature"] == {}
    assert history.aliases(events) == {
        Alias.CHAMPION: filled["champion"],
        Alias.PREVIOUS_CHAMPION: filled["former"],
    }
    with pytest.raises(NothingToDo, match="nothing is left to adopt"):
        take(services, trusting)
    assert look(services, trusting) is None


def test_an_adopted_champion_serves_is_compared_with_and_is_gone_back_to(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    take(services, trusting, champion="production")
    name, champion = trusting.name, filled["champion"]
    served = load_version(services, services.ledger.present(name, champion), name, champion, max_rows=10)
    assert served.number == champion
    promoted = live_through(services, trusting, SECOND)
    assert promoted.from_version == champion
    judged = [event for event in services.ledger.history(name) if event.event == "gates_passed"][-1]
    assert judged.details["scores"]["references"]["champion"]["log_loss"] > 0
    assert roll_back(services, trusting).version == champion
    # And from there to the one before, of which MLflow knew only an alias.
    assert roll_back(services, trusting).version == filled["former"]


def test_an_adopted_version_whose_bytes_change_is_not_gone_back_to(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    take(services, trusting, champion="production")
    promote_as_of(services, trusting, SECOND)
    files = stored_files(services, trusting.name, filled["champion"])
    with changed_bytes(files, "flipped"), pytest.raises(CannotRollBack, match=r"model\.pkl differs"):
        roll_back(services, trusting, to_version=filled["champion"])
    with (
        changed_bytes(stored_files(services, trusting.name, filled["former"]), "flipped"),
        pytest.raises(CannotRollBack, match=f"that can serve is v{filled['champion']}"),
    ):
        roll_back(services, trusting, to_version=filled["former"])


def test_a_move_outside_after_it_freezes_the_model(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    take(services, trusting, champion="production")
    move_by_hand(services, trusting, filled["old"])
    found = look(services, trusting)
    assert found is not None
    assert (found.from_version, found.version) == (filled["champion"], filled["old"])
    with pytest.raises(Frozen):
        take(services, trusting)
    # An adopted version has a manifest, and gets an example when it is accepted.
    assert ask(services, trusting, Settlement.ACCEPT).version == filled["old"]
    promote_as_of(services, trusting, SECOND)
    assert roll_back(services, trusting).version == filled["old"]


def test_a_registry_that_reconcile_saw_first_is_adopted_and_keeps_its_aliases(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    move_by_hand(services, trusting, filled["champion"])
    before = services.registry.aliases(trusting.name)
    assert look(services, trusting) is not None
    assert services.registry.aliases(trusting.name) == before
    take(services, trusting)
    assert newest(services, trusting).event == "champion_adopted"
    assert history.outside_move(services.ledger.present(trusting.name)) is None
    assert look(services, trusting) is None
    assert services.registry.aliases(trusting.name) == before


def test_pickles_that_nobody_trusts_are_neither_loaded_nor_adopted(
    services: Services, toy_spec: ModelSpec, filled: dict[str, int]
) -> None:
    run = new_run()
    with pytest.raises(
        CannotAdopt, match=r'is a pickle \(flavour sklearn, model.pkl\).* write pickle: "why you trust it"'
    ):
        take(services, toy_spec, champion="production", run=run)
    assert kinds(services, toy_spec) == ["adoption_refused"]
    mirror(services, toy_spec.name)
    assert services.registry.aliases(toy_spec.name)[Alias.PREVIOUS_CHAMPION] == filled["former"]
    assert not [said for said in alias_differences(services, toy_spec.name) if "previous" in said]
    with pytest.raises(CannotAdopt, match="this run was refused on .* trigger a new run"):
        take(services, toy_spec.model_copy(update={"pickle": TRUST}), champion="production", run=run)


def test_a_champion_without_a_signature_is_adopted_and_it_is_said_what_to_do(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    adopted = take(services, trusting, champion="challenger")
    assert adopted.champion is not None
    assert adopted.champion.version == filled["unsigned"]
    (note,) = adopted.notes
    assert "has no signature" in note
    assert "infer_signature" in note
    assert adopted.champion.details["notes"] == [note]
    promote_as_of(services, trusting, SECOND)
    assert roll_back(services, trusting).version == filled["unsigned"]


def test_a_champion_that_the_model_file_cannot_score_is_adopted_and_it_is_said_what_to_do(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    numbers = trusting.model_copy(
        update={
            "labels": ("low", "high"),
            "data": trusting.data.model_copy(update={"label_map": {"no": "low", "yes": "high"}}),
        }
    )
    adopted = take(services, numbers, champion="production")
    note = adopted.notes[0]
    assert note.startswith(f"{numbers.name} v{filled['champion']}: it cannot be")
    assert "cannot be scored by the model file (the model knows the labels ['no', 'yes']" in note
    assert "a version that answers with the probabilities of low, high" in note


def test_a_champion_that_answers_with_labels_is_compared_all_the_same_and_its_clients_are_named(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    adopted = take(services, trusting, champion="labels")
    (note,) = adopted.notes
    assert "it answers with labels" in note
    assert 'pyfunc_predict_fn="predict_proba"' in note
    live_through(services, trusting, SECOND)
    judged = [event for event in services.ledger.history(trusting.name) if event.event == "gates_passed"][-1]
    assert judged.details["scores"]["references"]["champion"]["log_loss"] > 0
    with pytest.raises(CannotRollBack, match="does not fit the clients of champion"):
        roll_back(services, trusting, to_version=filled["of labels"])


def test_what_lacks_something_is_refused_with_what_and_how(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    client = raw(services.registry)
    client.set_registered_model_alias(trusting.name, "candidate", str(filled["old"]))
    with pytest.raises(CannotAdopt, match="the alias candidate is at v1, and Podium sets that alias itself"):
        take(services, trusting)
    client.delete_registered_model_alias(trusting.name, "candidate")
    with pytest.raises(
        PodiumError, match=r"'prod' is neither a version nor an alias; aliases: .*production \(v3\)"
    ):
        take(services, trusting, champion="prod")
    with pytest.raises(PodiumError, match="not one version is in the stage Staging: none; stages: Archived"):
        take(services, trusting, stage="Staging")
    move_by_hand(services, trusting, filled["champion"])
    with pytest.raises(CannotAdopt, match="the alias champion is at v3 in MLflow, not at v1"):
        take(services, trusting, champion="1")
    with pytest.raises(PodiumError, match="olga is not an approver"):
        take(services, trusting, who="olga")
    with (
        changed_bytes(stored_files(services, trusting.name, filled["champion"]), "missing"),
        pytest.raises(CannotAdopt, match=r"v3 cannot prove itself here: FileNotFoundError: .*model\.pkl"),
    ):
        take(services, trusting)
    assert not any(kind == "champion_adopted" for kind in kinds(services, trusting))


def test_a_version_whose_files_are_gone_is_left_out_and_the_rest_is_adopted(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    (lost,) = [raw(services.registry).get_model_version(trusting.name, str(filled["of a deleted run"]))]
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{trusting.name}/{lost.version}"))
    files = stored_files(services, trusting.name, int(lost.version))
    assert folder
    kept = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    for path in kept:
        path.unlink()
    adopted = take(services, trusting, champion="production")
    assert adopted.versions == len(filled) - 1
    (why,) = adopted.left_out
    assert f"v{lost.version}" in why
    for path, content in kept.items():
        path.write_bytes(content)
    assert take(services, trusting).versions == 1


def test_adopting_takes_as_many_people_as_approving(
    services: Services, trusting: ModelSpec, filled: dict[str, int]
) -> None:
    two = trusting.model_copy(
        update={"approval": trusting.approval.model_copy(update={"approvers": ("amy", "bo"), "required": 2})}
    )
    first = take(services, two, champion="production")
    assert first.champion is None
    assert first.waits is not None
    assert services.registry.champion(two.name) is None
    assert take(services, two, champion="production").champion is None
    second = take(services, two, champion="production", who="bo")
    assert second.champion is not None
    assert second.champion.actor == "amy, bo"


def test_what_was_stopped_goes_on_and_reads_nothing_twice(
    services: Services, trusting: ModelSpec, filled: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, taken = new_run(), []
    real = services.registry.download

    def cut(model: str, number: int, folder: Path) -> None:
        if len(taken) == 4:
            raise KeyboardInterrupt
        taken.append(number)
        real(model, number, folder)

    with monkeypatch.context() as patch:
        patch.setattr(services.registry, "download", cut)
        with pytest.raises(KeyboardInterrupt):
            take(services, trusting, champion="production", run=run)
    on_record = {event.version for event in services.ledger.history(trusting.name)}
    plan = plan_adoption(services, trusting, "production", None)
    assert {version.number for version in plan.versions} == set(filled.values()) - on_record
    assert take(services, trusting, champion="production", run=run).champion is not None
    assert [kind for kind in kinds(services, trusting) if kind == "adopted"] == ["adopted"] * len(filled)


def test_an_accepted_version_that_could_not_prove_itself_gets_an_example_by_adopting(
    services: Services, toy_spec: ModelSpec, tmp_path: Path
) -> None:
    promote_as_of(services, toy_spec, SECOND)
    mlflow.set_tracking_uri(services.registry.tracking_uri)
    number = log_plainly(toy_spec.name, tmp_path, how="name")
    move_by_hand(services, toy_spec, number)
    look(services, toy_spec)
    accepted = ask(services, toy_spec, Settlement.ACCEPT)
    assert "is a pickle" in accepted.details["no_example"]
    (finding,) = doctors_look(services, toy_spec.name, number, lambda _: None)
    assert finding.state is State.WARNING
    assert finding.remedy.startswith(f"`podium adopt {toy_spec.name} --reason")
    events = services.ledger.present(toy_spec.name, number)
    with pytest.raises(PodiumError, match="has no input example"):
        load_version(services, events, toy_spec.name, number, max_rows=10)
    take(services, toy_spec.model_copy(update={"pickle": TRUST}))
    (finding,) = doctors_look(services, toy_spec.name, number, lambda _: None)
    assert finding.state is State.OK
    events = services.ledger.present(toy_spec.name, number)
    assert load_version(services, events, toy_spec.name, number, max_rows=10).number == number
    assert alias_differences(services, toy_spec.name) == []


def test_a_dry_run_says_what_would_be_adopted_and_records_nothing(
    services: Services, trusting: ModelSpec, filled: dict[str, int], tmp_path: Path
) -> None:
    with (tmp_path / f"{trusting.name}.yaml").open("a") as model_file:
        model_file.write(f"pickle: {TRUST}\n")
    done = CliRunner().invoke(app, ["adopt", trusting.name, "--champion", "production", "--dry-run"])
    said = " ".join(done.output.split())
    assert done.exit_code == 0, said
    taken = f"champion v{filled['champion']}, and v{filled['former']} as the one before"
    assert f"{len(filled)} versions would be adopted, {taken}. Nothing was recorded." in said
    assert services.ledger.history(trusting.name) == []
    assert Alias.CHAMPION not in services.registry.aliases(trusting.name)
    without = CliRunner().invoke(app, ["adopt", trusting.name])
    assert without.exit_code == 1
    assert "--reason is missing" in without.output
