"""What monitoring has on record, as metrics that Prometheus reads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from podium.ledger.events import Event, EventKind
from podium.ledger.store import Ledger
from podium.metrics.windows import Window
from podium.monitoring.on_record import RecordedWindow, judged_in, newest_window
from podium.monitoring.verdicts import Said

_KINDS = (EventKind.WINDOWS_JUDGED, EventKind.RETRAIN_WANTED)
_OF_VERSION = ("model", "version")


class OnRecord(Collector):
    """Reads the ledger each time that it is asked.

    Args:
        ledger: The record.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the metrics of all models that are monitored.

        Raises:
            Outage: The ledger did not answer: no metric is better than an old one.
        """
        windows = GaugeMetricFamily(
            "podium_monitored_windows", "Windows on record by their newest verdict.", labels=("model", "said")
        )
        wanted = CounterMetricFamily(
            "podium_retrainings_wanted", "Trainings that monitoring asked for.", labels=("model",)
        )
        verdict = GaugeMetricFamily(
            "podium_monitored_verdict", "1: what the newest window says.", labels=(*_OF_VERSION, "said")
        )
        end = GaugeMetricFamily(
            "podium_monitored_window_end_timestamp_seconds",
            "When the newest judged window ended.",
            labels=_OF_VERSION,
        )
        risk = GaugeMetricFamily(
            "podium_monitored_risk", "Mean loss in the newest window.", labels=_OF_VERSION
        )
        bound = GaugeMetricFamily(
            "podium_monitored_risk_tolerated", "Mean loss that is tolerated.", labels=_OF_VERSION
        )
        for model in self._ledger.models():
            events = self._ledger.history(model, kinds=_KINDS)
            newest = newest_window(self._ledger, events)
            if newest is None:
                continue
            for said, number in _verdicts(events).items():
                windows.add_metric((model, said), number)
            wanted.add_metric((model,), sum(event.event is EventKind.RETRAIN_WANTED for event in events))
            of = (model, str(newest.version))
            for said in Said:
                verdict.add_metric((*of, said), float(said is newest.worst.said))
            end.add_metric(of, newest.window.end.timestamp())
            _add_risk(risk, bound, of, newest)
        yield from (windows, wanted, verdict, end, risk, bound)


def metrics_text(ledger: Ledger) -> str:
    """Return the metrics in Prometheus' text format.

    Raises:
        Outage: The ledger did not answer.
    """
    return generate_latest(registry_of(ledger)).decode()


def registry_of(ledger: Ledger) -> CollectorRegistry:
    """Return a registry of these metrics alone, which reads the ledger at each scrape."""
    registry = CollectorRegistry()
    registry.register(OnRecord(ledger))
    return registry


def _verdicts(events: Iterable[Event]) -> Counter[str]:
    """Count the windows of all versions by what was said of each last."""
    said: dict[tuple[int, Window], str] = {}
    for event in events:
        said |= {(int(event.version or 0), window): word for window, _, word in judged_in(event)}
    return Counter(said.values())


def _add_risk(
    risk: GaugeMetricFamily, bound: GaugeMetricFamily, of: tuple[str, str], newest: RecordedWindow
) -> None:
    if newest.risk is not None:
        risk.add_metric(of, newest.risk)
    if math.isfinite(newest.tolerated):
        bound.add_metric(of, newest.tolerated)
