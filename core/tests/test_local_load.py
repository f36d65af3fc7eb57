"""`local` with many at once: threads, processes, and ten thousand registrations."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.tests.local_world import TIMEOUT_S, Registries, Server, watching
from enlist.info import Info

LONG_S = 30.0


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[Registries]:
    opened = Registries(tmp_path / "test.registry")
    yield opened
    opened.close()


def _infos(count: int) -> list[Info]:
    return [
        Info(service_name=f"s{n % 100}", addr=f"10.0.{n // 250}.{n % 250}:80", tags={"n": str(n)})
        for n in range(count)
    ]


def test_many_threads_and_processes_register_at_once(registries: Registries) -> None:
    """Twenty threads of two registries and four processes all get their records in [R1]."""
    both = [registries(), registries()]
    reader = registries()
    infos = [Info(service_name="echo", addr=f"10.0.0.1:{port}") for port in range(1, 201)]
    with ExitStack() as stack:
        watch = stack.enter_context(watching(reader, "echo"))
        servers = [stack.enter_context(Server(registries.path)) for _ in range(4)]
        pool = stack.enter_context(ThreadPoolExecutor(24))
        theirs: list[Future[object]] = [
            pool.submit(server.ask, "register", "echo", *(f"10.0.1.{n}:{p}" for p in range(1, 26)))
            for n, server in enumerate(servers)
        ]
        ours = [pool.submit(both[n % 2].register, info, TIMEOUT_S) for n, info in enumerate(infos)]

        assert [future.result(LONG_S) for future in ours] == [None] * 200
        assert [future.result(LONG_S) for future in theirs] == [None] * 4

        found = reader.resolve("echo", TIMEOUT_S)
        assert len(found) == 300
        assert set(infos) <= set(found)
        watch.wait_for(*found)


def test_ten_thousand_are_kept_as_one_is(registries: Registries) -> None:
    """Ten thousand are restored, seen, kept alive and withdrawn, without a thread more."""
    registry, reader = registries(), registries()
    infos = _infos(10_000)
    threads = threading.active_count()

    assert registry.restore(infos, LONG_S) == []
    assert registry.keep_alive(infos, LONG_S).lost == []

    assert threading.active_count() == threads
    assert len(reader.services(LONG_S)) == 100
    found = [info for n in range(100) for info in reader.resolve(f"s{n}", LONG_S)]
    assert sorted(found, key=str) == sorted(infos, key=str)
    assert registry.withdraw(infos, LONG_S) == []
    assert reader.services(LONG_S) == []
