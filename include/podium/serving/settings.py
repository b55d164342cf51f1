"""What a model server is told: by ``podium serve``, which hands it to its processes in the environment."""

from __future__ import annotations

import json
from socket import gethostname
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from podium.errors import PodiumError
from podium.model_file.types import Name

_PREFIX = "PODIUM_SERVING_"


class ServingSettings(BaseSettings):
    """Settings of one model server; each is the environment variable ``PODIUM_SERVING_<NAME>``.

    Attributes:
        models: The registered models to serve.
        alias: The alias to follow.
        version: Serve this fixed version instead; for one model only.
        poll_seconds: How often the registry is asked.
        token: Requests must carry it as a bearer token; None asks for none.
        shadow: An alias, or ``v7``: its version gets a share of the requests too, and its answers are kept
            beside those that were given. It never answers anybody.
        shadow_share: That share, 0 to 1.
        canary: Percentage of clients that the candidate answers.
        max_body_bytes: Largest body of a request.
        max_rows: Most rows of a request.
        body_seconds: How long a client may take to send its request.
        server_name: By which people tell servers apart; ``podium serve`` makes it of host and port.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    models: tuple[Name, ...] = Field(min_length=1)
    alias: str = "champion"
    version: int | None = None
    poll_seconds: float = Field(default=2.0, gt=0)
    token: SecretStr | None = Field(default=None, min_length=1)
    shadow: str | None = None
    shadow_share: float = Field(default=1.0, ge=0, le=1)
    canary: float = Field(default=0.0, ge=0, le=100)
    max_body_bytes: int = Field(default=16 * 2**20, gt=0)
    max_rows: int = Field(default=10_000, gt=0)
    body_seconds: float = Field(default=20.0, gt=0)
    server_name: str = Field(default_factory=gethostname, max_length=250)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError("each model once")
        if self.version is not None and len(self.models) > 1:
            raise ValueError("--version needs exactly one model")
        if self.shadow == self.alias and self.version is None:
            raise ValueError(
                f"--shadow {self.shadow} is the version that serves: name another alias or version"
            )
        return self


def load_serving_settings(**values: Any) -> ServingSettings:
    """Return the settings of these values, and for others those of the environment.

    Raises:
        PodiumError: One is not allowed; names it.
    """
    try:
        return ServingSettings(**values)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'serve'}: {problem['msg']}" for problem in error.errors()
        )
        raise PodiumError(wrong) from error


def environment(settings: ServingSettings) -> dict[str, str]:
    """Return the environment variables that hold the settings, for the server's processes."""
    values = settings.model_dump(mode="json", exclude={"token"}, exclude_none=True)
    return {f"{_PREFIX}{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
