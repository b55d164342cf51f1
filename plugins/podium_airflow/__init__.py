"""What Airflow needs to know of Podium: the approval sensor, assets, and how outcomes end a task."""
