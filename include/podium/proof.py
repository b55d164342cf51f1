"""Proof that a version can serve: its files are those that were registered, and it predicts as it did."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlflow.pyfunc import PyFuncModel

from podium.errors import BytesChanged, CannotRollBack, NotFound, Outage, PodiumError, version_name
from podium.ledger import history
from podium.ledger.events import Event
from podium.registry.client import Registry, load_model
from podium.registry.manifest import Manifest, verified
from podium.registry.signature import incompatibilities

log = logging.getLogger(__name__)

EXAMPLE_OUTPUT = "input_example_output"
_RELATIVE_TOLERANCE = 1e-6
_ABSOLUTE_TOLERANCE = 1e-9


def manifest_of(events: Sequence[Event], model: str, number: int) -> Manifest:
    """Return the manifest of a version, as the ledger holds it.

    Raises:
        BytesChanged: There is none, so nobody can say which bytes are the right ones.
    """
    registered = history.registration(events, number)
    if registered is None:
        raise BytesChanged(
            f"{model} {version_name(number)}: the ledger holds no manifest of it; Podium did not register it"
        )
    return Manifest.from_json(registered.details["manifest"])


def prove(registry: Registry, events: Sequence[Event], model: str, number: int) -> None:
    """Prove that a version can take the champion's place.

    It is READY, its files are those of its manifest, it takes what the champion's clients send, it loads, and
    it predicts its stored input example to the stored output.

    Raises:
        CannotRollBack: One of these is not so; says which and how.
        Outage: The registry or the store did not answer.
    """
    name = f"{model} {version_name(number)}"
    try:
        if not registry.version(model, number).ready:
            raise CannotRollBack(f"{name} is not READY in MLflow")
        manifest = manifest_of(events, model, number)
        _accepts_champions_clients(events, name, number)
        with verified(registry, model, number, manifest) as folder:
            if problem := example_problem(load_model(folder)):
                raise CannotRollBack(f"{name} {problem}")
    except (NotFound, BytesChanged) as error:
        raise CannotRollBack(str(error)) from error
    except PodiumError:
        raise
    except OSError as error:
        raise Outage(f"{name} could not be loaded here: {error}") from error
    except Exception as error:
        raise CannotRollBack(f"{name} does not load and predict: {error}") from error
    log.info("%s: %s files as registered; it loads and predicts its example.", name, len(manifest.files))


def example_output(answer: Any) -> list[Any]:
    """Return a prediction as the plain JSON values that are stored beside the input example."""
    values: list[Any] = np.asarray(answer).tolist()
    return values


def example_problem(model: PyFuncModel) -> str:
    """Say how a model does not predict its stored input example as when it was trained; "" if it does."""
    expected = (model.metadata.metadata or {}).get(EXAMPLE_OUTPUT)
    if model.input_example is None or expected is None:
        return "has no input example with its output to prove itself with"
    found = example_output(model.predict(model.input_example))
    if _equal(np.asarray(expected), np.asarray(found)):
        return ""
    return f"predicts {found} for its input example, not {expected} as when trained"


def _accepts_champions_clients(events: Sequence[Event], name: str, number: int) -> None:
    """Compare signatures from the ledger: the champion's own files may be what is broken."""
    champion = history.champion(events)
    served = history.registration(events, champion) if champion is not None else None
    offered = history.registration(events, number)
    if served is None or offered is None:
        return
    signatures = served.details["signature"], offered.details["signature"]
    if not all(signatures):
        return  # A champion that was accepted without a signature tells nothing of its clients.
    if found := incompatibilities(*signatures):
        raise CannotRollBack(
            f"{name} does not fit the clients of champion {version_name(champion)}: {'; '.join(found)}"
        )


def _equal(expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> bool:
    if expected.shape != found.shape:
        return False
    if np.issubdtype(expected.dtype, np.number) and np.issubdtype(found.dtype, np.number):
        return np.allclose(expected, found, rtol=_RELATIVE_TOLERANCE, atol=_ABSOLUTE_TOLERANCE)
    return bool((expected == found).all())
