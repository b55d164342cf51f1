"""How each part is started: plain values, rendered by `supervision`."""

import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from podium.names import RETENTION_PASSWORD
from podium.stack.environment import airflow_env, mlflow_env, s3_env
from podium.stack.layout import Layout, Paths
from podium.stack.parts import Part
from podium.stack.ports import S3_SPAN
from podium.stack.postgres import PostgresHome, server_command, weed_binary

BUCKET = "mlflow"


@dataclass(frozen=True)
class Program:
    """One supervised process.

    Attributes:
        env: what it gets on top of the common environment; goes to a start script in the run folder (mode
            600), never to a command line. Without any there is no script.
        stop_seconds: how long it may take to stop before it is killed.
        stop_group: whether its children get the stop signal as well.
        user: the user to become, for a supervisor that runs as root.
        directory: where it runs, if not in the run folder.
    """

    part: Part
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: int = 10
    stop_group: bool = True
    user: str | None = None
    directory: str | None = None

    def script(self) -> str:
        """Return the shell script that sets the environment and becomes the program."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(self.env.items())]
        return "\n".join(["#!/bin/sh", *exports, f"exec {shlex.join(self.argv)}", ""])


def all_programs(
    layout: Layout, paths: Paths, home: PostgresHome, extra_airflow_env: Mapping[str, str]
) -> tuple[Program, ...]:
    """Describe all parts, in start order."""
    return (
        Program(
            Part.POSTGRES,
            server_command(home, layout.ports.postgres),
            stop_signal=signal.SIGINT,
            stop_group=False,
            user=home.user,
            directory=str(home.data),
        ),
        Program(Part.S3, s3_command(layout, paths), s3_env(layout, paths)),
        Program(Part.MLFLOW, mlflow_command(layout), mlflow_env(layout), stop_seconds=8),
        *_airflow_programs(
            airflow_env(layout, paths, extra_airflow_env),
            {
                # For the pictures on its pages; no task knows it.
                Part.API_SERVER: {"MLFLOW_READER_PASSWORD": layout.secrets.mlflow_reader},
                # Tasks are its children; all but that of the Dag `retention` forget it first.
                Part.SCHEDULER: {RETENTION_PASSWORD: layout.secrets.mlflow_retention},
            },
        ),
    )


def s3_command(layout: Layout, paths: Paths) -> tuple[str, ...]:
    """Return the object store's command; what is open without keys or our certificate is switched off.

    It runs in the run folder and finds there what `store_certificate` wrote.
    """
    sockets = layout.socket.parent  # closed to others, and with a path that is short enough for one
    pairs = [(f"{server}.port", f"{server}.port.grpc") for server in ("s3", "master", "volume", "filer")]
    names = [*chain.from_iterable(pairs), "admin.port"]
    ports = zip(names, range(layout.ports.s3, layout.ports.s3 + S3_SPAN), strict=True)
    return (
        str(weed_binary()),
        "-logtostderr=true",
        "mini",
        f"-dir={paths.s3}",
        f"-bucket={BUCKET}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}={port}" for name, port in ports),
        "-webdav=false",
        "-admin.ui=false",
        f"-filer.localSocket={sockets / 'filer.sock'}",
        f"-s3.localSocket={sockets / 's3.sock'}",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-disableHttp",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-volume.max=200",
        "-master.volumeSizeLimitMB=256",
    )


def mlflow_command(layout: Layout) -> tuple[str, ...]:
    """Return the MLflow server's command; its database URL is in the environment, it holds a password."""
    address = ("--host", "127.0.0.1", "--port", str(layout.ports.mlflow))
    return (sys.executable, "-m", "podium", "mlflow-server", *address, "--bucket", BUCKET)


def _airflow_programs(
    env: Mapping[str, str], only_of: Mapping[Part, Mapping[str, str]]
) -> tuple[Program, ...]:
    commands: Mapping[Part, tuple[str, ...]] = {
        Part.API_SERVER: ("api-server",),
        # Logs are read from the folder that all share; the log servers would listen on every address.
        Part.SCHEDULER: ("scheduler", "--skip-serve-logs"),
        Part.DAG_PROCESSOR: ("dag-processor",),
        Part.TRIGGERER: ("triggerer", "--skip-serve-logs"),
    }
    # After a database restart a triggerer may not end by itself; it keeps nothing that a kill could lose.
    return tuple(
        Program(
            part,
            airflow_command(*command),
            {**env, **only_of.get(part, {})},
            stop_seconds=6,
        )
        for part, command in commands.items()
    )


def airflow_command(*arguments: str) -> tuple[str, ...]:
    """Return an `airflow` command of this virtual environment."""
    return (sys.executable, "-m", "airflow", *arguments)
