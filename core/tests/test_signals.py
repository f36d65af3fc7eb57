"""A stop that is asked for by a signal is heard, whichever thread the system gives it to."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import threading
import time
from pathlib import Path

import pytest

from enlist import open_registry
from enlist.aio import serve
from enlist.serving.signals import StopRequests, told_to_stop

LONG_S = 20.0


def test_wait_hears_a_signal_that_another_thread_was_given() -> None:
    """It does not wake the main thread, which hears of it all the same."""
    requests = StopRequests()
    waiting = threading.Event()

    def take() -> None:
        waiting.wait(LONG_S)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    with told_to_stop(requests.ask):
        thread = threading.Thread(target=take)
        thread.start()
        began = time.monotonic()
        waiting.set()
        assert requests.wait(LONG_S) is not None
        assert time.monotonic() - began < LONG_S / 2
        thread.join()


def test_an_event_loop_hears_a_signal_that_another_thread_was_given(tmp_path: Path) -> None:
    """A server that nobody calls has an idle loop, and is stopped all the same."""
    place = f"local:{tmp_path}/registry"
    sent: list[float] = []

    def take() -> None:
        with open_registry(place) as registry, registry.resolver("echo") as resolver:
            resolver.wait_for(1, dt.timedelta(seconds=LONG_S))
        sent.append(time.monotonic())
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    async def story() -> None:
        asyncio.get_running_loop().call_later(LONG_S, lambda: None)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        await serve(server, "echo", registry=place, drain=dt.timedelta(0))

    thread = threading.Thread(target=take)
    thread.start()
    asyncio.run(story())
    assert time.monotonic() - sent[0] < LONG_S / 2
    thread.join()


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.7])
def test_wait_ends_when_the_time_is_over(seconds: float) -> None:
    """Nobody asked: that is told after the time, and not before."""
    began = time.monotonic()
    assert StopRequests().wait(seconds) is None
    assert time.monotonic() - began >= seconds


def test_wait_returns_each_request_with_its_time() -> None:
    """Two requests are two answers, each with the moment at which it was made."""
    requests = StopRequests()
    before = time.monotonic()
    requests.ask()
    requests.ask()
    first, second = requests.wait(), requests.wait()
    assert first is not None
    assert second is not None
    assert before <= first <= second <= time.monotonic()
