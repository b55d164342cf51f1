# Two images: `airflow`, of every Airflow part and of MLflow, and `serving`, of the model server, without Airflow.
# Both install exactly what the lock files name, which the tests run.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.11
ARG SERVING_IMAGE=debian:bookworm-slim

FROM ${SERVING_IMAGE} AS serving-libraries
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/serving
# More files, each after -r, for models that need more: --build-arg REQUIREMENTS="requirements-serving.txt -r requirements-boost.txt"
ARG REQUIREMENTS=requirements-serving.txt
COPY requirements-serving.txt requirements-boost.txt /tmp/
RUN cd /tmp \
    && /opt/serving/bin/pip install --no-cache-dir --require-hashes -r ${REQUIREMENTS} \
    && /opt/serving/bin/pip uninstall -y pip setuptools

FROM ${SERVING_IMAGE} AS serving
# libgomp1: what scikit-learn and the boosters compute with.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home podium
COPY --from=serving-libraries /opt/serving /opt/serving
COPY include/podium /opt/podium/podium
ENV PATH=/opt/serving/bin:$PATH \
    PYTHONPATH=/opt/podium \
    MLFLOW_DISABLE_TELEMETRY=true
USER podium
WORKDIR /home/podium
EXPOSE 8000
# Inside a container the network is its own: what is published of it, and to whom, the container's options say.
ENTRYPOINT ["python3", "-m", "podium", "serve", "--host", "0.0.0.0"]

FROM ${AIRFLOW_IMAGE} AS airflow

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
