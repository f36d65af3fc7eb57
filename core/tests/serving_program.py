"""A small server under enlist.serve, for tests that send it signals: MODE REGISTRY."""

import datetime as dt
import signal
import sys
import threading
from http.server import ThreadingHTTPServer
from types import FrameType

from core.tests.serving_world import Hello
from enlist.serving.blocking import serve

LONG = dt.timedelta(seconds=50)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def chained(number: int, _: FrameType | None) -> None:
    say("chained", signal.Signals(number).name)


def never_ready() -> bool:
    say("asked")
    return False


def ready_ignoring() -> bool:
    say("ignored", signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    return True


def crash_when_told() -> None:
    sys.stdin.readline()
    CRASH.set()


CRASH = threading.Event()
DRAIN = {"quick": dt.timedelta(seconds=1), "slow": dt.timedelta(0)}
READY = {"unready": never_ready, "ignore": ready_ignoring}


class Slow(Hello):
    def send_response(self, code: int, message: str | None = None) -> None:
        say("called")
        sys.stdin.readline()
        super().send_response(code, message)


class Crashing(ThreadingHTTPServer):
    def shutdown(self) -> None:
        super().shutdown()
        say("shut down")

    def service_actions(self) -> None:
        if CRASH.is_set():
            raise RuntimeError("the server crashed")


def main(mode: str, registry: str) -> None:
    with Crashing(("127.0.0.1", 0), Slow if mode == "slow" else Hello) as server:
        say("port", server.server_port)
        if mode == "chain":
            signal.signal(signal.SIGTERM, chained)
        if mode == "ignore":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if mode == "crash":
            threading.Thread(target=crash_when_told).start()
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        try:
            serve(
                server,
                "echo",
                registry=registry,
                ready=READY.get(mode),
                drain=DRAIN.get(mode, LONG),
                grace=LONG,
                ready_timeout=LONG,
            )
        finally:
            after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
            say("restored", before == after)
            say("threads", [each.name for each in threading.enumerate()][1:])


main(*sys.argv[1:])
