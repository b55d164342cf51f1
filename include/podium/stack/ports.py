"""Which loopback ports the stack listens on.

Candidates lie below the ranges from which Linux and macOS hand out ports to outgoing connections, and start
at an offset that depends on the state directory: two stacks that start at the same moment do not meet.
"""

import hashlib
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from podium.errors import StackError

# `weed mini` takes nine ports in a row, and its admin port + 10000 for gRPC as well.
S3_SPAN = 9
_S3_ADMIN = 8
_GRPC_SHIFT = 10_000
_S3_LOWEST, _S3_HIGHEST = 20_000, 55_000

ENV_NAMES: Mapping[str, str] = {
    "s3": "PODIUM_S3_PORT",
    "airflow": "PODIUM_AIRFLOW_PORT",
    "mlflow": "PODIUM_MLFLOW_PORT",
    "postgres": "PODIUM_POSTGRES_PORT",
}
_FIRST_CANDIDATE: Mapping[str, int] = {"s3": 20_000, "airflow": 23_000, "mlflow": 24_000, "postgres": 25_000}


class Ports(BaseModel):
    """The ports of one stack; `s3` is the first of a block."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    s3: int
    airflow: int
    mlflow: int
    postgres: int


def is_free(port: int) -> bool:
    """Tell whether nobody listens on this port, neither on loopback nor on all addresses."""
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - bound for a moment, never listened on
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def occupied_by(service: str, port: int) -> tuple[int, ...]:
    """Return every port that `service` takes when its first port is `port`."""
    if service != "s3":
        return (port,)
    return (*range(port, port + S3_SPAN), port + _S3_ADMIN + _GRPC_SHIFT)


def choose_ports(
    saved: Ports | None,
    env: Mapping[str, str],
    state_dir: Path,
    free: Callable[[int], bool] = is_free,
) -> Ports:
    """Choose the ports for a start: what the environment demands, else the saved ones, else free ones.

    Args:
        saved: the ports of the last start; kept as long as nobody else has taken them.
        env: read for the names in `ENV_NAMES`.
        state_dir: spreads the first candidates of different stacks.
        free: tells whether a port can be had.

    Raises:
        StackError: a port demanded by the environment is no usable number or is taken.
    """
    offset = int.from_bytes(hashlib.sha256(str(state_dir).encode()).digest()[:4], "big") % 100
    chosen: dict[str, int] = {}
    for service in ENV_NAMES:
        demanded = _demanded(service, env, free)
        kept = getattr(saved, service) if saved else None
        if demanded is not None:
            chosen[service] = demanded
        elif kept is not None and all(map(free, occupied_by(service, kept))):
            chosen[service] = kept
        else:
            chosen[service] = _first_free(service, offset, free)
    return Ports(**chosen)


def _demanded(service: str, env: Mapping[str, str], free: Callable[[int], bool]) -> int | None:
    name = ENV_NAMES[service]
    text = env.get(name, "")
    if not text:
        return None
    lowest, highest = (_S3_LOWEST, _S3_HIGHEST) if service == "s3" else (1, 65_535)
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise StackError(f"{name}={text!r} is not a port number from {lowest} to {highest}.")
    taken = [port for port in occupied_by(service, int(text)) if not free(port)]
    if taken:
        raise StackError(f"{name}={text}: port {taken[0]} is taken. Choose another one, or unset {name}.")
    return int(text)


def _first_free(service: str, offset: int, free: Callable[[int], bool]) -> int:
    first = _FIRST_CANDIDATE[service]
    candidates: Iterable[int] = (first + 10 * ((offset + step) % 100) for step in range(100))
    for port in candidates:
        if all(map(free, occupied_by(service, port))):
            return port
    raise StackError(f"No free port for {service} from {first} to {first + 999}. Set {ENV_NAMES[service]}.")
