"""A process at its limit of threads: told what to do, nothing half done, and well afterwards."""

import asyncio
import datetime as dt
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.tests.scripted_source import A, Watching
from enlist import Info, Registry, UnavailableError, hookimpl, open_registry
from enlist.aio import open_registry as aopen_registry
from enlist.local import LocalOptions
from enlist.local.plugin import LocalRegistry
from tests.waiting import eventually

ECHO = Info(service_name="echo", addr="10.0.0.1:80")
TOLD = r"no thread could be started \(can't start new thread\); .* raise its limit"


class Limit:
    """Keeps threads whose name begins so from being started, as the system does."""

    def __init__(self) -> None:
        self.names: str | None = None
        self.refused = threading.Event()


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    limit, start = Limit(), threading.Thread.start

    def limited(self: threading.Thread) -> None:
        if limit.names is not None and self.name.startswith(limit.names):
            limit.refused.set()
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return limit


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"local:{tmp_path / 'registry'}"


@pytest.mark.parametrize(
    "call",
    [
        lambda registry: registry.register(ECHO),
        lambda registry: registry.register_all([ECHO]),
    ],
    ids=["register", "register_all"],
)
def test_nothing_is_registered_that_nobody_could_keep(
    call: Callable[[Registry], None], url: str, limit: Limit
) -> None:
    """Without the keeper's thread the call fails before it writes; with it the next succeeds."""
    with open_registry(url) as registry:
        limit.names = "enlist-keeper"
        with pytest.raises(UnavailableError, match=TOLD):
            call(registry)
        assert registry.status() == ()
        assert registry.resolve("echo") == ()

        limit.names = None
        call(registry)
        assert registry.resolve("echo") == (ECHO,)


def test_nothing_is_opened_where_there_is_no_thread_at_all(url: str, limit: Limit) -> None:
    """A limit is no interpreter without threads, and is told as what it is."""
    limit.names = ""
    with pytest.raises(UnavailableError, match=TOLD):
        open_registry(url)


def test_nothing_is_left_to_keep_after_a_removal(url: str, limit: Limit) -> None:
    """Deregistering what is not there needs no keeper."""
    with open_registry(url) as registry:
        limit.names = "enlist-keeper"
        registry.deregister(ECHO)


def test_a_call_that_got_no_thread_is_not_made_later(url: str, limit: Limit) -> None:
    """The executor of asyncio's twin keeps in its queue what it could not begin."""

    async def story() -> None:
        async with aopen_registry(url) as registry:
            limit.names = "enlist-aio"
            with pytest.raises(UnavailableError, match=TOLD):
                await registry.register(ECHO)
            limit.names = None
            assert await registry.resolve("echo") == ()
            assert registry.status() == ()
            await registry.register(ECHO)

    asyncio.run(story())


@pytest.mark.parametrize("names", ["enlist-keeper", "enlist-watch"])
def test_nothing_is_watched_that_cannot_be(names: str, url: str, limit: Limit) -> None:
    """The call fails and leaves no share of a watch behind; the next one succeeds."""
    with open_registry(url) as registry:
        limit.names = names
        with pytest.raises(UnavailableError, match=TOLD):
            registry.resolver("echo")
        assert not _threads("enlist-watch")

        limit.names = None
        with registry.resolver("echo") as resolver:
            resolver.wait_for(0)
        assert not _threads("enlist-watch")


def test_closes_the_plugin_after_a_thread_could_not_start(
    url: str, limit: Limit, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no thread to wait for."""
    registry = open_registry(Closing, path=Path(url.removeprefix("local:")))
    limit.names = "enlist-keeper"
    with pytest.raises(UnavailableError):
        registry.register(ECHO)

    Closing.closed.clear()
    registry.close()

    assert Closing.closed.is_set()
    assert not caplog.records


class Closing(LocalRegistry):
    """`local`, which tells when it is closed."""

    spec_version = 1
    Options = LocalOptions
    closed = threading.Event()

    @hookimpl
    def close(self, timeout_s: float) -> None:
        super().close(timeout_s)
        self.closed.set()


def test_closes_the_plugin_whatever_fails_before(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in one part keeps no other from letting go."""
    registry = open_registry(Closing, path=Path(url.removeprefix("local:")))
    registry.register(ECHO)
    session = registry._session()

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(session.watches, "close", fail)
    Closing.closed.clear()
    with pytest.raises(ZeroDivisionError):
        registry.close()

    assert Closing.closed.is_set()
    assert not _threads("enlist-keeper")


def test_local_is_watched_once_it_can_be(url: str, limit: Limit) -> None:
    """A watch whose thread could not start fails, and the next try begins another."""
    limit.names = "enlist-local-watch"
    with open_registry(url) as registry, registry.resolver("echo") as resolver:
        registry.register(ECHO)
        assert limit.refused.wait(10.0)
        eventually(lambda: resolver.last_error, why="the failure is told")
        assert isinstance(resolver.last_error, UnavailableError)
        assert "cannot be watched now: can't start new thread" in str(resolver.last_error)

        limit.names = None
        assert resolver.wait_for(1, dt.timedelta(seconds=30)) == (ECHO,)


def test_callbacks_that_got_no_thread_are_called_with_the_next_change(
    limit: Limit, caplog: pytest.LogCaptureFixture
) -> None:
    """The keeper, in whose round that happens, goes on."""
    told: list[bool] = []
    world = Watching(lambda _name, _infos, stale: told.append(stale))
    world.watches.open("echo")
    world.source.opened(1).list(A)
    eventually(lambda: told == [False], why="the first list is told")

    limit.names = "enlist-watch-callbacks"
    with caplog.at_level(logging.WARNING):
        world.watches.backend_failed(UnavailableError("connection refused"))
    assert "callbacks for changes wait: no thread could be started" in caplog.text

    limit.names = None
    world.watches.tick()
    eventually(lambda: told == [False, True], why="the outage is told")
    world.watches.close()


def _threads(name: str) -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(name)]
