"""The names of the parts, in the order in which they start."""

from enum import StrEnum


class Part(StrEnum):
    """One program of the embedded stack."""

    POSTGRES = "postgres"
    S3 = "s3"
    MLFLOW = "mlflow"
    API_SERVER = "api-server"
    SCHEDULER = "scheduler"
    DAG_PROCESSOR = "dag-processor"
    TRIGGERER = "triggerer"


ALL_PARTS: frozenset[Part] = frozenset(Part)
AIRFLOW_PARTS: frozenset[Part] = frozenset(
    {Part.API_SERVER, Part.SCHEDULER, Part.DAG_PROCESSOR, Part.TRIGGERER}
)
# The stores stop last: everything else still writes to them while it stops.
STORE_PARTS: frozenset[Part] = frozenset({Part.POSTGRES, Part.S3})


def with_needs(parts: frozenset[Part]) -> frozenset[Part]:
    """Return `parts` and every part that these need to run."""
    needed = set(parts)
    if needed & AIRFLOW_PARTS:
        needed |= AIRFLOW_PARTS | {Part.POSTGRES}
    if Part.MLFLOW in needed:
        needed |= STORE_PARTS
    return frozenset(needed)
