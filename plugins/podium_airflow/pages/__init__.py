"""The pages "Models" and "Model", which Airflow shows in frames of its own."""
