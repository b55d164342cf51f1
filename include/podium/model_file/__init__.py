"""The YAML that a user writes: grammar, types, loading, errors. Light to import: no pandas, no MLflow."""
