"""Which version scores a run, and ``podium score``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import BytesChanged, NotFound, Outage, PodiumError
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle import register
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.scoring.pinned_version import pin
from podium.scoring.run import plan, score_planned, total
from podium.services import Services
from support.steps import FIRST, SECOND, new_run, nominate_unjudged, promote_as_of, roll_back, train
from support.store import changed_bytes, stored_files

SCORING = {"source": "in", "output": "out", "keys": ["id"]}


@pytest.fixture
def spec(toy_spec: ModelSpec, tmp_path: Path, own_services: Services) -> ModelSpec:
    """A toy that scores a folder of two files; its model file is where the command line looks."""
    path = tmp_path / f"{toy_spec.name}.yaml"
    path.write_text(f"{path.read_text()}\nscoring: {json.dumps(SCORING)}\n")
    (tmp_path / "in").mkdir()
    for place, name in enumerate(("monday", "tuesday")):
        rows = pd.DataFrame({"id": range(4), "x": np.linspace(-2, 2, 4) + place})
        rows.to_csv(tmp_path / "in" / f"{name}.csv", index=False)
    return load_spec(path)


@pytest.fixture
def two(own_services: Services, spec: ModelSpec) -> Services:
    """Version 1 was champion, version 2 is."""
    promote_as_of(own_services, spec, FIRST)
    promote_as_of(own_services, spec, SECOND)
    return own_services


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["score", *words])


def text(done: Result) -> str:
    return " ".join(done.stdout.split())


def planned(services: Services, spec: ModelSpec, version: str | None = None, only: str = "*") -> list[Any]:
    return plan(services, spec, version, only, allow_rolled_back=False)


def test_a_run_keeps_its_version_while_the_champion_moves(
    two: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    monday, tuesday = planned(two, spec)
    first = score_planned(two, spec, monday, cleared=False)
    roll_back(two, spec)
    second = score_planned(two, spec, tuesday, cleared=False)
    assert [(one.version, one.rows, one.output) for one in (first, second)] == [
        (2, 4, "out/monday.parquet"),
        (2, 4, "out/tuesday.parquet"),
    ]
    summed = total([first.as_json(), second.as_json()])
    assert (summed["version"], summed["rows"], summed["partitions"]) == (2, 8, ["monday", "tuesday"])
    found = pq.read_table(tmp_path / "out").to_pandas()
    assert set(found["model_digest"]) == {first.digest}
    assert found["id"].tolist() == ["0", "1", "2", "3"] * 2
    assert [one["pinned"]["version"] for one in planned(two, spec)] == [1, 1]
    assert [one["partition"]["name"] for one in planned(two, spec, "1", "mon*")] == ["monday"]


def test_a_cleared_run_scores_with_its_version_unless_that_was_rolled_away_from(
    two: Services, spec: ModelSpec
) -> None:
    monday, _ = planned(two, spec)
    score_planned(two, spec, monday, cleared=True)
    roll_back(two, spec)
    # What an older Podium planned does not say whether it is allowed.
    for said in ({}, {"allow_rolled_back": False}):
        older = {key: monday[key] for key in ("pinned", "partition")} | said
        with pytest.raises(PodiumError, match="v2 was rolled back on .* by olga: complaints"):
            score_planned(two, spec, older, cleared=True)
    allowed = plan(two, spec, "2", "mon*", allow_rolled_back=True)
    assert score_planned(two, spec, allowed[0], cleared=True).version == 2


def test_a_version_that_was_rolled_away_from_scores_only_if_told(two: Services, spec: ModelSpec) -> None:
    roll_back(two, spec)
    with pytest.raises(PodiumError, match=r"v2 was rolled back on .* by olga: complaints. Allow it with"):
        pin(two, spec.name, "2")
    assert pin(two, spec.name, "v2", allow_rolled_back=True).version == 2
    assert pin(two, spec.name, "champion").version == 1
    promote_as_of(two, spec, SECOND)
    assert pin(two, spec.name, "2").version == 2


def test_what_cannot_be_pinned_is_refused(two: Services, spec: ModelSpec) -> None:
    for asked, message in (
        ("candidate", "has no candidate; aliases: champion, previous_champion"),
        ("7", "has no v7; available: v1, v2"),
        ("newest", "'newest' is neither an alias nor a version; allowed: champion, candidate"),
    ):
        with pytest.raises(NotFound, match=message):
            pin(two, spec.name, asked)
    with pytest.raises(NotFound, match="no version of nonsense was ever registered"):
        pin(two, "nonsense", "champion")
    two.registry.set_alias(spec.name, Alias.CHAMPION, 1)
    with pytest.raises(
        PodiumError, match="champion is v1 in MLflow, and v2 in the ledger: it was moved outside"
    ):
        pin(two, spec.name, "champion")
    assert pin(two, spec.name, "2").version == 2
    started = NewEvent(EventKind.PROMOTION_STARTED, spec.name, 1, 2, run=new_run())
    two.ledger.append(started)
    with pytest.raises(Outage, match="is being moved right now"):
        pin(two, spec.name, "champion")


def test_a_version_that_does_not_predict_its_example_writes_nothing(
    own_services: Services,
    spec: ModelSpec,
    toy_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A version from before such models were refused: it holds a function of the project by its name."""
    trusted = ["support.toy_trainer.double"]
    path = toy_file(
        name=spec.name,
        trainer="support.toy_trainer:hold_a_function",
        skops_trusted_types=trusted,
        scoring=SCORING,
    )
    holding = load_spec(path)
    monkeypatch.setattr("podium.training.saving.prove", lambda *_: None)
    trained = train(own_services, holding)
    version = register.register_version(own_services, holding, trained.run_id, new_run())
    monday, _ = planned(own_services, holding, str(version))
    assert score_planned(own_services, holding, monday, cleared=False).rows == 4
    before = (tmp_path / "out" / "monday.parquet").read_bytes()
    monkeypatch.setattr("support.toy_trainer.double", lambda inputs: inputs * 0)
    with pytest.raises(
        PodiumError, match=r"v1 predicts .* for its input example, not .*; nothing was scored"
    ):
        score_planned(own_services, holding, monday, cleared=False)
    assert (tmp_path / "out" / "monday.parquet").read_bytes() == before


def test_bytes_that_were_changed_after_the_version_was_pinned_score_nothing(
    two: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    monday, _ = planned(two, spec)
    with (
        changed_bytes(stored_files(two, spec.name, 2), "flipped"),
        pytest.raises(BytesChanged, match="model.skops"),
    ):
        score_planned(two, spec, monday, cleared=False)
    assert not (tmp_path / "out").exists()


def test_candidate_and_champion_are_tried_side_by_side(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    promote_as_of(own_services, spec, FIRST)
    nominate_unjudged(own_services, spec, SECOND, new_run())
    file = str(tmp_path / "in" / "monday.csv")
    done = run(spec.name, "--input", file, "--output", "both.parquet", "--diff", "candidate")
    assert done.exit_code == 0, done.stderr
    assert f"{spec.name} v1 and v2 disagree on 0 of 4 rows (0.0%)." in text(done)
    assert "v1 says, v2 says" in text(done)
    assert "Both answers to each row are in both.parquet." in text(done)
    done = run(spec.name, "--input", file, "--output", "both.parquet", "--diff", "2", "--json")
    found = json.loads(done.stdout)
    assert (found["versions"], found["disagree"], found["rows"]) == ([1, 2], 0, 4)
    assert len(found["top"]) == 4
    both = pq.read_table("both.parquet").to_pandas()
    assert {"id", "row", "v1_prediction", "v2_prediction", "v1_probability_yes", "v2_digest"} <= set(both)


def test_one_file_is_scored_by_one_version(two: Services, spec: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,x\na,1\nb,oops\n")
    done = run(spec.name, "--input", "rows.csv", "--output", "scores.parquet", "--alias", "previous_champion")
    assert done.exit_code == 0, done.stderr
    assert f"{spec.name} v1, rows: 1 of 2 rows scored to scores.parquet in" in text(done)
    assert "1 rejected to _rejects/scores.parquet: x is not a number (1)." in text(done)
    found = pq.read_table("scores.parquet").to_pandas()
    assert (found["id"].tolist(), found["model_version"].tolist()) == (["a"], [1])
    done = run(spec.name, "--input", "rows.csv", "--output", "scores.parquet", "--json", "--key", "x")
    told = json.loads(done.stdout)
    assert (told["version"], told["rows"], told["rejected"]) == (2, 2, 1)
    assert pq.read_table("scores.parquet").column_names[0] == "x"
    done = run(spec.name, "--input", "in", "--output", "scores.parquet")
    assert done.exit_code == 1
    assert "in is 2 files; name one of them" in " ".join(done.stderr.split())
    done = run(spec.name, "--input", "in/monday.csv", "--output", "rows.csv")
    assert done.exit_code == 1
    assert "--output: rows.csv: allowed are .parquet" in " ".join(done.stderr.split())
    done = run(spec.name, "--input", "scores.parquet", "--output", "./scores.parquet")
    assert "is also the input, and would be overwritten" in " ".join(done.stderr.split())
