"""How a lifecycle run comes out."""

from enum import StrEnum


class Outcome(StrEnum):
    """What the ledger says of a run that has ended; the ids of the tasks that show it in Airflow's grid."""

    PROMOTE = "promote"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    VOIDED = "voided"
    REFUSED_BY_GATES = "refused_by_gates"
    NOTHING_TO_PROMOTE = "nothing_to_promote"
