"""The asyncio twins on a real registry: same results, and no ghost after a cancellation."""

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.tests.scripted_source import unheard_resolver
from enlist import (
    ClosedError,
    Info,
    InvalidInfoError,
    Registry,
    Resolver,
    TimedOutError,
    hookimpl,
    open_registry,
)
from enlist.aio import AsyncRegistry, AsyncResolver
from enlist.aio import open_registry as aopen_registry
from enlist.local import LocalOptions, LocalRegistry

ECHO = Info(service_name="echo", addr="10.0.0.1:80", tags={"zone": "a"})
OTHER = Info(service_name="echo", addr="10.0.0.2:80")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"local:{tmp_path / 'registry'}"


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait without blocking the loop."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run with the loop's own checks."""
    asyncio.run(story, debug=True)


def test_does_what_its_twin_does(url: str) -> None:
    """Register, update, find, list, probe, deregister."""

    async def story() -> None:
        async with aopen_registry(url) as registry:
            await registry.register(ECHO)
            await registry.register_all([OTHER])
            updated = await registry.update(ECHO, weight=3)
            assert set(await registry.resolve("echo")) == {updated, OTHER}
            assert await registry.services() == ("echo",)
            await registry.probe()
            assert len(registry.status()) == 2
            assert registry.readiness()
            assert registry.name == url
            await registry.deregister(ECHO)
            assert await registry.resolve("echo") == (OTHER,)

    run(story())


def test_follows_a_service(url: str) -> None:
    """Snapshots come one after another; a pick waits only for the first list."""

    async def story() -> None:
        async with aopen_registry(url) as registry, registry.resolver("echo") as resolver:
            await registry.register(ECHO)
            assert await resolver.wait_for(1) == (ECHO,)
            assert await resolver.pick() == ECHO
            assert resolver.instances == (ECHO,)
            assert not resolver.stale
            seen = []
            async for snapshot in resolver:
                seen.append(snapshot.instances)
                if snapshot.instances == (ECHO,):
                    await registry.deregister(ECHO)
                elif not snapshot.instances:
                    break
            assert seen == [(ECHO,), ()]

    run(story())


def test_picks_before_the_first_list_has_come(url: str) -> None:
    """Without blocking the loop."""

    async def story() -> None:
        async with aopen_registry(url) as registry:
            await registry.register(ECHO)
            async with registry.resolver("echo") as resolver:
                assert await resolver.pick() == ECHO

    run(story())


def test_picks_end_when_the_resolver_is_closed() -> None:
    """Whoever waits for the first list is told so at once."""

    async def story() -> None:
        with unheard_resolver() as (blocking, _):
            async with AsyncResolver(blocking) as resolver:
                picking = asyncio.create_task(resolver.pick())
                await asyncio.sleep(0)
            with pytest.raises(ClosedError, match="resolver of 'echo' was closed"):
                await asyncio.wait_for(picking, 10)

    run(story())


def test_ends_iterations_when_it_is_closed(url: str) -> None:
    """Closing the registry ends what follows it."""

    async def story() -> None:
        registry = aopen_registry(url)
        resolver = registry.resolver("echo")

        async def follow() -> int:
            return len([snapshot async for snapshot in resolver])

        following = asyncio.create_task(follow())
        await asyncio.sleep(0)  # it begins, which nobody can any more after the end
        await registry.close()
        assert await asyncio.wait_for(following, 10) >= 1

    run(story())


def test_passes_errors_on(url: str) -> None:
    """They are the twins' own."""

    async def story() -> None:
        async with aopen_registry(url) as registry, registry.resolver("echo") as resolver:
            with pytest.raises(TimedOutError):
                await resolver.wait_for(1, dt.timedelta(seconds=0.05))

    run(story())


class Slow(LocalRegistry):
    """`local`, whose writes wait until the test lets them go on."""

    spec_version = 1
    Options = LocalOptions
    begun = threading.Event()
    go_on = threading.Event()

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        self.begun.set()
        self.go_on.wait(10)
        super().register(info, timeout_s)


@pytest.fixture
def slow() -> type[Slow]:
    Slow.begun.clear()
    Slow.go_on.clear()
    return Slow


async def cancelled_while_it_writes(call: Coroutine[Any, Any, object]) -> None:
    """Cancel the call when its write has begun, then let the write go on."""
    await begun_and_cancelled(call)
    Slow.go_on.set()


async def begun_and_cancelled(call: Coroutine[Any, Any, object]) -> None:
    """Cancel the call when its write has begun; the write waits on."""
    Slow.begun.clear()
    Slow.go_on.clear()
    task = asyncio.create_task(call)
    await until(Slow.begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancelled_registration_leaves_no_ghost(url: str, slow: type[Slow]) -> None:
    """What its thread wrote after the cancellation is removed again."""

    async def story(client: Registry) -> None:
        path = Path(url.removeprefix("local:"))
        async with aopen_registry(slow, path=path) as registry:
            await cancelled_while_it_writes(registry.register(ECHO))
            await until(lambda: registry.status() == ())
            assert client.resolve("echo") == ()

    with open_registry(url) as client:
        run(story(client))


def test_a_cancelled_update_leaves_what_was_registered(url: str, slow: type[Slow]) -> None:
    """A server does not fall out of its registry because nobody waited for a change."""

    async def story(client: Registry) -> None:
        path = Path(url.removeprefix("local:"))
        async with aopen_registry(slow, path=path) as registry:
            slow.go_on.set()
            await registry.register(ECHO)
            await cancelled_while_it_writes(registry.update(ECHO, weight=99))
            await until(lambda: [status.info for status in registry.status()] == [ECHO])
            await until(lambda: client.resolve("echo") == (ECHO,))

    with open_registry(url) as client:
        run(story(client))


def test_registering_again_after_a_cancellation_stays(url: str, slow: type[Slow]) -> None:
    """A retry after a timeout of the caller's own is not undone by what it retries."""

    async def story(client: Registry) -> None:
        path = Path(url.removeprefix("local:"))
        async with aopen_registry(slow, path=path) as registry:
            task = asyncio.create_task(registry.register(ECHO))
            await until(Slow.begun.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            again = asyncio.create_task(registry.register(ECHO))
            await asyncio.sleep(0)
            Slow.go_on.set()
            await again
            await registry.deregister(OTHER)  # whatever was queued before is done
            assert [status.info for status in registry.status()] == [ECHO]
            assert client.resolve("echo") == (ECHO,)

    with open_registry(url) as client:
        run(story(client))


def test_deregistering_after_a_cancelled_update_stays(url: str, slow: type[Slow]) -> None:
    """What undoes the update does not register again what was removed meanwhile."""

    async def story(client: Registry) -> None:
        path = Path(url.removeprefix("local:"))
        async with aopen_registry(slow, path=path) as registry:
            slow.go_on.set()
            await registry.register(ECHO)
            await cancelled_while_it_writes(registry.update(ECHO, weight=99))
            await registry.deregister(ECHO)
            assert registry.status() == ()
            assert client.resolve("echo") == ()

    with open_registry(url) as client:
        run(story(client))


def test_waiting_for_what_was_cancelled_has_an_end(url: str, slow: type[Slow]) -> None:
    """The next call takes no longer than it may, and says what held it up."""

    async def story() -> None:
        path = Path(url.removeprefix("local:"))
        async with aopen_registry(slow, path=path) as registry:
            task = asyncio.create_task(registry.register(ECHO))
            await until(Slow.begun.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(TimedOutError, match="was cancelled, and is not undone yet after"):
                await registry.register(ECHO, timeout=dt.timedelta(milliseconds=20))
            Slow.go_on.set()
            await until(lambda: registry.status() == ())

    run(story())


@pytest.mark.parametrize("late", [False, True], ids=["cancelled", "timed out"])
def test_a_removal_that_nobody_waits_for_is_made_all_the_same(
    url: str, slow: type[Slow], *, late: bool
) -> None:
    """It follows what undoes an earlier call, although its own coroutine has ended before."""

    async def story(client: Registry) -> None:
        path = Path(url.removeprefix("local:"))
        async with aopen_registry(slow, path=path) as registry:
            slow.go_on.set()
            await registry.register(ECHO)
            await begun_and_cancelled(registry.update(ECHO, weight=99))
            timeout = dt.timedelta(milliseconds=20) if late else None
            removing = asyncio.create_task(registry.deregister(ECHO, timeout=timeout))
            await asyncio.sleep(0)
            if not late:
                removing.cancel()
            with pytest.raises(TimedOutError if late else asyncio.CancelledError):
                await removing
            slow.go_on.set()
            await until(lambda: client.resolve("echo") == ())
            await registry.register(OTHER)  # whatever was queued before is done
            assert client.resolve("echo") == (OTHER,)

    with open_registry(url) as client:
        run(story(client))


def test_registering_after_a_cancelled_removal_stays(url: str, slow: type[Slow]) -> None:
    """The removal that goes on does not take away what was registered after it."""

    async def story(client: Registry) -> None:
        path = Path(url.removeprefix("local:"))
        async with aopen_registry(slow, path=path) as registry:
            slow.go_on.set()
            await registry.register(ECHO)
            await begun_and_cancelled(registry.update(ECHO, weight=99))
            removing = asyncio.create_task(registry.deregister(ECHO))
            await asyncio.sleep(0)
            removing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await removing
            again = asyncio.create_task(registry.register(ECHO))
            await asyncio.sleep(0)
            slow.go_on.set()
            await again
            assert [status.info for status in registry.status()] == [ECHO]
            assert client.resolve("echo") == (ECHO,)

    with open_registry(url) as client:
        run(story(client))


def test_refuses_what_is_no_info_while_a_call_is_being_undone(url: str, slow: type[Slow]) -> None:
    """The error is the twin's, whatever else is under way."""

    async def story() -> None:
        async with aopen_registry(slow, path=Path(url.removeprefix("local:"))) as registry:
            await begun_and_cancelled(registry.register(ECHO))
            for call in (registry.register, registry.deregister):
                with pytest.raises(InvalidInfoError):
                    await call(None)  # type: ignore[arg-type]  # that is the point
            slow.go_on.set()

    run(story())


def waits(resolver: AsyncResolver, number: int) -> list[asyncio.Task[tuple[Info, ...]]]:
    hour = dt.timedelta(hours=1)
    return [asyncio.create_task(resolver.wait_for(1, hour)) for _ in range(number)]


def test_waiting_keeps_no_other_call_from_being_made(url: str) -> None:
    """Neither those that wait, nor those that were cancelled while they did."""

    async def story() -> None:
        async with aopen_registry(url) as registry, registry.resolver("echo") as resolver:
            await resolver.wait_for(0)
            cancelled, waiting = waits(resolver, 10), waits(resolver, 10)
            await asyncio.sleep(0)
            for each in cancelled:
                each.cancel()
            await asyncio.wait(cancelled)

            await asyncio.wait_for(registry.register(ECHO), 10)
            assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [(ECHO,)] * 10

    run(story())


def test_closing_ends_a_wait(url: str) -> None:
    """With the error that the blocking resolver raises."""

    async def story() -> None:
        async with aopen_registry(url) as registry:
            resolver = registry.resolver("echo")
            (waiting,) = waits(resolver, 1)
            await asyncio.sleep(0)
            await resolver.close()
            with pytest.raises(ClosedError):
                await asyncio.wait_for(waiting, 10)

    run(story())


def test_closing_the_blocking_registry_ends_waits_and_iterations(url: str) -> None:
    """Of one that was passed in, and is closed by its owner while it is followed."""

    async def story(client: Registry) -> None:
        async with aopen_registry(client) as registry:
            resolver = registry.resolver("echo")
            await resolver.wait_for(0)
            (waiting,) = waits(resolver, 1)

            async def follow() -> int:
                return len([snapshot async for snapshot in resolver])

            following = asyncio.create_task(follow())
            await asyncio.sleep(0)
            await asyncio.to_thread(client.close)

            with pytest.raises(ClosedError):
                await asyncio.wait_for(waiting, 10)
            assert await asyncio.wait_for(following, 10) >= 1

    with open_registry(url) as client:
        run(story(client))


def test_waits_for_what_any_of_several_registries_has(tmp_path: Path) -> None:
    """A wait hears of a change in each of them."""

    async def story(second: Registry) -> None:
        async with (
            aopen_registry([f"local:{tmp_path / 'one'}", second]) as registry,
            registry.resolver("echo") as resolver,
        ):
            (waiting,) = waits(resolver, 1)
            await resolver.wait_for(0)
            await asyncio.to_thread(second.register, ECHO)
            assert await asyncio.wait_for(waiting, 10) == (ECHO,)

    with open_registry(f"local:{tmp_path / 'two'}") as second:
        run(story(second))


def test_every_blocking_call_has_a_twin() -> None:
    """What the blocking registry and resolver have, their twins have under the same name."""
    for_parts = {"watch", "clock", "is_local", "timeout"}
    assert public(Registry) - for_parts <= public(AsyncRegistry)
    for_twins = {"on_change", "waiting", "waiting_for_first_list"}  # what the twin itself stands on
    assert public(Resolver) - for_twins <= public(AsyncResolver)


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_a_cancellation_that_comes_too_late_is_made_good(url: str) -> None:
    """The write had ended, and nobody had been told."""

    async def story(client: Registry) -> None:
        async with aopen_registry(url) as registry:
            task = asyncio.create_task(registry.register(ECHO))
            await asyncio.sleep(0)
            while not registry.status() or registry.status()[0].state.value != "enlisted":
                pass  # the loop is held up, so the task hears of its result only after this
            await _give_the_thread_time(registry)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: client.resolve("echo") == ())

    with open_registry(url) as client:
        run(story(client))


async def _give_the_thread_time(registry: AsyncRegistry) -> None:
    """Block the loop until the registry's thread has nothing left to do."""
    ended = threading.Event()
    registry._threads.submit(ended.set)
    ended.wait(10)


def test_a_cancelled_close_closes_all_the_same(url: str) -> None:
    """Nothing stays enlisted, and nothing is followed, since nobody waited for the end."""

    async def story(client: Registry) -> None:
        registry = aopen_registry(url)
        resolver = registry.resolver("echo")
        await registry.register(ECHO)
        assert await resolver.wait_for(1) == (ECHO,)
        closing = asyncio.create_task(registry.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await until(lambda: client.resolve("echo") == ())
        await registry.close()

    with open_registry(url) as client:
        run(story(client))


def test_closes_while_the_threads_of_the_loop_are_busy(url: str) -> None:
    """It needs none of them."""
    go_on = threading.Event()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, go_on.wait, 20)
        try:
            async with aopen_registry(url) as registry, registry.resolver("echo"):
                await registry.register(ECHO)
        finally:
            was_busy = not busy.done()
            go_on.set()
            await busy
        assert was_busy

    run(story())


@pytest.mark.parametrize("owned", [True, False])
def test_refuses_every_call_after_it_was_closed(url: str, *, owned: bool) -> None:
    """With the error that the blocking registry has, also where that stays open."""

    async def story(client: Registry) -> None:
        registry = aopen_registry(url if owned else client)
        await registry.close()
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: registry.register(ECHO),
            lambda: registry.register_all([ECHO]),
            lambda: registry.update(ECHO, weight=1),
            lambda: registry.deregister(ECHO),
            lambda: registry.resolve("echo"),
            registry.services,
            registry.probe,
        ]
        for call in calls:
            with pytest.raises(ClosedError, match="open another"):
                await call()

    with open_registry(url) as client:
        run(story(client))


def test_leaves_a_registry_open_that_it_was_given(url: str) -> None:
    """Whoever opened it closes it."""

    async def story(client: Registry) -> None:
        async with aopen_registry(client) as registry:
            await registry.register(ECHO)

    with open_registry(url) as client:
        run(story(client))
        assert client.resolve("echo") == (ECHO,)
