"""Where Podium's pages are, below the address of Airflow's web server."""

from __future__ import annotations

from urllib.parse import quote

from podium.settings import Settings


def airflow_of(settings: Settings) -> str:
    """Return Airflow's address for people's browsers, "" if nobody said where it is."""
    return (settings.airflow_public_url or settings.airflow_url or "").rstrip("/")


def models_page(airflow: str) -> str:
    """Return the address of the page with all models."""
    return f"{airflow.rstrip('/')}/podium/models"


def model_page(airflow: str, model: str) -> str:
    """Return the address of the page of one model."""
    return f"{models_page(airflow)}/{quote(model, safe='')}"


def decision_page(airflow: str, request: int) -> str:
    """Return the address of the page of one decision.

    Args:
        airflow: The address of Airflow's web server, as people's browsers reach it.
        request: The number of the event ``approval_requested`` in the ledger.
    """
    return f"{airflow.rstrip('/')}/podium/decisions/{request}"
