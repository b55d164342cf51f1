"""Single sign-on as docs/security.md configures it gives each group its role, and others only Viewer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from podium.settings import PROJECT_ROOT
from podium.stack.environment import base_env

SCRIPT = Path(__file__).with_name("single_sign_on.py")
PASSWORDS = ("VIEWER", "OPERATOR", "APPROVER", "ADMIN", "LOOKUP")


def test_groups_become_roles_at_each_login(tmp_path: Path) -> None:
    document = (PROJECT_ROOT / "docs" / "security.md").read_text()
    (configuration,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (tmp_path / "webserver_config.py").write_text(configuration)
    environment = base_env(os.environ) | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__AUTH_MANAGER": "podium_airflow.auth_manager.PodiumFabAuthManager",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__FAB__CONFIG_FILE": str(tmp_path / "webserver_config.py"),
        "OIDC_ISSUER": "http://127.0.0.1:9/realms/test",
        "OIDC_CLIENT_ID": "podium",
        "OIDC_CLIENT_SECRET": "not-a-secret",
        "PYTHONPATH": os.pathsep.join(map(str, (PROJECT_ROOT / "include", PROJECT_ROOT / "plugins"))),
        **{f"PODIUM_{name}_PASSWORD": f"{name}-not-a-secret" for name in PASSWORDS},
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen == {
        "providers": ["keycloak"],
        "roles": [["Approver", "Viewer"], ["Viewer"], ["Admin", "Operator", "Viewer"]],
        "name": "ada",
        # A program has its password from its environment; people's are their own.
        "changed": ["podium"],
    }
