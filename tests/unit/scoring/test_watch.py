"""While a watch window is open both versions score a share of each partition, and each row counts once."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from podium.errors import DataError
from podium.ledger.events import Event
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, told_of
from podium.model_file.spec import ModelSpec
from podium.monitoring.watch_recompute import watch_differences
from podium.monitoring.watch_record import judge_window
from podium.scoring import watch
from podium.scoring.run import plan, score_planned
from podium.services import Services
from podium.training.run import FromCode
from support import odd_script
from support.serving import make_champion, register_model
from support.toy import NUMBER_TOY
from support.trial import ROWS, regression
from support.watched import counted, promote_watched

ODD = FromCode(Path(odd_script.__file__), {})
SCORING = {"source": "in", "output": "out", "keys": ["id"]}


@pytest.fixture
def spec(services: Services, tmp_path: Path) -> ModelSpec:
    """A model with a partition of 400 rows that every version takes, and one that the odd one fails."""
    (tmp_path / "in").mkdir()
    for name, x in (("good", 0.5), ("odd", 101.0)):
        rows = pd.DataFrame({"id": range(400), "x": x, "z": 0.0})
        rows.to_csv(tmp_path / "in" / f"{name}.csv", index=False)
    return ModelSpec.model_validate(
        {**NUMBER_TOY, "name": f"batch-{uuid.uuid4().hex[:8]}", "scoring": SCORING}
    )


def promoted(services: Services, spec: ModelSpec, first: Any, second: Any, **terms: Any) -> Event:
    make_champion(services, spec.name, register_model(services, spec.name, first, ROWS))
    number = register_model(services, spec.name, second, ROWS)
    return promote_watched(services, spec.name, number, **terms)


def score(services: Services, spec: ModelSpec, partition: str) -> int:
    (planned,) = plan(services, spec, None, partition, allow_rolled_back=False)
    return score_planned(services, spec, planned, cleared=False).rows


def test_a_share_of_each_partition_counts_once_however_often_it_is_scored(
    services: Services, spec: ModelSpec
) -> None:
    promotion = promoted(services, spec, regression(1), regression(2), rows=40)
    for _ in range(2):
        assert score(services, spec, "good") == 400
        assert counted(services, promotion) == Counts(20, 20)
    assert score(services, spec, "odd") == 400
    judged = judge_window(services, spec.name)
    assert judged is not None
    assert judged.reason == "good: v2 is not seen to be worse than v1 on 40 rows"
    assert watch_differences(services.ledger, [spec.name]) == []
    assert score(services, spec, "good") == 400
    assert counted(services, promotion) == Counts(40, 40), "the window is over"


def test_a_version_that_fails_rows_alone_is_seen_to_be_bad_though_its_partition_is_not_written(
    services: Services, spec: ModelSpec
) -> None:
    promotion = promoted(services, spec, regression(1), ODD)
    score(services, spec, "good")
    with pytest.raises(DataError, match="none of 400 rows can be scored"):
        score(services, spec, "odd")
    assert counted(services, promotion) == Counts(40, 40, new_failed=20)
    judged = judge_window(services, spec.name)
    assert judged is not None
    assert judged.reason == "bad: v2 alone failed 20 and v1 alone 0 of 40 requests"


def test_the_old_one_alone_and_both_may_fail(services: Services, spec: ModelSpec) -> None:
    old_alone = promoted(services, spec, ODD, regression(2))
    score(services, spec, "odd")
    assert counted(services, old_alone) == Counts(20, 20, old_failed=20)
    make_champion(services, spec.name, register_model(services, spec.name, ODD, ROWS))
    both = promote_watched(services, spec.name, register_model(services, spec.name, ODD, ROWS))
    with pytest.raises(DataError):
        score(services, spec, "odd")
    assert counted(services, both) == Counts(20, 20, both_failed=20)


def test_a_version_before_that_is_not_there_is_told_and_stops_no_scores(
    services: Services, spec: ModelSpec
) -> None:
    promotion = promoted(services, spec, regression(1), regression(2))
    mlflow.MlflowClient().delete_model_version(spec.name, "1")
    assert score(services, spec, "good") == 400
    (told,) = told_of(services.ledger, spec.name, promotion.seq)
    assert told.counts == Counts()
    assert f"{spec.name} v1: " in told.problem


def test_whatever_goes_wrong_beside_the_scores_are_written(
    services: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion = promoted(services, spec, regression(1), regression(2))

    def broken(*_: Any) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(watch, "_failed", broken)
    assert score(services, spec, "good") == 400
    (told,) = told_of(services.ledger, spec.name, promotion.seq)
    assert told.problem.endswith("good.csv cannot be compared: odd")
    monkeypatch.undo()
    monkeypatch.setattr(watch, "tell_watched", away)
    assert score(services, spec, "good") == 400
    assert counted(services, promotion) == Counts()


def away(ledger: Ledger, *_: Any) -> None:
    Ledger("postgresql+psycopg2://nobody@127.0.0.1:1/ledger").now()
