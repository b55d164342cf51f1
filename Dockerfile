# Two images: `airflow`, of every Airflow part and of MLflow, and `serving`, of the model server, without Airflow.
# Both install exactly what the lock files name, which the tests run.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.11
ARG SERVING_IMAGE=debian:bookworm-slim

FROM ${SERVING_IMAGE} AS serving-libraries
# Debian keeps one version of a package at a time: a pinned one is gone with its next security fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/serving
# More files, each after -r, for models that need more (docs/containers.md).
ARG SERVING_REQUIREMENTS=requirements-serving.txt
WORKDIR /opt/requirements
COPY requirements-serving.txt requirements-boost.txt requirements-delta.txt requirements-keras.txt requirements-onnx.txt requirements-statsmodels.txt ./
RUN /opt/serving/bin/pip install --no-cache-dir --require-hashes -r ${SERVING_REQUIREMENTS} \
    && /opt/serving/bin/pip uninstall -y pip setuptools

FROM ${SERVING_IMAGE} AS serving
# libgomp1: what scikit-learn and the boosters compute with.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home podium
COPY --from=serving-libraries /opt/serving /opt/serving
COPY include/podium /opt/podium/podium
COPY deploy/podium /usr/local/bin/podium
ENV PATH=/opt/serving/bin:$PATH \
    PYTHONPATH=/opt/podium \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001
WORKDIR /home/podium
EXPOSE 8000
# Inside a container the network is its own: what is published of it, and to whom, the container's options say.
ENTRYPOINT ["podium", "serve", "--host", "0.0.0.0"]

FROM ${AIRFLOW_IMAGE} AS airflow
# libgomp1: what LightGBM computes with; the slim image of Airflow leaves it out.
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
USER 50000
# The lock files first: a changed model or Dag does not install anything anew.
# More files, each after -r, for models that need more (docs/containers.md).
ARG AIRFLOW_REQUIREMENTS=requirements.txt
WORKDIR /opt/airflow
COPY --chown=airflow:0 requirements.txt requirements-boost.txt requirements-delta.txt requirements-keras.txt requirements-onnx.txt requirements-statsmodels.txt ./
RUN uv pip install --no-cache --require-hashes --compile-bytecode -r ${AIRFLOW_REQUIREMENTS}

COPY --chown=airflow:0 include include
COPY --chown=airflow:0 plugins plugins
COPY --chown=airflow:0 dags dags
COPY --chown=airflow:0 qa qa
COPY --chown=airflow:0 docs/runbook.md docs/runbook.md
COPY deploy/podium /usr/local/bin/podium
ENV PYTHONPATH=/opt/airflow/include:/opt/airflow/plugins \
    MLFLOW_DISABLE_TELEMETRY=true
RUN python -m compileall -q include plugins
# Last: it changes with every commit.
ARG GIT_COMMIT=unknown
ENV PODIUM_GIT_COMMIT=${GIT_COMMIT}
