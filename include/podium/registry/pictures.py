"""The pictures that a training run keeps in MLflow, read over HTTP by an account that only reads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

import requests

from podium.errors import NotFound
from podium.registry.labels import http_errors

_TIMEOUT_SECONDS = 5
_LARGEST_BYTES = 8 * 2**20
_PICTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.png")
_LIST, _GET = "api/2.0/mlflow/artifacts/list", "get-artifact"


class Reader(NamedTuple):
    """Where MLflow is, and the account that reads it.

    Attributes:
        uri: MLflow's address.
        login: Name and password.
    """

    uri: str
    login: tuple[str, str]

    def pictures(self, run_id: str, folder: str) -> list[str]:
        """Return the names of the pictures in one folder of a run's artifacts; "" is the top.

        Raises:
            Outage: MLflow or its store did not answer.
            PodiumError: MLflow refused.
        """
        asked = {"run_id": run_id, **({"path": folder} if folder else {})}
        found = self._get(_LIST, asked, f"listing the pictures of run {run_id}").json().get("files", ())
        names = (str(file["path"]).rpartition("/")[2] for file in found if not file.get("is_dir"))
        return sorted(name for name in names if _PICTURE.fullmatch(name))

    def picture(self, run_id: str, folder: str, name: str) -> bytes:
        """Return a picture as a PNG.

        Raises:
            NotFound: That is not the name of a picture, or the run has none of that name.
            Outage: MLflow or its store did not answer.
            PodiumError: MLflow refused.
        """
        if not _PICTURE.fullmatch(name):
            raise NotFound(f"{name!r} is not the name of a picture")
        asked = {"run_uuid": run_id, "path": f"{folder}/{name}" if folder else name}
        content = self._get(_GET, asked, f"reading {name} of run {run_id}").content
        if not content.startswith(b"\x89PNG\r\n") or len(content) > _LARGEST_BYTES:
            raise NotFound(f"{name} of run {run_id} is not a picture that can be shown")
        return content

    def _get(self, route: str, asked: Mapping[str, str], doing: str) -> requests.Response:
        verify = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
        with http_errors(doing):
            answer = requests.get(
                f"{self.uri.rstrip('/')}/{route}",
                params=dict(asked),
                auth=self.login,
                timeout=_TIMEOUT_SECONDS,
                verify=verify,
            )
            answer.raise_for_status()
        return answer
