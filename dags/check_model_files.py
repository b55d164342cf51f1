"""Reports every wrong model file as an Airflow import error: file, key, value and what is allowed.

It makes no Dag. It is a file of its own, because an import error stops all Dags of its file: here it stops no
other model.
"""

from podium.model_file.loading import load_specs
from podium.settings import models_dir

if wrong_files := load_specs(models_dir())[1]:
    raise ExceptionGroup("Model files with errors; their Dags are missing until this is fixed", wrong_files)
