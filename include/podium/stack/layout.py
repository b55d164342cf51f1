"""What a state directory holds, and the file in it that remembers ports and secrets."""

import base64
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from podium.errors import StackError
from podium.names import PEOPLE
from podium.operations.postgres_roles import (
    LEDGER_APP_ROLE,
    LEDGER_DATABASE,
    LEDGER_OWNER_ROLE,
    LEDGER_SERVER_ROLE,
)
from podium.operations.private_files import write_private
from podium.stack.ports import Ports

# sun_path holds 104 bytes on macOS, 108 on Linux, and supervisor binds to '<path>.<pid>' first:
# https://github.com/Supervisor/supervisor/blob/4.3.0/supervisor/http.py
_SOCKET_PATH_LIMIT = 90


def repo_root() -> Path:
    """Return the folder that holds `dags/`, `include/` and `plugins/`."""
    return Path(__file__).resolve().parents[3]


def default_state_dir() -> Path:
    """Return where `make up` keeps everything."""
    return repo_root() / ".podium"


@dataclass(frozen=True)
class Paths:
    """The names inside one state directory."""

    state_dir: Path

    @property
    def layout(self) -> Path:
        """Ports and secrets."""
        return self.state_dir / "layout.json"

    @property
    def client_env(self) -> Path:
        """What a client of the stack needs in its environment."""
        return self.state_dir / "client.env"

    @property
    def run(self) -> Path:
        """Working directory of every program: this is how a lost one is found again."""
        return self.state_dir / "run"

    @property
    def session(self) -> Path:
        """Who started the running stack, and how."""
        return self.run / "session.json"

    @property
    def logs(self) -> Path:
        """One log file a part."""
        return self.state_dir / "logs"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.state_dir / "airflow"

    @property
    def s3(self) -> Path:
        """The object store's data."""
        return self.state_dir / "s3"

    @property
    def backups(self) -> Path:
        """Backups that were given no other folder; `clean` leaves them."""
        return self.state_dir / "backups"

    @property
    def restoring(self) -> Path:
        """There from the beginning of a restore to its good end."""
        return self.state_dir / "restoring"

    def log_of(self, part: str) -> Path:
        """Return the log file of one part."""
        return self.logs / f"{part}.log"


def _token() -> str:
    return secrets.token_urlsafe(24)


def _people() -> dict[str, str]:
    return {name: secrets.token_hex(6) for name, _ in PEOPLE}


class Secrets(BaseModel):
    """Everything generated once per state directory; never shown by repr.

    What an earlier version's file has not gets a value, which the next start saves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    postgres_superuser: str = Field(repr=False)
    db_airflow: str = Field(repr=False)
    db_mlflow: str = Field(repr=False)
    db_podium: str = Field(repr=False)
    db_podium_server: str = Field(repr=False, default_factory=_token)
    db_ledger_owner: str = Field(repr=False, default_factory=_token)
    s3_key: str = Field(repr=False, min_length=8)
    s3_secret: str = Field(repr=False, min_length=16)
    fernet: str = Field(repr=False)
    api_secret: str = Field(repr=False)
    jwt: str = Field(repr=False)
    airflow_podium: str = Field(repr=False, default_factory=_token)
    mlflow_session: str = Field(repr=False, default_factory=_token)
    mlflow_admin: str = Field(repr=False, default_factory=_token)
    mlflow_podium: str = Field(repr=False, default_factory=_token)
    mlflow_reader: str = Field(repr=False, default_factory=_token)
    mlflow_retention: str = Field(repr=False, default_factory=_token)
    people: dict[str, str] = Field(repr=False)

    @field_validator("people")
    @classmethod
    def _everybody(cls, people: dict[str, str]) -> dict[str, str]:
        return _people() | people

    @classmethod
    def generate(cls) -> Self:
        """Make a fresh set. All values are URL-safe and need no quoting anywhere."""
        token = secrets.token_urlsafe
        return cls(
            postgres_superuser=token(24),
            db_airflow=token(24),
            db_mlflow=token(24),
            db_podium=token(24),
            s3_key="PODIUM" + secrets.token_hex(7).upper(),
            s3_secret=secrets.token_hex(20),
            fernet=base64.urlsafe_b64encode(os.urandom(32)).decode(),
            api_secret=token(32),
            jwt=token(48),
            people=_people(),
        )

    def values(self) -> tuple[str, ...]:
        """Return every secret value, for checks that none of them leaks."""
        single = [value for value in self.model_dump().values() if isinstance(value, str)]
        return (*single, *self.people.values())


class Layout(BaseModel):
    """What one state directory remembers between starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ports: Ports
    secrets: Secrets
    socket: Path
    postgres_home: Path
    migrated_airflow: str = ""

    @property
    def airflow_url(self) -> str:
        """Where the Airflow UI and its REST API are."""
        return f"http://127.0.0.1:{self.ports.airflow}"

    @property
    def mlflow_url(self) -> str:
        """Where MLflow is."""
        return f"http://127.0.0.1:{self.ports.mlflow}"

    @property
    def s3_url(self) -> str:
        """Where the object store is."""
        return f"http://127.0.0.1:{self.ports.s3}"

    def database_url(self, role: str, database: str) -> str:
        """Return the SQLAlchemy URL of one role's database. It holds the password."""
        password = getattr(self.secrets, f"db_{role}")
        # SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3.
        return f"postgresql+psycopg2://{role}:{password}@127.0.0.1:{self.ports.postgres}/{database}"

    @property
    def ledger_url(self) -> str:
        """The ledger's database for the application, which may insert and select; with its password."""
        return self.database_url(LEDGER_APP_ROLE, LEDGER_DATABASE)

    @property
    def ledger_server_url(self) -> str:
        """The ledger's database for model servers, which append no event; with its password."""
        return self.database_url(LEDGER_SERVER_ROLE, LEDGER_DATABASE)

    @property
    def ledger_owner_url(self) -> str:
        """The ledger's database for its owner, who migrates it; with its password. Only the stack uses it."""
        return self.database_url(LEDGER_OWNER_ROLE, LEDGER_DATABASE)


def load_layout(paths: Paths) -> Layout | None:
    """Read the remembered layout, or None before the first start.

    Raises:
        StackError: the file is damaged.
    """
    if not paths.layout.is_file():
        return None
    try:
        return Layout.model_validate_json(paths.layout.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise StackError(
            f"{paths.layout} is damaged: restore it, or remove the state with 'clean'."
        ) from error


def save_layout(paths: Paths, layout: Layout) -> None:
    """Write the layout, mode 600."""
    write_private(paths.layout, layout.model_dump_json(indent=2) + "\n")


def socket_path(paths: Paths, saved: Path | None) -> Path:
    """Return where supervisor's Unix socket goes: into the state directory if its path is short enough."""
    preferred = paths.run / "supervisor.sock"
    if len(os.fsencode(preferred)) <= _SOCKET_PATH_LIMIT:
        return preferred
    if saved is not None and saved != preferred and _is_private_dir(saved.parent):
        return saved
    return Path(tempfile.mkdtemp(prefix="podium-", dir="/tmp")) / "s.sock"


def _is_private_dir(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    status = path.stat()
    return status.st_uid == os.getuid() and status.st_mode & 0o077 == 0


def create_folders(paths: Paths) -> None:
    """Create the state directory and its folders, each closed to others.

    As root others may pass through the state directory (not list it): Postgres runs below it as another user.
    """
    if any(mark in str(paths.state_dir) for mark in (" ;", " #", "\n")):
        raise StackError(f"The state directory {str(paths.state_dir)!r} holds ' ;', ' #' or a line break.")
    if not paths.state_dir.exists():
        paths.state_dir.mkdir(parents=True)
        paths.state_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
    for folder in (paths.run, paths.logs, paths.airflow_home, paths.s3):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
