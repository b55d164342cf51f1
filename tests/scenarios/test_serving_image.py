"""The image of the model server: it has what the server imports, and no Airflow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

from podium.settings import PROJECT_ROOT

LOCK = (PROJECT_ROOT / "requirements-serving.txt").read_text()
LOCKED = dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^ ;]+)", LOCK))
# Imported where they are there, and done without where they are not.
OPTIONAL = {
    "watchfiles",
    "a2wsgi",
    "email-validator",
    "pydantic-extra-types",
    "python-multipart",
    "sniffio",
    "setuptools",
    "psutil",
    "pytz",
    "tornado",  # tenacity looks whether it is there
    "tqdm",
}
LOADED = """
import json, sys, podium.cli.main, podium.serving.app
paths = {name.split(".")[0]: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(json.dumps([name for name, path in paths.items() if "site-packages" in path]))
"""


def distribution(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_that_a_server_imports_is_locked_for_its_image() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    owners = packages_distributions()
    # Several share a namespace such as opentelemetry: which of them was loaded is not told.
    known = [owners[name] for name in json.loads(done.stdout) if len(owners.get(name, ())) == 1]
    loaded = {distribution(owner) for (owner,) in known}
    assert {"fastapi", "pandas", "sqlalchemy", "uvicorn"} <= loaded
    assert loaded - LOCKED.keys() - OPTIONAL - {"podium"} == set()


def test_it_runs_what_the_tests_run_and_holds_no_airflow() -> None:
    everything = dict(
        re.findall(r"(?m)^([a-z0-9.-]+)==([^ ;]+)", (PROJECT_ROOT / "requirements.txt").read_text())
    )
    assert not [name for name in LOCKED if name.startswith("apache-airflow")]
    assert {name: version for name, version in LOCKED.items() if everything[name] != version} == {}
