"""Register: one version for equal inputs, with its manifest."""

from __future__ import annotations

import mlflow
import pytest

from podium.errors import PodiumError
from podium.model_file.spec import ModelSpec
from podium.names import Tag
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
