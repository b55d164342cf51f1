"""Start the stack's executor in a process, kill that, and print whether its workers ended, as JSON."""

import json
import os
import signal
from unittest.mock import patch

import psutil
from airflow.executors.executor_loader import ExecutorLoader

from podium_airflow import executor

SECONDS = 60


def be_the_scheduler(told: int) -> None:
    """Start two workers, name them, and wait."""
    made = ExecutorLoader.import_default_executor_cls()[0](parallelism=2)
    made.start()
    os.write(told, json.dumps(list(made.workers)).encode())
    signal.pause()


reader, writer = os.pipe()
with patch.object(executor, "load_libraries"), patch.object(executor, "_LOOK_SECONDS", 0.1):
    scheduler = os.fork()
    if scheduler == 0:
        be_the_scheduler(writer)
workers = [psutil.Process(pid) for pid in json.loads(os.read(reader, 65536))]
idle, _ = psutil.wait_procs(workers, timeout=2)
os.kill(scheduler, signal.SIGKILL)
os.waitpid(scheduler, 0)
_, left = psutil.wait_procs(workers, timeout=SECONDS)
for worker in left:
    worker.kill()
print(json.dumps({"workers": len(workers), "ended_before": len(idle), "left": len(left)}))
