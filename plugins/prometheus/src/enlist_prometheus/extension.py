"""The extension: it wraps the calls to the backend and hears of every change."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from typing import Any, Final, TypeAlias

from prometheus_client import REGISTRY, CollectorRegistry

from enlist import Identity, Info, RegistryError, hookimpl
from enlist_prometheus.metrics import Metrics, metrics_in

__all__ = ["PrometheusExtension"]

_Wrapper: TypeAlias = Generator[None, Any, Any]
_LEFT: Final = "left"


class PrometheusExtension:
    """Counts and times for Prometheus. One object may serve several registries and threads."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Use the metrics of a collector registry, which are made the first time.

        Args:
            registry: where the metrics are exposed from; the process's own by default.
        """
        self._metrics: Metrics = metrics_in(registry)
        self._lock = threading.Lock()
        self._states: dict[tuple[str, Identity], str] = {}

    # --- what changes ------------------------------------------------------------------------

    @hookimpl
    def registration_changed(self, info: Info, state: str, registry: str) -> None:
        """Move one registration from the state that it had to the one that it has."""
        key = registry, info.identity
        with self._lock:
            before = self._states.pop(key, None)
            if state != _LEFT:
                self._states[key] = state
        if before is not None:
            self._metrics.registrations.labels(registry, info.service_name, before).dec()
        if state != _LEFT:
            self._metrics.registrations.labels(registry, info.service_name, state).inc()

    @hookimpl
    def instances_changed(
        self,
        service_name: str,
        instances: Sequence[Info],
        stale: bool,  # noqa: FBT001 - the hook's own signature
        registry: str,
    ) -> None:
        """Note how many instances are known, and whether that may be out of date."""
        self._metrics.instances.labels(registry, service_name).set(len(instances))
        self._metrics.stale.labels(registry, service_name).set(int(stale))

    # --- what takes time ---------------------------------------------------------------------

    @hookimpl(wrapper=True)
    def register(self) -> _Wrapper:
        """Time an explicit registration."""
        return (yield from self._timed("register"))

    @hookimpl(wrapper=True)
    def deregister(self) -> _Wrapper:
        """Time a removal."""
        return (yield from self._timed("deregister"))

    @hookimpl(wrapper=True)
    def keep_alive(self) -> _Wrapper:
        """Time a sign of life."""
        return (yield from self._timed("keep_alive"))

    @hookimpl(wrapper=True)
    def restore(self) -> _Wrapper:
        """Time a repair."""
        return (yield from self._timed("restore"))

    @hookimpl(wrapper=True)
    def resolve(self) -> _Wrapper:
        """Time a look at the instances."""
        return (yield from self._timed("resolve"))

    def _timed(self, call: str) -> _Wrapper:
        start = time.perf_counter()
        outcome = "ok"
        try:
            return (yield)
        except RegistryError as exc:
            outcome = type(exc).__name__
            raise
        except BaseException:
            outcome = "bug"
            raise
        finally:
            self._metrics.calls.labels(call, outcome).observe(time.perf_counter() - start)
