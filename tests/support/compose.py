"""docker-compose.yaml as Compose reads it: files of settings, anchors, variables."""

from __future__ import annotations

import re
from typing import Any

import yaml
from dotenv import dotenv_values

from podium.settings import PROJECT_ROOT

VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[-?+])?([^}]*)\}")
FILE = PROJECT_ROOT / "docker-compose.yaml"


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
    return found


def interpolated(text: str) -> str:
    """What a value is where nothing but the secrets is set; a secret becomes <ITS_NAME>."""

    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        return rest if operator == ":-" else "" if operator == ":+" else f"<{name}>"

    return VARIABLE.sub(value, text)


def environment(service: dict[str, Any]) -> dict[str, str]:
    """What a service's program finds in its environment."""
    env: dict[str, str] = {}
    for entry in service.get("env_file", ()):
        if isinstance(entry, str):
            env |= {k: v for k, v in dotenv_values(PROJECT_ROOT / entry).items() if v is not None}
        else:
            assert entry["required"] is False
    return env | {name: interpolated(str(value)) for name, value in service.get("environment", {}).items()}
