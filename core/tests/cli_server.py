"""A server for `enlist run` to run, which says what happens to it: MODE PORT."""

import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

TERM_STATUS = 7


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def heard(number: int, _: FrameType | None) -> None:
    say("heard", signal.Signals(number).name)
    if number == signal.SIGTERM:
        sys.exit(TERM_STATUS)


def listening(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port))
    say("listening")
    return listener


def main(mode: str, port_text: str) -> None:
    port = int(port_text)
    say("pid", os.getpid())
    if mode == "parent":
        child = subprocess.Popen([sys.executable, __file__, "listen", port_text])
        child.wait()
        return
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, heard)
    say("mask", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    say("group", os.getpgrp() == os.getpid())
    host = "" if mode == "everywhere" else "127.0.0.1"
    listener = listening(host, port) if mode in {"listen", "everywhere", "crash"} else None
    if mode == "crash":
        sys.stdin.readline()
        sys.exit(3)
    while True:
        time.sleep(60)
        del listener


if __name__ == "__main__":
    main(*sys.argv[1:])
