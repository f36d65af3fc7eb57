"""The metrics, once for each collector registry: making one twice is an error there."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram

__all__ = ["Metrics", "metrics_in"]

# A beat of a healthy backend takes a millisecond, and a call that fails up to three seconds.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_lock = threading.Lock()
_made: weakref.WeakKeyDictionary[CollectorRegistry, Metrics] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Metrics:
    """The four metrics of one collector registry."""

    registrations: Gauge
    calls: Histogram
    instances: Gauge
    stale: Gauge


def metrics_in(registry: CollectorRegistry) -> Metrics:
    """Return the metrics of a collector registry, made the first time and shared afterwards."""
    with _lock:
        metrics = _made.get(registry)
        if metrics is None:
            metrics = _made[registry] = _make(registry)
        return metrics


def _make(registry: CollectorRegistry) -> Metrics:
    return Metrics(
        registrations=Gauge(
            "enlist_registrations",
            "Registrations of this process by state.",
            ["registry", "service", "state"],
            registry=registry,
        ),
        calls=Histogram(
            "enlist_calls_seconds",
            "Seconds that calls to the registry's backend took.",
            ["call", "outcome"],
            buckets=_SECONDS,
            registry=registry,
        ),
        instances=Gauge(
            "enlist_instances",
            "Instances of a watched service that are known.",
            ["registry", "service"],
            registry=registry,
        ),
        stale=Gauge(
            "enlist_view_stale",
            "1 while what is known of a watched service may be out of date.",
            ["registry", "service"],
            registry=registry,
        ),
    )
