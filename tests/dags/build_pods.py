"""Build the pods of a model's tasks as KubernetesExecutor does, and print them as one line of JSON.

What the scheduler gets of a Dag is its serialised form, so that is read back first. The pod template is the
file that ``POD_TEMPLATE`` names.
"""

import json
import os

from airflow.dag_processing.dagbag import DagBag
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import ApiClient

bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
template = PodGenerator.deserialize_model_file(os.environ["POD_TEMPLATE"])
pods = {}
for dag_id, parsed in bag.dags.items():
    dag = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(parsed))))
    for task in dag.task_dict.values():
        pod = PodGenerator.construct_pod(
            dag_id=dag_id,
            task_id=task.task_id,
            pod_id="worker",
            try_number=1,
            kube_image=template.spec.containers[0].image,
            date=None,
            args=["run"],
            pod_override_object=PodGenerator.from_obj(getattr(task, "executor_config", None)),
            base_worker_pod=template,
            namespace="podium",
            scheduler_job_id="1",
            run_id="manual",
        )
        built = ApiClient().sanitize_for_serialization(pod)
        pods[f"{dag_id}.{task.task_id}"] = {"queue": task.queue, "pod": built}
print(json.dumps({"pods": pods, "import_errors": bag.import_errors}))
