"""Write .env for docker-compose.yaml: a generated value for each secret that it has not yet, mode 600.

`make compose-up` runs it. It needs nothing but Python, keeps what is there, and prints names only.
"""

import base64
import os
import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ENV_FILE = Path(__file__).resolve().parents[1] / ".env"


def token() -> str:
    """A password that needs no quoting anywhere."""
    return secrets.token_urlsafe(24)


def fernet() -> str:
    """A key as `cryptography` wants it."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


SECRETS: "dict[str, Callable[[], str]]" = {
    "POSTGRES_PASSWORD": token,
    "AIRFLOW_DB_PASSWORD": token,
    "MLFLOW_DB_PASSWORD": token,
    "PODIUM_DB_PASSWORD": token,
    "PODIUM_SERVER_DB_PASSWORD": token,
    "LEDGER_OWNER_DB_PASSWORD": token,
    "STORE_ACCESS_KEY": lambda: "PODIUM" + secrets.token_hex(7).upper(),
    "STORE_SECRET_KEY": lambda: secrets.token_hex(20),
    "AIRFLOW_FERNET_KEY": fernet,
    "AIRFLOW_API_SECRET_KEY": lambda: secrets.token_urlsafe(32),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(48),
    "AIRFLOW_VIEWER_PASSWORD": token,
    "AIRFLOW_OPERATOR_PASSWORD": token,
    "AIRFLOW_APPROVER_PASSWORD": token,
    "AIRFLOW_ADMIN_PASSWORD": token,
    "AIRFLOW_PODIUM_PASSWORD": token,
    "MLFLOW_SESSION_KEY": token,
    "MLFLOW_ADMIN_PASSWORD": token,
    "MLFLOW_PODIUM_PASSWORD": token,
    "MLFLOW_READER_PASSWORD": token,
    "MLFLOW_RETENTION_PASSWORD": token,
    "SERVING_TOKEN": token,
    "REDIS_PASSWORD": token,
}


def named(text: str) -> "dict[str, str]":
    """Return the variables that a .env file sets."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def completed(text: str) -> "tuple[str, list[str]]":
    """Return the file's text with every secret set, and the names of those that were added.

    Raises:
        SystemExit: A secret is there but empty; what it was meant to be is not for us to guess.
    """
    there = named(text)
    if empty := [name for name in SECRETS if name in there and not there[name].strip("\"'")]:
        raise SystemExit(f".env: {', '.join(empty)} empty: set a value, or remove the line to have one made.")
    added = [name for name in SECRETS if name not in there]
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"{name}={SECRETS[name]()}\n" for name in added), added


def main(path: Path = ENV_FILE) -> None:
    """Complete the file, in one step; its mode becomes 600 in any case."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    full, added = completed(text)
    if added:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".env.")  # mode 600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(full)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
        print(f"{path}: generated {', '.join(added)}")  # noqa: T201
    path.chmod(0o600)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
