"""Supervisor (supervisord.org) keeps the parts running: its configuration, and how we talk to it."""

import http.client
import os
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from podium.errors import PartFailedError, StackError
from podium.operations.private_files import write_private
from podium.stack.environment import base_env
from podium.stack.layout import Paths
from podium.stack.parts import Part
from podium.stack.programs import Program

_OFFLINE = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)
_START_LIMIT_SECONDS = 20.0
# Python warns about a forgotten child; ours is stopped by its pid, perhaps by another process.
_LAUNCHED: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class PartState:
    """What supervisor knows of one part; `started` is in seconds since the epoch."""

    part: Part
    state: str
    pid: int
    started: int

    @property
    def running(self) -> bool:
        """Whether its process is there; not whether it answers."""
        return self.state == "RUNNING"


def render_config(programs: Iterable[Program], socket_file: Path) -> str:
    """Render supervisord's configuration. It holds no secret: those are in the start scripts, mode 600."""
    sections = [
        _section(
            "unix_http_server",
            {"file": _escape(str(socket_file)), "chmod": "0700"},
        ),
        _section(
            "supervisord",
            {
                "nodaemon": "true",
                "silent": "true",
                "umask": "077",
                "pidfile": "supervisord.pid",
                "logfile": "../logs/supervisord.log",
                "logfile_maxbytes": "2MB",
                "logfile_backups": "1",
                "childlogdir": "../logs",
                **({"user": "root"} if os.geteuid() == 0 else {}),
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    sections += [_program_section(program, order) for order, program in enumerate(programs)]
    return "\n".join(sections)


def _program_section(program: Program, order: int) -> str:
    return _section(
        f"program:{program.part}",
        {
            "command": f"/bin/sh ./{program.part}.sh" if program.env else _escape(shlex.join(program.argv)),
            "priority": str(100 + order),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "10",
            "stopsignal": program.stop_signal.name.removeprefix("SIG"),
            "stopwaitsecs": str(program.stop_seconds),
            "stopasgroup": str(program.stop_group).lower(),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": f"../logs/{program.part}.log",
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "2",
            **({"user": program.user} if program.user else {}),
            **({"directory": _escape(program.directory)} if program.directory else {}),
        },
    )


def _section(name: str, options: Mapping[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in options.items()), ""])


def _escape(value: str) -> str:
    return value.replace("%", "%%")


def write_config(programs: tuple[Program, ...], paths: Paths, socket_file: Path) -> None:
    """Write supervisord's configuration and the start scripts, mode 600, into the run folder."""
    write_private(paths.run / "supervisord.conf", render_config(programs, socket_file))
    for program in programs:
        if program.env:
            write_private(paths.run / f"{program.part}.sh", program.script())


@dataclass(frozen=True)
class Supervisor:
    """A handle on the supervisord of one state directory, running or not."""

    paths: Paths
    socket: Path

    def launch(self) -> None:
        """Start supervisord in a session of its own, so that Ctrl-C here does not reach it.

        Raises:
            StackError: it did not come up.
        """
        log = self.paths.logs / "supervisord.err"
        command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", "supervisord.conf"]
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=self.paths.run,
                env=base_env(os.environ),
                umask=0o077,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        deadline = time.monotonic() + _START_LIMIT_SECONDS
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise PartFailedError("supervisord", f"exit code {process.poll()}", log)
            time.sleep(0.05)
        _LAUNCHED.append(process)

    def answers(self) -> bool:
        """Tell whether a supervisord listens and works."""
        try:
            return str(self._call("getState").get("statename")) == "RUNNING"
        except (*_OFFLINE, xmlrpc.client.Fault):
            return False

    def states(self) -> dict[Part, PartState]:
        """Return what supervisor knows of each part; empty where it does not run."""
        try:
            infos = self._call("getAllProcessInfo")
        except (*_OFFLINE, xmlrpc.client.Fault):
            return {}
        found = (PartState(Part(i["name"]), i["statename"], i["pid"], i["start"]) for i in infos)
        return {state.part: state for state in found}

    def start(self, part: Part) -> None:
        """Start one part, without waiting until it is ready."""
        try:
            self._call("startProcess", part.value, False)
        except xmlrpc.client.Fault as fault:
            # https://github.com/Supervisor/supervisor/blob/4.3.0/supervisor/xmlrpc.py
            if "ALREADY_STARTED" not in fault.faultString:
                raise PartFailedError(part, fault.faultString, self.paths.log_of(part)) from fault
        except _OFFLINE as error:
            raise StackError(f"supervisord went away while {part} was to start: {error}") from error

    def stop(self, parts: Iterable[Part], limit_seconds: float = 30.0) -> None:
        """Stop parts, all at the same time, and wait until they are gone."""
        stopping = set(parts)
        for part in stopping:
            try:
                self._call("stopProcess", part.value, False)
            except (*_OFFLINE, xmlrpc.client.Fault):
                continue  # not running, or no supervisor: the final sweep looks after what is left
        deadline = time.monotonic() + limit_seconds
        while time.monotonic() < deadline:
            states = self.states()
            if not any(part in states and states[part].pid for part in stopping):
                return
            time.sleep(0.1)

    def shutdown_and_wait(self, limit_seconds: float = 15.0) -> None:
        """Ask supervisord to end and wait for it; if it does not, the sweep for lost processes ends it."""
        try:
            process = psutil.Process(self._call("getPID"))
            self._call("shutdown")
            process.wait(limit_seconds)
        except (*_OFFLINE, xmlrpc.client.Fault, psutil.NoSuchProcess, psutil.TimeoutExpired):
            return

    def _call(self, method: str, *arguments: Any) -> Any:
        with closing(_Connection(self.socket)) as connection:
            transport = _Transport(connection)
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport, allow_none=True)
            return getattr(proxy.supervisor, method)(*arguments)


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a connection that is there already."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        super().__init__()
        self._to = connection

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002 - it has none
        """Return the connection; XML-RPC itself only knows TCP."""
        return self._to


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, with a time limit: a stopped (SIGSTOP) supervisord must not hang us."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10.0)
        self.sock.connect(str(self._path))
