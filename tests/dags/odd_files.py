"""Parse the Dag files beside a file that holds anything, some times. Run by ``conftest.py``."""

import json
import os
import sys
import warnings
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from hypothesis import HealthCheck, Phase, example, given, settings

sys.path.append(str(Path(__file__).parents[1]))

from podium.model_file.loading import load_specs
from support.odd_files import ANY_FILE, SHIPPED

FOLDER = Path(os.environ["PODIUM_MODELS_DIR"])
ODD = FOLDER / "odd.yaml"
GOOD = next(path for path in SHIPPED if path.stem == "soccer_match_outcome").read_bytes()
accepted: list[bool] = []


# To shrink what fails would parse the Dags hundreds of times.
@settings(
    max_examples=10,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@example(content=GOOD)
@example(content=GOOD.replace(b"description: ", b'description: "a\\0b" #'))
@example(content=GOOD.replace(b"owner: ", b'owner: "\\ud800" #'))
@example(content=GOOD.replace(b"0 6 * * 1", b"0 0 31 2 *"))
@given(content=ANY_FILE)
def parse(content: bytes) -> None:
    ODD.write_bytes(content)
    specs, errors = load_specs(FOLDER)
    accepted.append(len(specs) == 2)
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert {spec.lifecycle_dag_id for spec in specs.values()} <= set(bag.dags), bag.import_errors
    assert "lifecycle_toy" in bag.dags
    assert [Path(path).name for path in bag.import_errors] == ["check_model_files.py"] * bool(errors)
    # Postgres keeps what Airflow makes of them, and takes no such character.
    kept = [json.dumps(DagSerialization.to_dict(dag)) for dag in bag.dags.values()]
    kept += map(json.dumps, bag.import_errors.values())
    assert not any(wrong in text for text in kept for wrong in ("\\u0000", "\\ud800"))


warnings.simplefilter("ignore")
parse()
print(json.dumps({"tried": len(accepted), "accepted": sum(accepted)}))
