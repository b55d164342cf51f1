"""The one place that names assets; producers and consumers import them from here."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

CHAMPION_MOVES = AssetAlias("champion_moves")
MOVES_OUTSIDE = AssetAlias("champion_moves_outside")


def champion_asset(model: str) -> Asset:
    """The champion of a model; updated by each promotion, each rollback, and each settlement by people."""
    return Asset(name=f"champion of {model}", uri=f"podium://{model}/champion")


def moved_outside_asset(model: str) -> Asset:
    """Updated when a champion was found moved outside Podium, and when that was settled."""
    return Asset(name=f"champion of {model} moved outside", uri=f"podium://{model}/champion-moved-outside")
