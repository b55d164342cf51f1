"""`podium copy`: from one registry to another, with real bytes between real registries."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from pydantic import SecretStr
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import BytesChanged, NotFound, PodiumError, ProfileOnly
from podium.ledger import history
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.history import PROFILE
from podium.ledger.store import Ledger
from podium.lifecycle import approval, nominate, validate
from podium.lifecycle import register as register_module
from podium.lifecycle.rollback import prove
from podium.model_file.profiles import Profile
from podium.model_file.spec import ModelSpec
from podium.names import ORIGIN, Tag
from podium.operations.addresses import without_login
from podium.operations.copy_version import PASSWORD, USERNAME, CopyTarget, copy_version
from podium.registry.client import Registry
from podium.registry.manifest import downloaded, read_manifest
from podium.reporting import approval_card
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from podium.versions import manifest_of
from support.command_line import commands_of
from support.mlflow_client import raw
from support.mlflow_server import GuardedMlflow
from support.services import services_with
from support.steps import FIRST, SECOND, decide, live_through, new_run, promote, register
from support.store import changed_bytes, stored_files

run = CliRunner().invoke
# Each changes the target, in this order; nothing changes it between two of them.
WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "log_artifacts",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_outputs",
    "set_tag",
    "set_terminated",
    "create_registered_model",
    "create_model_version",
)


@pytest.fixture
def target(trained_only: Path, tmp_path: Path) -> CopyTarget:
    """An empty registry in a file of its own."""
    return CopyTarget(f"sqlite:///{shutil.copy(trained_only, tmp_path / 'target.db')}")


def there(target: CopyTarget, ledger: Ledger) -> Services:
    """The parts of the other stack, as a process there has them."""
    registry = Registry(target.uri)
    return Services(Settings(MLFLOW_TRACKING_URI=target.uri), registry=registry, ledger=ledger)


def tags_of(services: Services, model: str, number: int) -> dict[str, str]:
    return dict(services.registry.version(model, number).tags)


def test_a_copied_version_is_judged_approved_and_promoted_by_the_lifecycle_there(
    services: Services, toy_spec: ModelSpec, target: CopyTarget, own_ledger: Ledger
) -> None:
    name = toy_spec.name
    register(services, toy_spec, SECOND, new_run())
    assert live_through(services, toy_spec, FIRST).version == 2
    manifest = manifest_of(services.ledger.history(name), name, 2)
    mine = services.registry.training_runs("trained-once", 9)[-1]

    copied = copy_version(services, name, 2, target)
    assert (copied.target_version, copied.was_there) == (1, False)
    assert copied.manifest_digest == manifest.digest()

    other = there(target, own_ledger)
    assert other.registry.aliases(name) == {}
    tags = tags_of(other, name, 1)
    decided = {Tag.DECIDED_BY, Tag.DECISION_REASON, Tag.GATES, Tag.GATES_DIGEST, Tag.AIRFLOW_RUN}
    assert not decided & set(tags)
    assert (tags[Tag.APPROVAL_STATUS], tags[Tag.VALIDATION_STATUS]) == ("pending", "pending")
    assert tags[Tag.LIFECYCLE_STAGE] == "None"
    assert tags[Tag.COPIED_FROM] == services.registry.tracking_uri
    assert tags[Tag.COPIED_VERSION] == f"{name} v2"
    assert tags[Tag.COPIED_RUN] == mine.run_id
    assert tags[Tag.MANIFEST_DIGEST] == manifest.digest()
    assert tags[Tag.GIT_COMMIT] == mine.tags[Tag.GIT_COMMIT]
    with downloaded(other.registry, name, 1) as folder:
        assert read_manifest(folder) == manifest
    run_there = other.registry.training_run(name, other.registry.version(name, 1).run_id)
    assert (run_there.params, run_there.metrics) == (mine.params, mine.metrics)
    assert {tag: run_there.tags[tag] for tag in ORIGIN} == {tag: tags[tag] for tag in ORIGIN}
    files = {file.path for file in raw(other.registry).list_artifacts(run_there.run_id)}
    assert {"holdout", "data_report.json", "calibration.png"} <= files
    assert not {"gates", "manifests", "model_card.md", "promotion_result.json"} & files

    lifecycle_run = new_run()
    form = {"version": 1, "mlflow_run": None, "profile": None}
    trained = register_module.run_to_take(other, name, form)
    assert trained == run_there.run_id
    version = register_module.register_version(other, toy_spec, trained, lifecycle_run)
    assert version == 1
    (registered,) = own_ledger.history(name)
    assert registered.reason == (
        f"trained as of 2025-06-01, copied from {services.registry.tracking_uri}, {name} v2"
    )
    assert registered.details["manifest_digest"] == manifest.digest()
    assert validate.validate_version(other, toy_spec, 1, lifecycle_run).passed
    nominate.nominate_version(other, name, lifecycle_run)
    request = approval.open_request(other, toy_spec.approval, name, lifecycle_run)
    shown = f"| copied from | `{services.registry.tracking_uri}, {name} v2, by {tags[Tag.COPIED_BY]}` |"
    assert shown in approval_card.body(other, toy_spec, request, approval_card.Pages("/x.svg", "/d/7"))
    with pytest.raises(PodiumError, match="nobody has approved|no decision"):
        promote(other, toy_spec, lifecycle_run)
    decide(other, toy_spec, lifecycle_run)
    assert promote(other, toy_spec, lifecycle_run).version == 1
    assert other.registry.champion(name) == 1
    prove(other, name, history.champion(own_ledger.history(name)), 1)
    # What a version bears there does not stop it from being found again.
    Registry(services.registry.tracking_uri)
    assert copy_version(services, name, 2, target) == replace(copied, was_there=True)


def test_a_copy_over_http_uses_the_login_of_the_target_and_leaves_that_of_the_source(
    services: Services, toy_spec: ModelSpec, mlflow_server: GuardedMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = toy_spec.name
    register(services, toy_spec, FIRST, new_run())
    secrets = {
        "MLFLOW_TRACKING_USERNAME": "developer",
        "MLFLOW_TRACKING_PASSWORD": "of development",
        "MLFLOW_TRACKING_TOKEN": "a token of development",
        USERNAME: mlflow_server.username,
        PASSWORD: mlflow_server.password,
    }
    for variable, value in secrets.items():
        monkeypatch.setenv(variable, value)
    (documented,) = commands_of(PROJECT_ROOT / "docs" / "dev-to-prod.md")
    assert documented == "copy soccer-match-outcome 3 --to https://mlflow.production.example"
    there = {"soccer-match-outcome": name, "3": "1", "https://mlflow.production.example": mlflow_server.uri}
    words = [there.get(word, word) for word in documented.split()]
    told = [run(app, [*words, "--json"]) for _ in range(2)]
    assert [done.exit_code for done in told] == [0, 0], told[0].output
    first, again = (json.loads(done.stdout) for done in told)
    assert (first["target_version"], first["was_there"]) == (1, False)
    assert again == {**first, "was_there": True}
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "developer"
    assert os.environ["MLFLOW_TRACKING_URI"] == services.registry.tracking_uri

    target = CopyTarget(mlflow_server.uri, mlflow_server.username, SecretStr(mlflow_server.password))
    with target.registry() as registry:
        (version,) = registry.versions(name)
        assert version.tags[Tag.COPIED_BY].endswith(f" as {mlflow_server.username}")
    done = run(app, words)
    assert f"{name} v1 existed there already: it is v1 at {mlflow_server.uri}" in done.stdout
    assert "trigger its lifecycle in the Airflow there with version 1 in the form" in done.stdout

    (stored,) = mlflow_server.artifacts.rglob("model.skops")
    stored.write_bytes(stored.read_bytes() + b"x")
    done = run(app, words)
    assert done.exit_code == 1
    assert "model.skops differs" in done.stderr
    monkeypatch.setenv(PASSWORD, "guessed it")
    refused = run(app, words)
    assert refused.exit_code == 1
    everything = "".join(d.output for d in (*told, done, refused))
    assert not [
        secret for secret in (*secrets.values(), "guessed it") if secret in everything and " " in secret
    ]


def test_without_a_login_of_its_own_the_target_is_not_sent_another_registrys(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = dev\nmlflow_tracking_password = secret\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    told = pytest.raises(PodiumError, match=r"the login of ~/.mlflow/credentials is not sent to http://prod")
    with told, CopyTarget("http://prod").registry():
        pass
    secrets = {"TRACKING_USERNAME": "dev", "TRACKING_PASSWORD": "secret", "TRACKING_TOKEN": "token"}
    for name, value in {
        **secrets,
        "REGISTRY_URI": "http://dev",
        "WORKSPACE": "dev",
        "TRACKING_INSECURE_TLS": "true",
    }.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    before = dict(os.environ)
    with CopyTarget("http://prod", "amy", SecretStr("her own")).registry() as registry:
        entered = {name: os.environ[name] for name in os.environ if name.startswith("MLFLOW_T")}
        assert entered["MLFLOW_TRACKING_URI"] == registry.tracking_uri == "http://prod"
        assert not {"token", "secret", "true"} & set(entered.values())
        assert not {"MLFLOW_REGISTRY_URI", "MLFLOW_WORKSPACE"} & set(os.environ)
    assert dict(os.environ) == before


@pytest.mark.parametrize("what", ["flipped", "missing", "added"])
def test_a_damaged_version_is_refused_before_anything_is_written(
    services: Services, toy_spec: ModelSpec, target: CopyTarget, own_ledger: Ledger, what: str
) -> None:
    register(services, toy_spec, FIRST, new_run())
    refused = pytest.raises(BytesChanged, match=f"{toy_spec.name} v1 is not what was registered")
    with changed_bytes(stored_files(services, toy_spec.name, 1), what), refused:
        copy_version(services, toy_spec.name, 1, target)
    other = there(target, own_ledger)
    assert other.registry.models() == []
    assert raw(other.registry).get_experiment_by_name(toy_spec.name) is None


class DiedError(BaseException):
    """The process ended here: nothing it still does reaches anybody."""


def die_before(write: str, patch: pytest.MonkeyPatch) -> list[str]:
    """Let a process end before a write, and nothing of it arrive from then on; return the writes before."""
    done: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            here = name == write and "KILLED" not in args  # That is the end of an earlier copy's run.
            if here or done[-1:] == ["died"]:
                done.append("died")
                raise DiedError(write)
            done.append(name)
            return real(*args, **kwargs)

        return call

    for name in WRITES:
        patch.setattr(MlflowClient, name, counted(name, getattr(MlflowClient, name)))
    return done


def test_a_copy_killed_before_any_of_its_writes_is_finished_by_the_next(
    services: Services, toy_spec: ModelSpec, target: CopyTarget, own_ledger: Ledger
) -> None:
    name = toy_spec.name
    register(services, toy_spec, FIRST, new_run())
    for write in WRITES:
        with pytest.MonkeyPatch.context() as patch:
            die_before(write, patch)
            with pytest.raises(DiedError, match=write):
                copy_version(services, name, 1, target)
        with target.registry() as registry:
            assert registry.versions(name) == []
    with pytest.MonkeyPatch.context() as patch:
        done = die_before("never", patch)
        copied = copy_version(services, name, 1, target)
    # What was uploaded and compared is taken up again.
    assert done == ["create_model_version"]
    assert (copied.target_version, copied.was_there) == (1, False)

    other = there(target, own_ledger)
    (version,) = other.registry.versions(name)
    (finished,) = other.registry.training_runs(name, 9)
    assert version.run_id == finished.run_id
    found = raw(other.registry).search_runs([other.registry.ensure_experiment(name)])
    assert {run.info.status for run in found if run.info.run_id != finished.run_id} == {"KILLED"}


def test_bytes_that_change_on_the_way_make_no_version(
    services: Services, toy_spec: ModelSpec, target: CopyTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(services, toy_spec, FIRST, new_run())
    real = MlflowClient.log_model_artifacts

    def flip(client: MlflowClient, model_id: str, local_dir: str) -> None:
        file = Path(local_dir) / "model.skops"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        real(client, model_id, local_dir)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", flip)
    with pytest.raises(BytesChanged, match=f"{toy_spec.name} v1 at sqlite:.* model.skops differs"):
        copy_version(services, toy_spec.name, 1, target)
    with target.registry() as registry:
        assert registry.models() == []
        experiment = registry.ensure_experiment(toy_spec.name)
        (failed,) = raw(registry).search_runs([experiment])
        assert (failed.info.status, Tag.INPUTS_DIGEST in failed.data.tags) == ("FAILED", False)


def test_a_copied_version_that_was_changed_there_is_not_registered(
    services: Services, toy_spec: ModelSpec, target: CopyTarget, own_ledger: Ledger
) -> None:
    register(services, toy_spec, FIRST, new_run())
    copy_version(services, toy_spec.name, 1, target)
    other = there(target, own_ledger)
    trained = other.registry.version(toy_spec.name, 1).run_id
    refused = pytest.raises(BytesChanged, match="v1: its files in the store do not match")
    with changed_bytes(stored_files(other, toy_spec.name, 1), "flipped"), refused:
        register_module.register_version(other, toy_spec, trained, new_run())
    assert own_ledger.history(toy_spec.name) == []


def test_another_version_of_the_same_inputs_at_the_target_is_told(
    services: Services, toy_spec: ModelSpec, target: CopyTarget
) -> None:
    name = toy_spec.name
    register(services, toy_spec, FIRST, new_run())
    copy_version(services, name, 1, target)
    with target.registry() as registry:
        registry.set_tags(name, 1, {Tag.MANIFEST_DIGEST: "of other bytes"})
    with pytest.raises(PodiumError, match=f"has {name} v1 of the same inputs as {name} v1, but with other"):
        copy_version(services, name, 1, target)
    with target.registry() as registry:
        trained = registry.version(name, 1).run_id
        raw(registry).delete_registered_model(name)
        raw(registry).set_tag(trained, Tag.COPIED_RUN, "another")
    with pytest.raises(PodiumError, match=f"has the training run {trained} of the same inputs"):
        copy_version(services, name, 1, target)


def test_what_is_not_copied_is_told(services: Services, toy_spec: ModelSpec, target: CopyTarget) -> None:
    name = toy_spec.name
    register(services, toy_spec, FIRST, new_run())
    with pytest.raises(NotFound, match=f"{name} v7: the ledger holds no registration of it"):
        copy_version(services, name, 7, target)
    (registered,) = services.ledger.history(name)
    details = {**registered.details, PROFILE: Profile.SMOKE.value}
    services.ledger.append(NewEvent(EventKind.REGISTERED, name, 2, details=details))
    with pytest.raises(ProfileOnly, match=f"{name} v2 is a smoke version: .* It is not copied"):
        copy_version(services, name, 2, target)


def test_a_form_that_names_a_version_takes_its_run(
    services: Services, toy_spec: ModelSpec, target: CopyTarget
) -> None:
    name = toy_spec.name
    register(services, toy_spec, FIRST, new_run())
    copy_version(services, name, 1, target)
    with target.registry() as registry:
        form = {"version": 1, "mlflow_run": None, "profile": None}
        there = services_with(registry=registry, ledger=services.ledger)
        with pytest.raises(NotFound):
            register_module.run_to_take(there, name, {**form, "version": 2})
        with pytest.raises(PodiumError, match="the form names run abc and version 1; give one of them"):
            register_module.run_to_take(there, name, {**form, "mlflow_run": "abc"})
        assert register_module.run_to_take(there, name, {**form, "version": None}) is None
        first = registry.version(name, 1)
        model = raw(registry).get_model_version(name, "1")
        raw(registry).create_model_version(name, model.source, first.run_id, tags=dict(first.tags))
        with pytest.raises(PodiumError, match="v2 was made of the same inputs as v1: .* take v1"):
            register_module.run_to_take(there, name, {**form, "version": 2})


def test_an_address_with_a_login_is_refused_without_telling_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("http://amy:hush@prod:5000", "postgresql://amy:hush@prod/x", "http://prod?password=hush"):
        done = run(app, ["copy", "toy", "1", "--to", address])
        assert done.exit_code == 1
        assert "an address holds no login and no query" in " ".join(done.stderr.split())
        assert "hush" not in done.output
    monkeypatch.setenv(USERNAME, "amy")
    done = run(app, ["copy", "toy", "1", "--to", "http://prod:5000"])
    assert "is set; set both, or none" in " ".join(done.stderr.split())


WORDS = st.text(st.characters(exclude_characters="/?@:#", codec="utf-8"), min_size=1)


@settings(max_examples=50)
@given(user=WORDS, password=WORDS, host=WORDS, path=WORDS)
def test_an_address_without_its_login_is_the_same_place(
    user: str, password: str, host: str, path: str
) -> None:
    plain = f"http://{host}/{path}"
    assert without_login(plain) == plain
    assert without_login(f"http://{user}:{password}@{host}/{path}?password={password}") == plain
    assert without_login(f"sqlite:////{path}") == f"sqlite:////{path}"
