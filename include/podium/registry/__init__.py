"""MLflow's model registry: versions, aliases, tags and files. No other room talks to it."""
