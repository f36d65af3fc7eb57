"""What users do wrong on their first days, and the sentence that puts each of them right."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import enlist
from enlist import Info, Registry, open_registry

ECHO = Info(service_name="echo", addr="10.0.0.1:80")

MISTAKES: dict[str, tuple[Callable[..., object], str]] = {
    "a name with two letters exchanged": (
        lambda: open_registry("loacl"),
        r"No backend 'loacl'\. Installed: .*local \(enlist .*\)\. Did you mean 'local'\?",
    ),
    "a backend that nobody has installed": (
        lambda: open_registry("carrierpigeon"),
        r"No backend 'carrierpigeon'\. Installed: .*\. Install the distribution that provides it\.",
    ),
    "a name in capitals": (
        lambda: open_registry("Local"),
        r"No backend 'Local': a name is a lower-case letter, then .* Did you mean 'local'\?",
    ),
    "an option that does not exist": (
        lambda: open_registry("local?tll=5"),
        r"tll='\*\*\*': backend 'local' has no such option\. Did you mean 'ttl'\? Its options: .*",
    ),
    "a duration without its type": (
        lambda: open_registry("local", ttl=15),
        r"ttl=15: must be a timedelta such as timedelta\(seconds=15\), or text such as '15s'",
    ),
    "a timeout in seconds": (
        lambda: open_registry("local", timeout=3),  # type: ignore[call-overload]
        r"timeout=3: must be a timedelta longer than 0 .*, such as timedelta\(seconds=3\)",
    ),
    "a path that depends on where one stands": (
        lambda: open_registry("local:demo.registry"),
        r"path='demo\.registry': must be absolute, as in 'local:/tmp/demo\.registry': .*",
    ),
    "a server for a backend that has none": (
        lambda: open_registry("local://10.0.0.1"),
        r"registry='local:\*\*\*': names hosts, and backend 'local' has none; .*'local:PATH'",
    ),
    "a slash in a service name": (
        lambda: Info(service_name="shop/cart"),
        r"service_name='shop/cart': must not contain '/', which separates names from addresses",
    ),
    "an address without a port": (
        lambda: Info(addr="10.0.0.1"),
        r"addr='10\.0\.0\.1': must look like '10\.0\.0\.1:8888', '\[::1\]:8888', .*",
    ),
    "an IPv6 address without brackets": (
        lambda: Info(addr="::1:8888"),
        r"addr='::1:8888': must look like .*'\[::1\]:8888'.*",
    ),
    "a weight as text": (
        lambda: Info(weight="10"),  # type: ignore[arg-type]
        r"weight='10': must be a whole number from 0 \(no traffic\) to 65535",
    ),
    "a time without a zone": (
        lambda: Info(start_time=dt.datetime(2026, 1, 1)),  # noqa: DTZ001 - the mistake
        r"start_time=datetime.*: must be a datetime with a time zone, such as datetime\.now\(.*\)",
    ),
    "a warm-up in seconds": (
        lambda: Info(warm_up=30),  # type: ignore[arg-type]
        r"warm_up=30: must be a timedelta, such as timedelta\(seconds=30\)",
    ),
    "a tag that is a number": (
        lambda: Info(tags={"zone": 1}),  # type: ignore[dict-item]
        r"tags\['zone'\]=1: must be text, not int",
    ),
    "the address that a server listens on": (
        lambda registry: registry.register(Info(service_name="echo", addr="0.0.0.0:80")),
        r"addr\.host='0\.0\.0\.0': means every interface and cannot be called; publish one .*",
    ),
    "no service name": (
        lambda registry: registry.register(Info(addr="10.0.0.1:80")),
        r"service_name='': is missing; give it in the Info or in basic_info of the server options",
    ),
    "an update of what was never registered": (
        lambda registry: registry.update(ECHO, weight=3),
        r"info=Info\(.*\): is not registered here; register it first",
    ),
    "a pick of nobody": (
        lambda registry: registry.resolver("echo").pick(),
        r"local:.*: no instance of 'echo' can be picked: 0 known",
    ),
    "a wait for more than there are": (
        lambda registry: registry.resolver("echo").wait_for(2, dt.timedelta(milliseconds=50)),
        r"local:.*: waited 0\.05 s for 2 of 'echo'; there are 0.*",
    ),
    "a use after the end": (
        lambda registry: (registry.close(), registry.register(ECHO)),
        r"registry 'local:.*' was closed; open another with open_registry\(\)",
    ),
    "a server option with a letter too many": (
        lambda: enlist.enlisted("echo", "127.0.0.1:80", drainn=1).__enter__(),  # type: ignore[call-arg]
        r"drainn=1: is no option of a server; there are: .*drain.*",
    ),
    "the port that lets the system choose": (
        lambda: enlist.enlisted("echo", "127.0.0.1:0").__enter__(),
        r"listen_addr='127\.0\.0\.1:0': has port 0, .*: give that one, or the bound socket",
    ),
    "a server that does not listen": (
        lambda registry: enlist.enlisted(
            "echo", "127.0.0.1:1", registry=registry, ready_timeout=dt.timedelta(milliseconds=50)
        ).__enter__(),
        r"the server at 127\.0\.0\.1:1 was not ready within 0\.05 s: .*Connection refused",
    ),
    "a server outside the main thread": (
        lambda registry: _in_a_thread(
            lambda: enlist.serve(_Server(), "echo", "127.0.0.1:1", registry=registry)
        ),
        r"signals can be handled in the main thread alone; elsewhere use enlist\.enlisted\(\), .*",
    ),
}


class _Server:
    def serve_forever(self) -> None:
        raise AssertionError("never started")

    def shutdown(self) -> None:
        raise AssertionError("never started")


def _in_a_thread(call: Callable[[], object]) -> None:
    raised: list[Exception] = []

    def make() -> None:
        try:
            call()
        except enlist.EnlistError as exc:
            raised.append(exc)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    raise raised[0]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_answered_in_one_sentence(mistake: str, tmp_path: Path) -> None:
    """The whole text is what it is meant to be: what, why, and what to do, on one line."""
    make, sentence = MISTAKES[mistake]
    with open_registry(f"local:{tmp_path / 'registry'}") as registry:
        arguments: tuple[Any, ...] = (registry,) if make.__code__.co_argcount else ()
        with pytest.raises(enlist.EnlistError) as caught:
            make(*arguments)

    assert re.fullmatch(sentence, str(caught.value)), str(caught.value)


def test_mistake_of_forgetting_to_close_is_told(tmp_path: Path) -> None:
    """The warning names the registry and what to write instead."""
    path = tmp_path / "registry"

    def forget() -> Registry:
        registry = open_registry(f"local:{path}")
        registry.register(ECHO)
        return registry

    with pytest.warns(ResourceWarning, match=r"local:.*was never closed; use 'with' or close\(\)"):
        forget()
