"""What Podium relies on though no library promises it: each test says what has changed, and where we use it.

Airflow's part is in ``tests/dags``, which imports it anyway.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import tempfile
import threading
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from socket import create_server
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
import uvicorn
from mlflow import environment_variables
from mlflow.cli import server
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode
from pathspec.patterns import GitWildMatchPattern
from sklearn.linear_model import LogisticRegression
from skops.io.exceptions import UntrustedTypesFoundException
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from podium.errors import NotFound, Outage, PodiumError
from podium.operations.mlflow_server import auth_config
from podium.operations.postgres_programs import packaged_bin
from podium.registry import errors
from podium.registry.errors import mlflow_errors
from podium.serving.http import GuardedProtocol
from podium.settings import PROJECT_ROOT
from podium.stack import layout
from podium.stack.layout import Paths
from podium.stack.parts import Part
from podium.stack.programs import Program
from podium.stack.supervision import Supervisor, write_config
from support.answering import answering
from support.patience import PATIENCE_SECONDS
from support.private_apis import AIRFLOW, LIBRARIES, PrivateApi, our_files, uses_of

LINK = re.compile(
    r"https://github\.com/([\w-]+/[\w-]+)/(?:blob|tree)/(providers-[a-z-]+/[^/\s]+|[^/\s]+)/([\w./-]+\w)"
)
# What libraries keep for themselves, as far as we have met it.
INTERNAL = re.compile(
    r"mlflow\.(store|utils|protos|server|tracking\._|pyfunc\.scoring_server)|uvicorn\.protocols|supervisor\b"
    r"|typer\.core|botocore\.(auth|awsrequest)|airflow\.(utils|executors|models|jobs|configuration)\b"
    r"|airflow\.(api_fastapi\.core_api|sdk\.execution_time|providers\.fab)"
)
# Documented, whatever they look like: SQLAlchemy's rows as mappings, and Python's named tuples.
PUBLIC = {"_asdict", "_mapping", "_make"}
# Of docker-compose.yaml's own .env, and one that only `podium initialise` reads.
OUR_VARIABLES = {
    *("MLFLOW_ADMIN_PASSWORD", "MLFLOW_DB_PASSWORD", "MLFLOW_PODIUM_PASSWORD", "MLFLOW_PORT"),
    *("MLFLOW_READER_PASSWORD", "MLFLOW_RETENTION_PASSWORD", "MLFLOW_SESSION_KEY"),
}


@pytest.mark.parametrize("api", LIBRARIES, ids=lambda api: api.path)
def test_a_private_name_is_as_we_use_it(api: PrivateApi) -> None:
    assert not (difference := api.difference()), f"{api.path}, used in {api.uses()}: {difference}"


@pytest.mark.parametrize("api", [*LIBRARIES, *AIRFLOW], ids=lambda api: api.path)
def test_a_private_name_is_used_beside_a_link_to_its_source(api: PrivateApi) -> None:
    used = {use.partition(":")[0] for use in api.uses()}
    assert used, f"{api.path} is not used any more: take it out of support/private_apis.py"
    source = api.path.partition(":")[0].replace(".", "/")
    linked = {
        _module_of(link[3]) for name in used for link in LINK.finditer((PROJECT_ROOT / name).read_text())
    }
    assert any(source == there or source.startswith(f"{there}/") for there in linked), f"{source}: {used}"


def _module_of(path: str) -> str:
    return path.rpartition("/src/")[2].removesuffix(".py").removesuffix("/__init__")


def test_links_lead_to_the_versions_that_are_installed() -> None:
    installed = Path(sysconfig.get_path("purelib"))
    wrong = []
    for path, text in our_files().items():
        for link in LINK.finditer(text):
            if link[2] != _tag(link[1], link[3]) or not (installed / link[3].rpartition("/src/")[2]).exists():
                wrong.append(f"{path.relative_to(PROJECT_ROOT)}: {link[0]}")
    assert not wrong, f"read what changed there, and correct the links (tag, path): {wrong}"


def _tag(repository: str, path: str) -> str:
    """Return the tag of the installed version of what a repository has at a path."""
    if repository == "apache/airflow":
        found = re.match(r"providers/(.*?)/src/", path)
        if found is None:
            return version("apache-airflow-core")
        name = found[1].replace("/", "-")
        return f"providers-{name}/{version(f'apache-airflow-providers-{name}')}"
    name = repository.rpartition("/")[2]
    return f"{'v' if name in ('mlflow', 'pandera', 'skops') else ''}{version(name)}"


def test_every_private_name_in_our_code_is_in_the_tables() -> None:
    trees = {path: ast.parse(text) for path, text in our_files().items() if path.suffix == ".py"}
    ours = {name for tree in trees.values() for name in _defined(tree)} | PUBLIC
    listed = {api.path for api in (*LIBRARIES, *AIRFLOW)}
    attributes = {path.rpartition(".")[2] for path in listed} | ours
    missing = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in attributes:
                missing.append(f"{path.relative_to(PROJECT_ROOT)}:{node.lineno}: {node.attr}")
            for name in _imported_privately(node):
                if not any(f"{there}.".startswith(f"{name}.") for there in listed):
                    missing.append(f"{path.relative_to(PROJECT_ROOT)}:{node.lineno}: {name}")
    assert not missing, f"is there no public way? Else add to support/private_apis.py: {missing}"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _imported_privately(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] == "podium":
        return
    module = node.module or ""
    for alias in node.names:
        if INTERNAL.match(module) or any(map(_is_private, (*module.split("."), alias.name))):
            yield f"{module}:{alias.name}"


def _defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_mlflow_knows_every_variable_that_we_set() -> None:
    named = set(re.findall(r"\bMLFLOW_[A-Z0-9_]+\b", "".join(our_files().values()))) - OUR_VARIABLES
    options = {option.envvar for option in server.params}
    unknown = {name: uses_of(name) for name in named - options if not hasattr(environment_variables, name)}
    assert len(named) > 20
    assert not unknown, f"MLflow {mlflow.__version__} does not read these: {unknown}"


def test_mlflow_has_the_error_codes_that_we_compare_with() -> None:
    compared = set(re.findall(r'error_code [!=]= "(\w+)"', "".join(our_files().values())))
    codes = {*compared, *errors.TRY_AGAIN}
    assert codes >= {"RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED", "REQUEST_LIMIT_EXCEEDED"}
    for code in codes:
        assert code in ErrorCode.keys(), f"MLflow has no error code {code}, used in {uses_of(code)}"  # noqa: SIM118
        assert MlflowException("", ErrorCode.Value(code)).error_code == code


def test_mlflow_says_that_its_store_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "wrong")
    with answering({"/bucket": 403}) as url:
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", url)
        with pytest.raises(Outage, match="the store behind MLflow failed"), mlflow_errors("listing"):
            mlflow.artifacts.list_artifacts(artifact_uri="s3://bucket/folder")


@pytest.mark.parametrize(
    ("status", "error"), [(403, PodiumError), (404, NotFound), (429, Outage), (503, Outage)]
)
def test_what_mlflows_server_answers_about_artifacts_comes_as_an_error_of_requests(
    status: int, error: type[PodiumError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    artifacts = "/api/2.0/mlflow-artifacts/artifacts"
    with (
        answering({artifacts: status}) as url,
        pytest.raises(PodiumError) as raised,
        mlflow_errors("listing"),
    ):
        mlflow.artifacts.list_artifacts(artifact_uri=f"{url}{artifacts}/folder")
    assert type(raised.value) is error, (
        f"registry/errors.py: {raised.value!r} from {raised.value.__cause__!r}"
    )


def test_mlflows_server_has_the_pages_that_doctor_and_health_checks_ask_for() -> None:
    from mlflow.server import app
    from mlflow.server.auth import is_unprotected_route

    pages = {(rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    artifact = "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"
    wanted = {("/health", "GET"), ("/version", "GET"), *((artifact, how) for how in ("GET", "PUT", "DELETE"))}
    assert not wanted - pages, "operations/doctor/mlflow_checks.py, stack/probes.py"
    assert is_unprotected_route("/health"), (
        "docker-compose.yaml and stack/probes.py ask for it without a login"
    )


def test_mlflows_server_has_the_routes_that_make_its_accounts() -> None:
    from mlflow.server.auth import routes

    asked = set(re.findall(r'"([23]\.0/mlflow/(?:users|roles)/[a-z/-]+)', "".join(our_files().values())))
    missing = {route: uses_of(route) for route in asked if f"/api/{route}" not in vars(routes).values()}
    assert len(asked) > 5
    assert not missing, f"MLflow's server has no such routes: {missing}"


def test_mlflow_reads_every_key_of_our_configuration_of_its_logins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.server.auth.config import read_auth_config

    (tmp_path / "auth.ini").write_text(auth_config("postgresql+psycopg2://mlflow:a%40b@postgres/mlflow"))
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(tmp_path / "auth.ini"))
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "secret")
    read = read_auth_config()._asdict()
    wanted = {
        "default_permission": "READ",
        "grant_default_workspace_access": True,
        "database_uri": "postgresql+psycopg2://mlflow:a%40b@postgres/mlflow",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": 60,
        "admin_username": "admin",
        "admin_password": "secret",
    }
    assert {name: read.get(name) for name in wanted} == wanted, "operations/mlflow_server.py"


def test_mlflows_tables_are_as_a_backup_reads_them() -> None:
    from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
    from mlflow.server.auth.db.models import Base as Logins
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
    from mlflow.store.tracking.dbmodels.models import SqlRun

    assert SqlModelVersion.metadata is SqlRun.metadata
    tables = {**SqlRun.metadata.tables, **Logins.metadata.tables}
    for name, columns in {
        "runs": {"run_uuid"},
        "logged_models": {"model_id"},
        "model_versions": {"name", "version", "storage_location", "current_stage"},
        "registered_model_tags": {"name", "key", "value"},
        "users": {"id", "username"},
        "user_role_assignments": {"user_id"},
    }.items():
        assert name in tables, f"operations/backup/databases.py: MLflow has no table {name}"
        assert columns <= set(tables[name].columns.keys()), f"operations/backup/databases.py: {name}"
    assert STAGE_DELETED_INTERNAL == "Deleted_Internal", "operations/backup/databases.py"


def test_mlflows_pages_have_the_addresses_that_the_approval_card_links_to() -> None:
    build = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    (main,) = build.glob("main.*.js")
    pages = main.read_text(encoding="utf-8")
    for route in ("/models/:modelName/versions/:version", "/experiments/:experimentId/runs/:runUuid"):
        assert f'"{route}"' in pages, f"reporting/approval_card.py links to {route}"


def test_mlflow_names_the_function_that_a_saved_model_predicts_with(tmp_path: Path) -> None:
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    mlflow.sklearn.save_model(
        model,
        tmp_path / "model",
        serialization_format="skops",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=[],
    )
    flavors = mlflow.models.Model.load(str(tmp_path / "model")).flavors
    assert flavors["python_function"].get("predict_fn") == "predict_proba", uses_of('"predict_fn"')


def test_skops_names_the_types_that_it_does_not_trust() -> None:
    (pattern,) = re.findall(r're\.search\(r"(Untrusted .*?)"', "".join(our_files().values()))
    said = re.search(pattern, str(UntrustedTypesFoundException(["b.C", "a.B"])))
    assert said is not None, f"training/saving.py: {UntrustedTypesFoundException(['b.C', 'a.B'])}"
    assert said[1] == "'a.B', 'b.C'"


def test_the_warnings_that_we_silence_say_what_they_said() -> None:
    named = pd.DataFrame({"x": [0.0, 1.0]})
    model = LogisticRegression().fit(named, [0, 1])
    for text, warn in {
        "X does not have valid feature names": lambda: model.predict(np.array([[0.0]])),
        "GitWildMatchPattern": lambda: GitWildMatchPattern("*.py"),
    }.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn()
        said = [str(item.message) for item in caught]
        assert any(message.startswith(text) for message in said), f"{said}, sought in {uses_of(text)}"


def test_uvicorn_calls_what_the_guarded_protocol_overrides() -> None:
    overridden = [
        name for name in vars(GuardedProtocol) if name in vars(HttpToolsProtocol) and name[:2] != "__"
    ]
    listed = {
        api.path.rpartition(".")[2] for api in LIBRARIES if api.path.startswith("uvicorn") and api.overridden
    }
    assert set(overridden) == listed, "support/private_apis.py and serving/http.py"
    calls: list[str] = []
    seen: dict[str, Any] = {}

    def recorded(name: str) -> Any:
        def hook(self: Any, *arguments: Any) -> None:
            calls.append(name)
            if name == "on_headers_complete":
                seen.update(url=self.url, headers=dict(self.headers), cycle=self.cycle)
            getattr(HttpToolsProtocol, name)(self, *arguments)
            if name == "on_headers_complete":
                seen.update(begun=self.cycle.response_complete, waiting=len(self.pipeline))
            if name == "on_response_complete":
                seen.update(complete=self.cycle.response_complete, later=self.loop.call_later)

        return hook

    protocol = type("Recorded", (HttpToolsProtocol,), {name: recorded(name) for name in overridden})
    _answer_one_request(protocol)
    assert list(dict.fromkeys(calls)) == [
        *("connection_made", "data_received", "on_message_begin", "on_headers_complete", "on_body"),
        *("on_message_complete", "on_response_complete", "connection_lost"),
    ], "serving/http.py"
    assert (seen["url"], seen["headers"][b"x-told"]) == (b"/path", b"yes")
    assert (seen["cycle"], seen["begun"], seen["waiting"], seen.get("complete")) == (None, False, 0, True)


def _answer_one_request(protocol: type) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_level="warning")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/path"
            httpx.post(url, content=b"body", headers={"X-Told": "yes"}, timeout=PATIENCE_SECONDS)
        finally:
            running.should_exit = True
            thread.join(PATIENCE_SECONDS)


def test_supervisor_starts_at_our_longest_socket_and_says_what_already_runs() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        paths = Paths(Path(folder))
        for needed in (paths.run, paths.logs):
            needed.mkdir()
        socket = Path(folder) / "s".ljust(layout._SOCKET_PATH_LIMIT - len(folder) - 1, "s")
        write_config((Program(Part.S3, ("sleep", "600")),), paths, socket)
        supervisor = Supervisor(paths, socket)
        supervisor.launch()
        try:
            supervisor.start(Part.S3)
            supervisor.start(Part.S3)  # Raises unless ALREADY_STARTED is what supervisor calls it.
            assert supervisor.states()[Part.S3].state in ("STARTING", "RUNNING")
        finally:
            supervisor.shutdown_and_wait()
        assert not supervisor.answers()


def test_the_package_of_postgres_has_its_programs_where_we_take_them_from() -> None:
    for program in ("postgres", "initdb", "pg_dump", "pg_restore"):
        assert (packaged_bin() / program).is_file(), f"operations/postgres_programs.py: {program}"
