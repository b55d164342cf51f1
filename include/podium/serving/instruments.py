"""What Prometheus may ask of a model server. With several processes, what they count is added up."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("podium_requests", "Requests answered.", ["model", "route", "status"])
SECONDS = Histogram(
    "podium_request_seconds",
    "Seconds from the complete body of a request to its answer.",
    ["model"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
ROWS = Counter("podium_rows", "Rows answered.", ["model", "version"])
JOINED = Histogram(
    "podium_joined_requests",
    "Number of requests that one prediction answered together.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
VERSION = Gauge(
    "podium_version", "The version that serves.", ["model", "follows"], multiprocess_mode="mostrecent"
)
ANSWERED_AT = Gauge(
    "podium_registry_asked_timestamp_seconds",
    "Time of the last answer of the registry, as a Unix timestamp.",
    ["model", "follows"],
    multiprocess_mode="mostrecent",
)
EXPECTED_VERSION = Gauge(
    "podium_serving_expected_version",
    "1: the server serves the version of its alias. 0: it serves another or none; /version has the reason.",
    ["model", "follows"],
    multiprocess_mode="livemin",
)
SWAPS = Counter("podium_swaps", "Swaps to another version.", ["model", "follows"])
REFUSALS = Counter(
    "podium_refused_versions", "Versions that the server refused to serve.", ["model", "follows"]
)
SHADOWED = Counter(
    "podium_shadow_rows",
    "Rows that were copied to the shadow, or in a watch window or ramp to the version beside, by outcome.",
    ["model", "outcome"],
)
FALLBACKS = Counter(
    "podium_canary_fallbacks",
    "Requests that the champion answered because the candidate, or the version on its ramp, could not.",
    ["model"],
)
ROWS_TO_STORE = Counter("podium_kept_rows", "Rows with answers to store, by outcome.", ["model", "outcome"])
