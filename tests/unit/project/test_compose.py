"""docker-compose.yaml: settings as in the embedded stack, secrets only where they belong, loopback only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from podium.operations.postgres_roles import ROLES
from podium.settings import PROJECT_ROOT
from podium.stack.environment import accounts_env, airflow_env, base_env, mlflow_env
from podium.stack.layout import Layout, Paths, Secrets
from podium.stack.ports import Ports
from podium.stack.programs import BUCKET, mlflow_command
from support.compose import FILE, environment, services, settings_of

MAKE_ENV = PROJECT_ROOT / "deploy" / "make_env.py"
ONE_SHOT = {"initialise", "initialise-registry"}

# What the two stacks cannot have alike: addresses, folders, secrets. All else must be equal.
AIRFLOW_DIFFERS = {
    *settings_of("deploy/remote-logs.env"),  # the logs of the embedded stack are on its disk
    "AIRFLOW_CONN_PODIUM_LOGS",
    "AIRFLOW_HOME",  # the image has its own
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__BASE_URL",
    "AIRFLOW__API__HOST",  # a container's own network is where it listens
    "AIRFLOW__API__PORT",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__CORE__PLUGINS_FOLDER",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
    "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY",
    "AIRFLOW__METRICS__OTEL_ON",  # off in both, unless a variable says where to
    "AIRFLOW__METRICS__STATSD_HOST",
    "AIRFLOW__METRICS__STATSD_ON",
    "AIRFLOW__METRICS__STATSD_PORT",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD",  # the store is out of the tasks' reach there
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_URI",
    "OPENLINEAGE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "PODIUM_LOOKUP_PASSWORD",
    "PODIUM_AIRFLOW_PUBLIC_URL",
    "PODIUM_AIRFLOW_URL",
    "PODIUM_EPHEMERAL",  # the caller's environment says it there
    "PODIUM_HOME",
    "PODIUM_LEDGER_URL",
    "PODIUM_MLFLOW_PUBLIC_URL",
    # The caller's environment says these, too.
    *("PODIUM_NOTIFY", "PODIUM_NOTIFY_CHANNELS", "PODIUM_NOTIFY_QUIET"),
    "PYTHONPATH",  # the image has its own
}
# The embedded stack gives each to this one program (stack/programs.py).
ONLY_OF = {"api-server": {"MLFLOW_READER_PASSWORD"}, "scheduler": {"MLFLOW_RETENTION_PASSWORD"}}
MLFLOW_DIFFERS = {
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",  # a developer's own must not reach the embedded store
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SHARED_CREDENTIALS_FILE",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_SERVER_ALLOWED_HOSTS",
    "PYTHONPATH",
}
# A secret -> the services whose programs may know it. What Airflow knows, all of its parts know.
WORKERS = {"worker-default", "worker-train"}
AIRFLOW = {
    *("initialise", "initialise-registry", "api-server", "scheduler", "dag-processor", "triggerer"),
    *WORKERS,
}
MAY_KNOW = {
    "POSTGRES_PASSWORD": {"postgres", "initialise"},
    "AIRFLOW_DB_PASSWORD": AIRFLOW,
    "MLFLOW_DB_PASSWORD": {"mlflow", "initialise"},
    "PODIUM_DB_PASSWORD": AIRFLOW,
    "PODIUM_SERVER_DB_PASSWORD": {"model-server", "initialise"},
    "LEDGER_OWNER_DB_PASSWORD": {"initialise"},
    "STORE_ACCESS_KEY": {"store", "mlflow", "initialise"},
    "STORE_SECRET_KEY": {"store", "mlflow", "initialise"},
    "AIRFLOW_FERNET_KEY": AIRFLOW,
    "AIRFLOW_API_SECRET_KEY": AIRFLOW,
    "AIRFLOW_JWT_SECRET": AIRFLOW,
    "AIRFLOW_VIEWER_PASSWORD": {"initialise"},
    "AIRFLOW_OPERATOR_PASSWORD": {"initialise"},
    "AIRFLOW_APPROVER_PASSWORD": {"initialise"},
    "AIRFLOW_ADMIN_PASSWORD": {"initialise"},
    "AIRFLOW_PODIUM_PASSWORD": AIRFLOW,
    "MLFLOW_SESSION_KEY": {"mlflow"},
    "MLFLOW_ADMIN_PASSWORD": {"mlflow", "initialise-registry"},
    "MLFLOW_PODIUM_PASSWORD": AIRFLOW,
    "MLFLOW_READER_PASSWORD": {"model-server", "initialise-registry", "api-server"},
    # Where trainers run with Celery, nobody knows it.
    "MLFLOW_RETENTION_PASSWORD": {"initialise-registry", "scheduler", "worker-default"},
    "SERVING_TOKEN": {"model-server"},
    "REDIS_PASSWORD": AIRFLOW | {"redis"},
}


@pytest.fixture
def embedded(tmp_path: Path) -> tuple[Layout, Paths]:
    layout = Layout(
        ports=Ports(s3=20_000, airflow=23_000, mlflow=24_000, postgres=25_000),
        secrets=Secrets.generate(),
        socket=tmp_path / "s.sock",
        postgres_home=tmp_path / "postgres",
    )
    return layout, Paths(tmp_path)


def differences(ours: dict[str, str], theirs: dict[str, str]) -> set[str]:
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


@pytest.mark.parametrize("part", ["scheduler", "api-server", "dag-processor", "triggerer"])
def test_airflow_is_told_the_same_in_both_stacks(embedded: tuple[Layout, Paths], part: str) -> None:
    ours = base_env({"PATH": ""}) | airflow_env(*embedded, {})
    for name in ("PATH", "NO_PROXY", "no_proxy", "OBJC_DISABLE_INITIALIZE_FORK_SAFETY"):
        ours.pop(name, None)
    assert differences(ours, environment(services()[part])) == AIRFLOW_DIFFERS | ONLY_OF.get(part, set())


def test_a_busy_machine_has_the_time_to_read_all_models(embedded: tuple[Layout, Paths]) -> None:
    """A file that is not read in time takes its Dags away, which are those of all models."""
    told = airflow_env(*embedded, {})
    file, process, gone = (
        int(told[f"AIRFLOW__{name}"])
        for name in (
            "CORE__DAGBAG_IMPORT_TIMEOUT",
            "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT",
            "DAG_PROCESSOR__STALE_DAG_THRESHOLD",
        )
    )
    seconds_of_a_thousand_models = 150
    assert seconds_of_a_thousand_models < file < process <= gone


def test_mlflow_is_told_the_same_in_both_stacks(embedded: tuple[Layout, Paths]) -> None:
    layout, _ = embedded
    ours = base_env({"PATH": ""}) | mlflow_env(layout)
    for name in ("PATH", "NO_PROXY", "no_proxy", "OBJC_DISABLE_INITIALIZE_FORK_SAFETY"):
        ours.pop(name, None)
    mlflow = services()["mlflow"]
    assert differences(ours, environment(mlflow)) == MLFLOW_DIFFERS
    command = " ".join(mlflow_command(layout)).partition(" -m ")[2]
    command = command.replace("127.0.0.1", "0.0.0.0").replace(str(layout.ports.mlflow), "5000")  # noqa: S104
    assert mlflow["command"] == f'bash -ec "exec {command}"'


def test_the_first_start_makes_the_same_in_both_stacks(embedded: tuple[Layout, Paths]) -> None:
    told = environment(services()["initialise"])
    assert accounts_env(embedded[0]).keys() <= told.keys()
    assert {f"{role.upper()}_DB_PASSWORD" for role in ROLES} <= told.keys()
    assert told["PODIUM_BUCKET"] == BUCKET


def test_each_secret_is_known_to_few() -> None:
    found = services()
    told = {name: str(environment(service).values()) for name, service in found.items()}
    known = {secret: {name for name in told if f"<{secret}>" in told[name]} for secret in MAY_KNOW}
    assert known == MAY_KNOW
    # Nor is one handed over any other way, in a command, say: those are in process lists.
    assert "${" not in str([service.get("healthcheck") for service in found.values()])
    commands = str([service.get("command") for service in found.values()])
    assert not re.findall(r"(?<!\$)\$\{(?!SERVED_MODEL)", commands)


def test_the_model_server_logs_in_to_the_ledger_by_a_role_that_appends_no_event() -> None:
    told = environment(services()["model-server"])
    login = "podium_server:<PODIUM_SERVER_DB_PASSWORD>@"
    assert told["PODIUM_LEDGER_SERVER_URL"] == f"postgresql+psycopg2://{login}postgres:5432/ledger"
    assert "PODIUM_LEDGER_URL" not in told


def test_no_secret_has_a_default_and_each_is_generated(tmp_path: Path) -> None:
    text = FILE.read_text()
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    assert wanted == set(MAY_KNOW)
    assert not set(re.findall(r"\$\{([A-Z_]+):-[^}]", text)) & wanted
    assert not re.findall(r"\$\{\w*(?:PASSWORD|SECRET|TOKEN|FERNET|KEY)\w*(?!\w*(?::\?|:-\}))", text)
    made = make_env(tmp_path / ".env")
    assert wanted <= set(made)


def make_env(path: Path) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-I", MAKE_ENV, path], capture_output=True, text=True, check=True)
    lines = [line for line in path.read_text().splitlines() if "=" in line and line[0] != "#"]
    values = dict(line.split("=", 1) for line in lines)
    assert not [value for value in values.values() if value in done.stdout + done.stderr]
    return values


def test_the_env_file_is_private_and_its_values_are_good(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    values = make_env(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(set(values.values())) == len(values)
    assert min(map(len, values.values())) >= 20
    Fernet(values["AIRFLOW_FERNET_KEY"])
    # Nothing in them has a meaning in a URL or to Compose.
    assert all(re.fullmatch(r"[A-Za-z0-9_=-]+", value) for value in values.values())
    assert make_env(path) == values


def test_what_is_set_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nPOSTGRES_PASSWORD=kept\nAIRFLOW_PORT=9090")
    path.chmod(0o644)
    values = make_env(path)
    assert path.read_text().startswith("# mine\nPOSTGRES_PASSWORD=kept\nAIRFLOW_PORT=9090\n")
    assert values["POSTGRES_PASSWORD"] == "kept"
    assert len(values["AIRFLOW_DB_PASSWORD"]) >= 32
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_secret_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text('STORE_SECRET_KEY=""\n')
    done = subprocess.run([sys.executable, MAKE_ENV, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "STORE_SECRET_KEY" in done.stderr
    assert path.read_text() == 'STORE_SECRET_KEY=""\n'


def test_every_service_is_looked_after() -> None:
    found = services()
    for name, service in found.items():
        once = name in ONE_SHOT
        assert service["restart"] == ("no" if once else "unless-stopped"), name
        assert ("healthcheck" in service) is not once, name
        assert service["mem_limit"], name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        for volume in service.get("volumes", ()):
            assert not volume.startswith((".", "/")), name
        for needed, how in service.get("depends_on", {}).items():
            done = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == done, (name, needed)
    images = {service["image"] for service in found.values()}
    assert not [image for image in images if ":" not in image or "latest" in image]
    # One builds an image, the others use it.
    builds = [service["image"] for service in found.values() if "build" in service]
    assert len(builds) == len(set(builds)) == 2


def test_another_executor_leaves_mlflow_and_the_model_server_running() -> None:
    """Compose makes a container anew that changed, and those that need it."""
    found, needed = services(), {"mlflow", "model-server"}
    while more := {name for service in needed for name in found[service].get("depends_on", {})} - needed:
        needed |= more
    assert {"initialise", "initialise-registry"} <= needed
    assert not [name for name in needed if "COMPOSE_PROFILES" in str(found[name])]


def test_the_model_server_shares_a_network_with_what_it_asks_and_nothing_else() -> None:
    found = services()
    networks = {name: set(service.get("networks", ["default"])) for name, service in found.items()}
    assert networks["model-server"] == {"serving"}
    beside = {name for name, its in networks.items() if "serving" in its} - {"model-server"}
    assert beside == {"mlflow", "postgres"}


def test_no_service_keeps_capabilities_that_it_does_not_need() -> None:
    for name, service in services().items():
        if name != "redis":
            assert service["cap_drop"] == ["ALL"], name
        kept = set(service.get("cap_add", ()))
        assert kept <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}, name
