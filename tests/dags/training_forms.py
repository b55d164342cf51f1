"""Parse the Dags of docs/training-elsewhere.md, build the pod of one; print what each task would be."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import PropertyMock, patch

from airflow.cli.cli_parser import get_parser
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import ApiClient

text = Path(os.environ["DOCUMENT"]).read_text()
blocks = re.findall(r"```(?:python|sh)\n(.*?)```", text, re.DOTALL)
(pod,) = (block for block in blocks if "KubernetesPodOperator" in block)
(queue,) = (block for block in blocks if "queue=" in block)
(worker,) = (block for block in blocks if block.startswith("airflow "))
example = Path(os.environ["EXAMPLE"]).read_text()
decorated = queue.partition("\n")[0]
forms = {"in_a_pod": pod, "on_a_queue": example.replace("@task\ndef train()", f"{decorated}\ndef train()")}
found = {"worker": vars(get_parser().parse_args(worker.split()[1:]))["queues"]}
with TemporaryDirectory() as folder:
    for name, form in forms.items():
        file = Path(folder) / f"{name}.py"
        file.write_text(form)
        bag = DagBag(str(file))
        assert not bag.import_errors, bag.import_errors
        (parsed,) = bag.dags.values()
        dag = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(parsed))))
        found[name] = {
            "queues": {task.task_id: task.queue for task in dag.task_dict.values()},
            "after": {task.task_id: sorted(task.upstream_task_ids) for task in dag.task_dict.values()},
            "outlets": [asset.name for asset in parsed.get_task("tell").outlets],
        }
        train = parsed.get_task("train")
        if isinstance(train, KubernetesPodOperator):
            # It asks its connection only if it runs in a cluster.
            with patch.object(KubernetesPodOperator, "hook", PropertyMock()):
                built = train.build_pod_request_obj()
            found[name]["pod"] = ApiClient().sanitize_for_serialization(built)
print(json.dumps(found))
