"""Postgres, S3, MLflow and Airflow on one machine without Docker, for `make up`, `make demo` and tests."""
