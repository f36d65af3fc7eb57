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


def registrations(collector: CollectorRegistry, url: str, state: str) -> float | None:
    labels = {"registry": url, "service": "echo", "state": state}
    return value(collector, "enlist_registrations", **labels)


def known(collector: CollectorRegistry, url: str) -> float | None:
    return value(collector, "enlist_instances", registry=url, service="echo")


def value(collector: CollectorRegistry, name: str, **labels: str) -> float | None:
    return collector.get_sample_value(name, labels)


def test_counts_registrations_by_state(url: str, collector: CollectorRegistry) -> None:
    """One that is enlisted counts there; one that has left counts nowhere."""
    extension = PrometheusExtension(collector)
    with open_registry(url, extensions=[extension]) as registry:
        registry.register(ECHO)
        assert registrations(collector, url, "enlisted") == 1
        registry.deregister(ECHO)

    for state in ("enlisted", "leaving"):
        assert registrations(collector, url, state) == 0


def test_tells_registries_apart(url: str, collector: CollectorRegistry) -> None:
    """What one object hears of one registry hides nothing that it heard of another."""
    extension = PrometheusExtension(collector)
    urls = (url, f"{url}-other")
    with (
        open_registry(urls[0], extensions=[extension]) as one,
        open_registry(urls[1], extensions=[extension]) as two,
        one.resolver("echo") as left,
        two.resolver("echo") as kept,
    ):
        one.register(ECHO)
        two.register(ECHO)
        left.wait_for(1)
        kept.wait_for(1)
        one.deregister(ECHO)

        assert [registrations(collector, url, "enlisted") for url in urls] == [0, 1]
        eventually(
            lambda: [known(collector, url) for url in urls] == [0, 1],
            why="both views were told",
        )


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
            lambda: known(collector, url) == 1,
            within_s=10,
            why="the view was told",
        )
        assert value(collector, "enlist_view_stale", registry=url, service="echo") == 0


def test_is_found_by_its_name(url: str) -> None:
    """Installing it is all that it takes; two registries share the metrics of the process."""
    with (
        open_registry(url, extensions=["prometheus"]) as one,
        open_registry(url, extensions=["prometheus"]) as two,
    ):
        one.register(ECHO)
        assert two.resolve("echo") == (ECHO,)
