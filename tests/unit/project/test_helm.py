"""deploy/helm: keys that the chart has, image, settings and commands of docker-compose.yaml, no secret."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dotenv import dotenv_values
from kubernetes.client import ApiClient

from podium.settings import PROJECT_ROOT
from support.compose import environment, services

HELM = PROJECT_ROOT / "deploy" / "helm"
VALUES: dict[str, Any] = yaml.safe_load((HELM / "values.yaml").read_text())
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((HELM / "podium.yaml").read_text()))
DOCUMENT = (PROJECT_ROOT / "docs" / "kubernetes.md").read_text()

# What the file uses of the chart's values, as its values.yaml has them between 1.18 and 1.19 (apache/airflow,
# commit d6ba4817), and as its release notes renamed them up to 1.22.0 (`workers.kubernetes`). None: any key.
CHART: dict[str, set[str] | None] = {
    "airflowVersion": set(),
    "apiSecretKeySecretName": set(),
    "apiServer": {"env", "replicas", "resources"},
    "cleanup": {"enabled"},
    "config": None,
    "createUserJob": {"enabled"},
    "dagProcessor": {"resources"},
    "data": {"metadataSecretName"},
    "defaultAirflowRepository": set(),
    "defaultAirflowTag": set(),
    "env": set(),
    "executor": set(),
    "extraEnvFrom": set(),
    "fernetKeySecretName": set(),
    "flower": {"enabled"},
    "fullnameOverride": set(),
    "ingress": {"apiServer"},
    "jwtSecretName": set(),
    "postgresql": {"enabled"},
    "redis": {"enabled"},
    "scheduler": {"replicas", "resources"},
    "secret": set(),
    "statsd": {"enabled"},
    "triggerer": {"persistence", "resources"},
    "useStandardNaming": set(),
    "workers": {"kubernetes"},
}
# What the chart itself puts into the environment, from the secrets that the values name.
BY_THE_CHART = {
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
}
# What is of Celery alone, or off unless an address is given.
NOT_ON_KUBERNETES = {
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__METRICS__OTEL_ON",
    "AIRFLOW__METRICS__STATSD_HOST",
    "AIRFLOW__METRICS__STATSD_ON",
    "AIRFLOW__METRICS__STATSD_PORT",
    # The pods of the two tasks that delete alone get it (podium_airflow/retention_secret.py).
    "MLFLOW_RETENTION_PASSWORD",
    "OPENLINEAGE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "PODIUM_NOTIFY",
    "PODIUM_NOTIFY_CHANNELS",
    "PODIUM_NOTIFY_QUIET",
}
SETTINGS = ("common", "airflow", "remote-logs")


def in_files(*names: str) -> set[str]:
    files = (PROJECT_ROOT / "deploy" / f"{name}.env" for name in names)
    return {name for file in files for name in dotenv_values(file)}


def keys_of(secret: str) -> set[str]:
    """What the document says is in a secret."""
    row = re.search(rf"^\| `{secret}` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert row is not None, secret
    return set(re.findall(r"`([\w-]+)`", row[1]))


def container(name: str) -> dict[str, Any]:
    pods = [item["spec"]["template"]["spec"] for item in OBJECTS if "template" in item["spec"]]
    [found] = [c for pod in pods for c in pod["containers"] if c["name"] == name]
    return dict(found)


def test_every_key_is_one_of_the_charts() -> None:
    assert set(VALUES) <= set(CHART)
    for key, value in VALUES.items():
        allowed = CHART[key]
        if isinstance(value, dict) and allowed is not None:
            assert set(value) <= allowed, key


def default_of(image: str) -> str:
    """What a Compose variable is where it is not set: ``${NAME:-default}``."""
    return image.partition(":-")[2].removesuffix("}")


def test_airflow_has_the_image_and_the_settings_of_the_compose_file() -> None:
    scheduler = services()["scheduler"]
    image = f"{VALUES['defaultAirflowRepository']}:{VALUES['defaultAirflowTag']}"
    assert image == default_of(scheduler["image"])
    locked = (PROJECT_ROOT / "requirements.txt").read_text()
    assert f"\napache-airflow=={VALUES['airflowVersion']} " in locked
    given = {item["name"]: item["value"] for item in VALUES["env"]}
    secret = {item["envName"] for item in VALUES["secret"]}
    assert not given.keys() & secret
    told = environment(scheduler)
    assert told.keys() - in_files(*SETTINGS) - NOT_ON_KUBERNETES <= given.keys() | secret | BY_THE_CHART
    # And no name that nothing knows: a wrong one would be a setting that does not count.
    assert given.keys() | secret <= told.keys() | in_files("celery-executor")
    for name in ("PODIUM_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "PODIUM_EPHEMERAL"):
        assert given[name] == told[name]
    assert given["AIRFLOW__CORE__EXECUTOR"] == VALUES["executor"] == "KubernetesExecutor"


@pytest.mark.parametrize(
    ("service", "secret"),
    [
        ("initialise", "podium-initialise"),
        ("mlflow", "podium-mlflow"),
        ("initialise-registry", "podium-registry"),
    ],
)
def test_the_other_parts_are_those_of_the_compose_file(service: str, secret: str) -> None:
    ours, theirs = container(service), services()[service]
    assert ours["image"] == default_of(theirs["image"])
    assert " ".join(ours["args"]).replace("bash -ec ", "") == theirs["command"].replace(
        "bash -ec ", ""
    ).replace('"', "")
    references = [reference for source in ours["envFrom"] for reference in source.values()]
    assert secret in [reference["name"] for reference in references]
    given = {item["name"] for item in ours["env"]} | keys_of(secret) | in_files(*SETTINGS, "mlflow")
    told = environment(theirs).keys()
    only_here = told - environment(services()["scheduler"]).keys()
    assert only_here <= given
    assert keys_of(secret) <= told


def test_each_secret_that_is_used_is_described_and_none_is_in_the_files() -> None:
    used = {item["secretName"]: set[str]() for item in VALUES["secret"]}
    for item in VALUES["secret"]:
        used[item["secretName"]].add(item["secretKey"])
    used[VALUES["data"]["metadataSecretName"]] = {"connection"}
    used[VALUES["jwtSecretName"]] = {"fernet-key", "api-secret-key", "jwt-secret"}
    assert VALUES["jwtSecretName"] == VALUES["fernetKeySecretName"] == VALUES["apiSecretKeySecretName"]
    for name, keys in used.items():
        assert keys <= keys_of(name), name
    files = [VALUES["env"], [item for found in ("initialise", "mlflow") for item in container(found)["env"]]]
    words = ("PASSWORD", "SECRET", "KEY", "TOKEN", "FERNET", "SQL_ALCHEMY", "LEDGER_URL", "CONN_")
    assert not [item["name"] for part in files for item in part if any(w in item["name"] for w in words)]
    assert {item["kind"] for item in OBJECTS} == {"Job", "Deployment", "Service"}


def test_nothing_is_reached_from_outside_and_nobody_has_a_password_that_all_know() -> None:
    assert VALUES["ingress"]["apiServer"]["enabled"] is False
    assert VALUES["createUserJob"]["enabled"] is False
    for part in ("postgresql", "redis", "statsd", "flower"):
        assert VALUES[part]["enabled"] is False
    assert {item["spec"].get("type", "ClusterIP") for item in OBJECTS if item["kind"] == "Service"} == {
        "ClusterIP"
    }


def test_the_objects_are_good_for_kubernetes() -> None:
    for item in OBJECTS:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    kinds = {"Job": "V1Job", "Deployment": "V1Deployment", "Service": "V1Service"}
    for item in OBJECTS:
        answer = SimpleNamespace(data=json.dumps(item))
        read = ApiClient().deserialize(answer, kinds[item["kind"]])
        # What the classes do not know is lost on the way.
        assert ApiClient().sanitize_for_serialization(read) == item
