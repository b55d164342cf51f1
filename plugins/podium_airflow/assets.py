"""The one place that names assets; producers and consumers import them from here."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from podium.model_file.spec import ModelSpec

CHAMPIONS = AssetAlias("champion_moves")
CHAMPIONS_MOVED_OUTSIDE = AssetAlias("champion_moves_outside")


def champion_asset(model: str) -> Asset:
    """The champion of a model; updated by each promotion, each rollback, and each settlement."""
    return Asset(name=f"champion of {model}", uri=f"podium://{model}/champion")


def moved_outside_asset(model: str) -> Asset:
    """Updated when a champion was found moved outside Podium, and when that was settled."""
    return Asset(name=f"champion of {model} moved outside", uri=f"podium://{model}/champion-moved-outside")


def retraining_asset(model: str) -> Asset:
    """Updated when monitoring says that a model is to be trained again; its lifecycle starts by it."""
    return Asset(name=f"retraining of {model}", uri=f"podium://{model}/retraining")


def trained_asset(spec: ModelSpec) -> Asset | None:
    """The asset by which another Dag tells that it trained a model; None for one that is trained here."""
    return None if spec.training is None else Asset(name=spec.training.asset)


def partitions_scored(model: str) -> AssetAlias:
    """Stands for all partitions of a model's scores: a Dag scheduled on it runs as each is scored."""
    return AssetAlias(f"scores of {model}, by partition")


def partition_asset(model: str, partition: str) -> Asset:
    """The scores of one partition; updated whenever it was scored."""
    place = quote(partition, safe="/=:,@+")
    return Asset(name=f"scores of {model}: {partition}", uri=f"podium://{model}/scores/{place}")


def scores_asset(model: str) -> Asset:
    """All scores of a model; updated when a run has scored every partition that it was asked for."""
    return Asset(name=f"scores of {model}", uri=f"podium://{model}/scores")
