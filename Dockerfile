# The image of every Airflow part and of MLflow: exactly what requirements.txt locks, which the tests run.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.11
FROM ${AIRFLOW_IMAGE}

COPY --chown=airflow:0 requirements.txt /opt/airflow/requirements.txt
RUN uv pip install --no-cache --require-hashes --compile-bytecode -r /opt/airflow/requirements.txt

COPY --chown=airflow:0 include /opt/airflow/include
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 qa /opt/airflow/qa

ARG GIT_COMMIT=unknown
ENV PYTHONPATH=/opt/airflow/include:/opt/airflow/plugins \
    PODIUM_GIT_COMMIT=${GIT_COMMIT} \
    MLFLOW_DISABLE_TELEMETRY=true
