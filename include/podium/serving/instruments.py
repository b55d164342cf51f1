"""What Prometheus may ask of a model server. With several processes, what they count is added up."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("podium_requests", "Requests answered.", ["model", "route", "status"])
SECONDS = Histogram(
    "podium_request_seconds",
    "Time from the whole body of a request to its answer.",
    ["model"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
ROWS = Counter("podium_rows", "Rows answered.", ["model", "version"])
JOINED = Histogram(
    "podium_joined_requests",
    "Requests that were answered by one prediction together.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
VERSION = Gauge(
    "podium_version", "The version that serves.", ["model", "follows"], multiprocess_mode="mostrecent"
)
ASKED_AT = Gauge(
    "podium_registry_asked_timestamp_seconds",
    "When the registry last said which version should serve.",
    ["model", "follows"],
    multiprocess_mode="mostrecent",
)
AS_IT_SHOULD = Gauge(
    "podium_serves_what_it_should",
    "1: the version that the alias points to serves. 0: it does not; /version says why.",
    ["model", "follows"],
    multiprocess_mode="livemin",
)
SWAPS = Counter("podium_swaps", "Versions that took over.", ["model", "follows"])
REFUSALS = Counter(
    "podium_refused_versions", "Versions that should have served and were refused.", ["model", "follows"]
)
SHADOWED = Counter(
    "podium_shadow_rows", "Rows that went to the shadow too, by what came of it.", ["model", "outcome"]
)
FALLBACKS = Counter(
    "podium_canary_fallbacks",
    "Requests that the candidate could not answer, so that the version that serves did.",
    ["model"],
)
KEPT = Counter(
    "podium_kept_rows", "Rows whose answers were to be stored, by what came of it.", ["model", "outcome"]
)
