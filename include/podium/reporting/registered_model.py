"""What MLflow's page of a registered model says of it: what it predicts, who owns it, where people decide."""

from __future__ import annotations

from podium.model_file.spec import ModelSpec
from podium.reporting.links import airflow_of, model_page
from podium.services import Services


def describe_model(services: Services, spec: ModelSpec) -> None:
    """Write the description of a registered model, if it says something else.

    Raises:
        Outage: MLflow did not answer.
    """
    services.registry.describe_model(spec.name, description(spec, airflow_of(services.settings)))


def description(spec: ModelSpec, airflow: str) -> str:
    """Return the description, as Markdown.

    Args:
        spec: The model file.
        airflow: Airflow's address for people's browsers; "" if nobody said where it is.
    """
    page = f"[Models]({model_page(airflow, spec.name)})" if airflow else "Models"
    return "\n\n".join(
        (
            spec.description,
            f"Owner: {spec.owner}",
            f"The page {page} in Airflow shows what serves and why, and what waits for a decision. Train, "
            "approve and roll back there.",
            "The alias `champion` names the version that serves. Moving it here freezes the model.",
        )
    )
