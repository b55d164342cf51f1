"""Register: one version for equal inputs, with its manifest."""

from __future__ import annotations

import mlflow
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from podium.errors import PodiumError, TrainerError
from podium.lifecycle.register import register_version
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.registry.example import EXAMPLE_OUTPUT
from podium.registry.manifest import Manifest
from podium.services import Services
from support.mlflow_client import raw
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    kinds,
    new_run,
    register,
)


def test_equal_inputs_trained_twice_at_once_are_one_version(services: Services, toy_spec: ModelSpec) -> None:
    twin = TRAINED[SECOND].run_id
    digest = TRAINED[FIRST].tags[Tag.INPUTS_DIGEST]
    raw(services.registry).set_tag(twin, Tag.INPUTS_DIGEST, digest)
    try:
        numbers = {register(services, toy_spec, as_of, new_run()) for as_of in (FIRST, SECOND)}
    finally:
        raw(services.registry).set_tag(twin, Tag.INPUTS_DIGEST, TRAINED[SECOND].tags[Tag.INPUTS_DIGEST])
    assert numbers == {1}
    assert kinds(services, toy_spec) == ["registered"]


def test_registration_keeps_the_manifest_in_the_ledger_on_the_version_and_with_the_run(
    services: Services, toy_spec: ModelSpec
) -> None:
    register(services, toy_spec, FIRST, new_run())
    (registered,) = services.ledger.history(toy_spec.name)
    manifest = Manifest.from_json(registered.details["manifest"])
    assert {"MLmodel", "model.skops", "requirements.txt", "input_example.json"} <= {
        file.path for file in manifest.files
    }
    version = services.registry.version(toy_spec.name, 1)
    assert version.tags[Tag.MANIFEST_DIGEST] == manifest.digest() == registered.details["manifest_digest"]
    kept = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/manifests/v1.json")
    assert kept["files"] == manifest.as_json()
    assert registered.details["signature"]["inputs"]


def test_a_prompt_of_the_same_name_is_left_alone(services: Services, toy_spec: ModelSpec) -> None:
    client = raw(services.registry)
    client.register_prompt(name=toy_spec.name, template="Say hello to {{name}}")
    with pytest.raises(PodiumError, match=f"{toy_spec.name}: MLflow has a prompt of this name"):
        register(services, toy_spec, FIRST, new_run())
    assert [prompt.version for prompt in client.search_prompt_versions(toy_spec.name)] == [1]
    assert kinds(services, toy_spec) == []


def of_a_plain_script(spec: ModelSpec, answer: float) -> str:
    """A finished run that logged a model by pickle, as MLflow's scripts do, with Podium's tags."""
    rows = pd.DataFrame({"x": [0.0, 1.0]})
    model = LinearRegression().fit(rows, [0.0, 1.0])
    mlflow.set_experiment(spec.name)
    tags = {**TRAINED[FIRST].tags, Tag.INPUTS_DIGEST: new_run()}
    with mlflow.start_run(tags={str(tag): text for tag, text in tags.items()}) as run:
        mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="cloudpickle",
            input_example=rows,
            pip_requirements=["scikit-learn"],
            metadata={EXAMPLE_OUTPUT: [0.0, answer]},
        )
    return str(run.info.run_id)


def test_a_model_that_podium_did_not_save_is_proved_and_its_pickle_trusted_before_it_is_a_version(
    services: Services, toy_spec: ModelSpec
) -> None:
    good, other = (of_a_plain_script(toy_spec, answer) for answer in (1.0, 5.0))
    trusted = toy_spec.model_copy(update={"pickle": "the team's own script made it"})
    with pytest.raises(TrainerError, match=r"is a pickle \(flavour sklearn, model.pkl\).*why it is trusted"):
        register_version(services, toy_spec, good, new_run())
    with pytest.raises(TrainerError, match=f"run {other} is not registered: the saved model predicts .* not"):
        register_version(services, trusted, other, new_run())
    assert services.ledger.history(toy_spec.name) == []
    assert services.registry.labels(toy_spec.name).aliases == {}
    number = register_version(services, trusted, good, new_run())
    (registered,) = services.ledger.history(toy_spec.name)
    assert number == 1
    assert registered.details[Tag.PICKLE] == "the team's own script made it"
    assert services.registry.version(toy_spec.name, 1).tags[Tag.PICKLE] == "the team's own script made it"


def test_what_podium_saved_and_proved_is_not_proved_again(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium.registry.proof.fresh_problem", lambda *_: "would not load")
    assert register(services, toy_spec, FIRST, new_run()) == 1
    raw(services.registry).delete_tag(TRAINED[SECOND].run_id, Tag.PROVED)
    try:
        with pytest.raises(TrainerError, match="is not registered: the saved model would not load"):
            register(services, toy_spec, SECOND, new_run())
    finally:
        raw(services.registry).set_tag(TRAINED[SECOND].run_id, Tag.PROVED, "again")
