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


def interpolated(text: str, **given: str) -> str:
    """What a value is where the secrets and what is given are set, no more; a secret becomes <ITS_NAME>."""

    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        if name in given:
            return rest if operator == ":+" else given[name]
        return rest if operator == ":-" else "" if operator == ":+" else f"<{name}>"

    return VARIABLE.sub(value, text)


def settings_of(path: str) -> dict[str, str]:
    """The settings in a file of the project, which must be there."""
    values = dotenv_values(PROJECT_ROOT / path, interpolate=False)
    assert values, path
    return {name: value for name, value in values.items() if value is not None}


def environment(service: dict[str, Any]) -> dict[str, str]:
    """What a service's program finds in its environment."""
    env: dict[str, str] = {}
    for entry in service.get("env_file", ()):
        if isinstance(entry, str):
            env |= settings_of(interpolated(entry))
        else:
            assert entry["required"] is False
    return env | {name: interpolated(str(value)) for name, value in service.get("environment", {}).items()}
