"""What the tests of the lifecycle share."""

from __future__ import annotations

import pytest

from podium.settings import Settings
from podium.spec import ModelSpec
from podium.training import train_model
from support.steps import FIRST, SECOND, TRAINED
from support.toy import TOY, write_toy_rows


@pytest.fixture(scope="session", autouse=True)
def trained_once(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Train the toy as of both dates; what promotion does with a version does not depend on its training."""
    home = tmp_path_factory.mktemp("trained-once")
    write_toy_rows(home / "toy.csv", first_day="2024-01-01")
    settings = Settings(MLFLOW_TRACKING_URI=mlflow_uri, PODIUM_LEDGER_URL="unused", PODIUM_HOME=home)
    spec = ModelSpec.model_validate({**TOY, "name": "trained-once"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        TRAINED.update({as_of: train_model(spec, settings, as_of, {}, "once") for as_of in (FIRST, SECOND)})
