"""A Thrift server under enlist, for tests that send it signals: REGISTRY DRAIN_S [NAME]."""

import datetime as dt
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import thriftpy2  # noqa: TID253 - this program is a Thrift server
from thriftpy2.thrift import TProcessor  # noqa: TID253 - the same

import enlist.frameworks.thrift
from tests.lifecycle import LONG_CALL_S, SERVER_TAG

PID = str(os.getpid())
who_thrift: Any = thriftpy2.load(
    str(Path(__file__).with_name("who.thrift")), module_name="who_thrift"
)


class Who:
    """Answers with the server's name, at once or slowly.

    Attributes:
        asked: set once a slow call has begun.
        go_on: lets a slow call end; None for one that ends by itself.
    """

    def __init__(self, name: str = PID, go_on: threading.Event | None = None) -> None:
        self.asked = threading.Event()
        self.go_on = go_on
        self._name = name
        self._notes: list[str] = []

    def who(self, slowly: bool) -> str:  # noqa: FBT001 - thriftpy2 calls by position
        if slowly:
            self.asked.set()
            if self.go_on is None:
                time.sleep(LONG_CALL_S)
            else:
                self.go_on.wait(20)
        return self._name

    def refuse(self, declared: bool) -> str:  # noqa: FBT001 - as above
        raise who_thrift.Refused(why="no") if declared else ValueError("a bug of the handler")

    def note(self, text: str) -> None:
        self._notes.append(text)

    def notes(self) -> list[str]:
        return self._notes


def main(registry: str, drain_s: str, name: str = PID) -> None:
    enlist.frameworks.thrift.serve(
        TProcessor(who_thrift.Who, Who(name)),
        "echo",
        "127.0.0.1:0",
        registry=registry,
        tags={SERVER_TAG: name},
        drain=dt.timedelta(seconds=float(drain_s)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.write("ended\n")
