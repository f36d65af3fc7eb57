"""A stop that is asked for by a signal is heard, whichever thread the system gives it to."""

from __future__ import annotations

import signal
import threading
import time

import pytest

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
