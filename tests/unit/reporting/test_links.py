"""Addresses that notifications carry, and that stay as long as mails are kept."""

from __future__ import annotations

from podium.reporting.links import decision_page, model_page, models_page


def test_addresses_are_short_and_below_airflows() -> None:
    assert models_page("https://airflow.example/") == "https://airflow.example/podium/models"
    assert decision_page("https://airflow.example/ml", 42) == "https://airflow.example/ml/podium/decisions/42"
    assert model_page("http://a", "a/b <c>") == "http://a/podium/models/a%2Fb%20%3Cc%3E"
