"""Where heavy tasks run: their queue, and the pod that KubernetesExecutor builds for each task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from podium.settings import PROJECT_ROOT

VALUES: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "deploy" / "helm" / "values.yaml").read_text())
SHIPPED = PROJECT_ROOT / "include" / "models" / "bug_severity_clf.yaml"
ASKED = {"cpu": 4, "memory": "16Gi", "gpu": 1, "queue": "gpu", "image": "registry.example.com/podium-gpu:1.0"}
HEAVY = {"train", "validate", "score"}
RunScript = Callable[..., dict[str, Any]]


def write_template(path: Path) -> None:
    """The pod template as the Helm chart makes it of our values, so far as they decide it."""
    image = f"{VALUES['defaultAirflowRepository']}:{VALUES['defaultAirflowTag']}"
    references = [
        {"name": item["envName"], "valueFrom": {"secretKeyRef": {"name": item["secretName"], "key": "key"}}}
        for item in VALUES["secret"]
    ]
    container = {
        "name": "base",
        "image": image,
        "envFrom": yaml.safe_load(VALUES["extraEnvFrom"]),
        "env": [*VALUES["env"], *references],
        "resources": VALUES["workers"]["kubernetes"]["resources"],
    }
    pod = {"metadata": {"name": "placeholder"}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **pod}))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model files that ask for everything, for an image, and for nothing."""
    folder = tmp_path_factory.mktemp("models")
    for name, changes in {
        "asks": {"compute": ASKED},
        "plain": {},
        "image": {"compute": {"image": "podium:2"}},
    }.items():
        content = {**yaml.safe_load(SHIPPED.read_text()), "name": name, **changes}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def pods(run_script: RunScript, models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each task's queue and pod on KubernetesExecutor."""
    template = tmp_path_factory.mktemp("kubernetes") / "pod.yaml"
    write_template(template)
    found = run_script(
        "build_pods.py",
        AIRFLOW__CORE__EXECUTOR="KubernetesExecutor",
        PODIUM_MODELS_DIR=str(models),
        POD_TEMPLATE=str(template),
    )
    assert found["import_errors"] == {}
    return dict(found["pods"])


def base(pod: dict[str, Any]) -> dict[str, Any]:
    [container] = pod["pod"]["spec"]["containers"]
    assert container["name"] == "base"
    return dict(container)


def test_heavy_tasks_get_what_the_model_file_asks_for(pods: dict[str, Any]) -> None:
    amounts = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    for task in ("lifecycle_asks.train", "lifecycle_asks.validate", "score_asks.score"):
        container = base(pods[task])
        assert pods[task]["queue"] == "gpu"
        assert container["resources"] == {"requests": amounts, "limits": amounts}
        assert container["image"] == ASKED["image"]
        # The rest is the template's.
        names = {item["name"] for item in container["env"]}
        assert {item["name"] for item in VALUES["env"]} <= names
        assert container["envFrom"] == yaml.safe_load(VALUES["extraEnvFrom"])


def test_only_the_two_tasks_that_delete_get_the_password_to_delete(pods: dict[str, Any]) -> None:
    named = {
        name: variable["valueFrom"]["secretKeyRef"]["name"]
        for name, pod in pods.items()
        for variable in base(pod).get("env", ())
        if variable["name"] == "MLFLOW_RETENTION_PASSWORD"
    }
    assert named == dict.fromkeys(("retention.let_go", "propose_removal.remove"), "podium-retention")


def test_all_other_tasks_get_what_the_installation_gives(pods: dict[str, Any]) -> None:
    light = {name: pod for name, pod in pods.items() if name.partition(".")[2] not in HEAVY}
    assert {"lifecycle_asks.register", "lifecycle_asks.promote", "rollback_champion.announce"} <= set(light)
    plain = {name: pods[name] for name in ("lifecycle_plain.train", "score_plain.score")}
    for name, pod in {**light, **plain}.items():
        assert pod["queue"] == ("train" if name in plain else "default"), name
        assert base(pod)["resources"] == VALUES["workers"]["kubernetes"]["resources"], name
        assert base(pod)["image"] == "podium:local", name


def test_an_image_of_its_own_leaves_the_amounts_as_they_are(pods: dict[str, Any]) -> None:
    container = base(pods["lifecycle_image.train"])
    assert container["image"] == "podium:2"
    assert container["resources"] == VALUES["workers"]["kubernetes"]["resources"]


def test_only_on_kubernetes_does_a_dag_file_load_its_client(
    parse_dags: Callable[[Path], dict[str, Any]], models: Path
) -> None:
    found = parse_dags(models)
    assert "lifecycle_asks" in found["dags"]
    assert found["heavy"] == []
