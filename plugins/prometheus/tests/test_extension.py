"""What Prometheus sees of a registry, on `local`."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from enlist import Info, UnavailableError, hookimpl, open_registry
from enlist.local import LocalOptions, LocalRegistry
from enlist_prometheus import PrometheusExtension
from tests.waiting import eventually

ECHO = Info(service_name="echo", addr="10.0.0.1:80")


@pytest.fixture
def collector() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"local:{tmp_path / 'registry'}"


def value(collector: CollectorRegistry, name: str, **labels: str) -> float | None:
    return collector.get_sample_value(name, labels)


def test_counts_registrations_by_state(url: str, collector: CollectorRegistry) -> None:
    """One that is enlisted counts there; one that has left counts nowhere."""
    extension = PrometheusExtension(collector)
    with open_registry(url, extensions=[extension]) as registry:
        registry.register(ECHO)
        assert value(collector, "enlist_registrations", service="echo", state="enlisted") == 1
        registry.deregister(ECHO)

    for state in ("enlisted", "leaving"):
        assert value(collector, "enlist_registrations", service="echo", state=state) == 0


def test_times_calls_by_outcome(url: str, collector: CollectorRegistry) -> None:
    """A call that fails is counted under the name of its error."""

    class Failing(LocalRegistry):
        spec_version = 1
        Options = LocalOptions

        @hookimpl
        def deregister(self, info: Info, timeout_s: float) -> None:
            raise UnavailableError("refused")

    path = Path(url.removeprefix("local:"))
    with open_registry(Failing, path=path, extensions=[PrometheusExtension(collector)]) as registry:
        registry.register(ECHO)
        with pytest.raises(UnavailableError):
            registry.deregister(ECHO)

    count = "enlist_calls_seconds_count"
    assert value(collector, count, call="register", outcome="ok") == 1
    assert (value(collector, count, call="deregister", outcome="UnavailableError") or 0) >= 1


def test_shows_what_is_known_of_a_watched_service(url: str, collector: CollectorRegistry) -> None:
    """How many, and whether that may be out of date."""
    with (
        open_registry(url, extensions=[PrometheusExtension(collector)]) as registry,
        registry.resolver("echo") as resolver,
    ):
        registry.register(ECHO)
        resolver.wait_for(1)
        eventually(
            lambda: value(collector, "enlist_instances", service="echo") == 1,
            within_s=10,
            why="the view was told",
        )
        assert value(collector, "enlist_view_stale", service="echo") == 0


def test_is_found_by_its_name(url: str) -> None:
    """Installing it is all that it takes; two registries share the metrics of the process."""
    with (
        open_registry(url, extensions=["prometheus"]) as one,
        open_registry(url, extensions=["prometheus"]) as two,
    ):
        one.register(ECHO)
        assert two.resolve("echo") == (ECHO,)
