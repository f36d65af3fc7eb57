"""The facade on a real registry: `local`, in a file of the test's own."""

import datetime as dt
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enlist import (
    BackendSpecError,
    ClosedError,
    Info,
    InvalidInfoError,
    InvalidOptionError,
    Registry,
    State,
    TimedOutError,
    UnavailableError,
    UnknownBackendError,
    UnsupportedError,
    hookimpl,
    open_registry,
)
from enlist.local import LocalOptions
from enlist.opening import AnyRegistry
from tests.waiting import eventually

ECHO = Info(service_name="echo", addr="10.0.0.1:80", tags={"zone": "a"})
OTHER = Info(service_name="echo", addr="10.0.0.2:80")
LONG = dt.timedelta(seconds=30)


AFTER_MAIN = """
import sys, threading
from enlist import Info, open_registry
both = open_registry(sys.argv[1:])
both.register(Info(service_name="echo", addr="10.0.0.1:80"))
def serve():
    threading.main_thread().join()
    with both:
        both.register(Info(service_name="echo", addr="10.0.0.2:80"))
        print(len(both.status()), *(info.addr for info in both.resolve("echo")), flush=True)
threading.Thread(target=serve).start()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"local:{tmp_path / 'registry'}"


@pytest.fixture
def registry(url: str) -> Iterator[AnyRegistry]:
    with open_registry(url) as opened:
        yield opened


@pytest.fixture
def client(url: str) -> Iterator[AnyRegistry]:
    with open_registry(url) as opened:
        yield opened


def test_is_found_by_another_client(registry: Registry, client: Registry) -> None:
    """What one registers, another finds, equal in everything."""
    registry.register(ECHO)

    assert client.resolve("echo") == (ECHO,)
    assert client.services() == ("echo",)
    client.probe()


def test_registers_many_at_once(registry: Registry, client: Registry) -> None:
    """The bulk path ends where the single one does."""
    infos = [Info(service_name="echo", addr=f"10.0.0.1:{port}") for port in range(1, 201)]

    registry.register_all(infos)

    assert set(client.resolve("echo")) == set(infos)


def test_refuses_two_of_one_identity(registry: Registry) -> None:
    """Nobody could tell which one was meant."""
    with pytest.raises(InvalidInfoError, match="one service at one address twice"):
        registry.register_all([ECHO, Info(service_name="echo", addr="10.0.0.1:80", weight=2)])


def test_refuses_what_is_incomplete_before_it_sends_anything(
    registry: Registry, tmp_path: Path
) -> None:
    """R8: the registry's file is not even made."""
    with pytest.raises(InvalidInfoError, match="service_name"):
        registry.register(Info(addr="10.0.0.1:80"))
    with pytest.raises(InvalidInfoError, match="service_name"):
        registry.resolve("")

    assert list(tmp_path.iterdir()) == []


def test_updates_in_place(registry: Registry, client: Registry) -> None:
    """Weight and tags change; the rest stays."""
    registry.register(ECHO)

    updated = registry.update(ECHO, weight=3)
    again = registry.update(ECHO, tags={"zone": "b"})

    assert (updated.weight, updated.tags) == (3, {"zone": "a"})
    assert client.resolve("echo") == (again,)
    assert (again.weight, again.tags) == (3, {"zone": "b"})


def test_refuses_to_update_what_is_not_registered(registry: Registry) -> None:
    """An update is no registration by the back door."""
    with pytest.raises(InvalidInfoError, match="not registered here; register it first"):
        registry.update(ECHO, weight=3)


def test_updates_from_two_threads_lose_nothing(url: str) -> None:
    """An update that another one comes between begins anew, and says what is registered then."""

    class Between:
        done = False

        @hookimpl
        def enrich(self, info: Info) -> Info:
            if info.weight == 3 and not self.done:
                self.done = True
                opened.update(ECHO, tags={"zone": "b"})
            return replace(info, tags={**(info.tags or {}), "rack": "r7"})

    with open_registry(url, extensions=[Between()]) as opened:
        opened.register(ECHO)

        updated = opened.update(ECHO, weight=3)

        assert updated == replace(ECHO, weight=3, tags={"zone": "b", "rack": "r7"})
        assert opened.resolve("echo") == (updated,)


def test_an_update_registers_nothing_that_was_removed_meanwhile(url: str) -> None:
    """K6: a deregister between its reading and its writing wins."""

    class Between:
        @hookimpl
        def enrich(self, info: Info) -> None:
            if info.weight == 3:
                opened.deregister(ECHO)

    with open_registry(url, extensions=[Between()]) as opened:
        opened.register(ECHO)

        with pytest.raises(InvalidInfoError, match="is not registered here"):
            opened.update(ECHO, weight=3)

        assert opened.resolve("echo") == ()


def test_deregisters(registry: Registry, client: Registry) -> None:
    """When it returns, nobody finds it; a second time is no error."""
    registry.register(ECHO)

    registry.deregister(ECHO)
    registry.deregister(ECHO)

    assert client.resolve("echo") == ()
    assert registry.status() == ()


def test_shows_the_state_of_each_registration(registry: Registry) -> None:
    """K8: as values, for people and for a readiness endpoint."""
    assert registry.readiness()

    registry.register(ECHO)
    (status,) = registry.status()

    assert (status.info, status.state, status.registry) == (ECHO, State.ENLISTED, registry.name)
    assert status.last_success is not None
    assert status.last_success.tzinfo is dt.UTC
    assert registry.readiness().reasons == ()


def test_says_what_is_not_ready(registry: Registry, client: Registry) -> None:
    """A server that another process has pushed out is not ready, and the reason says so."""
    registry.register(ECHO)
    client.register(ECHO)

    eventually(lambda: not registry.readiness(), within_s=20, why="superseded")

    (reason,) = registry.readiness().reasons
    assert reason == f"echo at 10.0.0.1:80 is superseded in {registry.name}"


def test_is_restored_when_the_other_one_leaves(registry: Registry, url: str) -> None:
    """R5: a rolling restart at one address ends with the one that stays."""
    registry.register(ECHO)
    with open_registry(url) as rival:
        rival.register(ECHO)
        eventually(lambda: not registry.readiness(), within_s=20, why="superseded")

    eventually(lambda: bool(registry.readiness()), within_s=20, why="restored")

    assert registry.resolve("echo") == (ECHO,)


def test_follows_a_service_live(registry: Registry, client: Registry) -> None:
    """A resolver sees what comes and goes."""
    with client.resolver("echo") as resolver:
        registry.register(ECHO)
        assert resolver.wait_for(1) == (ECHO,)
        assert resolver.pick() == ECHO
        registry.deregister(ECHO)
        eventually(lambda: resolver.instances == (), within_s=10, why="gone")


def test_closing_removes_everything_and_ends_resolvers(url: str, client: Registry) -> None:
    """Nothing is left in the registry, and nothing in the process."""
    registry = open_registry(url)
    registry.register(ECHO)
    resolver = registry.resolver("echo")
    resolver.wait_for(1)

    registry.close()
    registry.close()

    assert client.resolve("echo") == ()
    with pytest.raises(ClosedError):
        resolver.instances  # noqa: B018 - looking is what must fail
    for call in (lambda: registry.register(ECHO), lambda: registry.resolver("echo")):
        with pytest.raises(ClosedError, match="was closed"):
            call()
    resolver.close()


def test_has_one_thread_however_many_registrations(registry: Registry) -> None:
    """Fast by design: one supervising thread for all."""
    registry.register(ECHO)
    before = threading.active_count()

    for port in range(1, 101):
        registry.register(Info(service_name="echo", addr=f"10.0.0.3:{port}"))

    assert threading.active_count() == before


def test_can_be_used_from_many_threads(registry: Registry, client: Registry) -> None:
    """Twenty threads register, update and deregister; what is wanted in the end is there."""

    def work(number: int) -> None:
        mine = Info(service_name="echo", addr=f"10.0.1.{number}:80")
        for weight in range(5):
            registry.register(mine, timeout=LONG)
            registry.update(mine, weight=weight, timeout=LONG)
            if weight < 4 or number % 2:
                registry.deregister(mine, timeout=LONG)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(client.resolve("echo")) == 10
    assert len(registry.status()) == 10


def test_warns_when_nobody_closed_it(url: str, client: Registry) -> None:
    """What was forgotten is closed all the same, and said."""
    forgotten = [open_registry(url)]
    forgotten[0].register(ECHO)

    with pytest.warns(ResourceWarning, match="was never closed"):
        forgotten.clear()

    assert client.resolve("echo") == ()


def test_is_the_childs_own_after_a_fork(registry: Registry, client: Registry) -> None:
    """K7: the child registers under an owner of its own, and closing it leaves the parent's."""
    registry.register(ECHO)
    pid = os.fork()
    if pid == 0:
        os._exit(_use_and_close(registry))

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.resolve("echo") == (ECHO,)
    assert registry.readiness()


def _use_and_close(registry: Registry) -> int:
    """In the child: 0 if all is as it should be."""
    if registry.status():
        return 1
    registry.register(OTHER)
    both = len(registry.resolve("echo")) == 2
    registry.close()
    return 0 if both else 2


def test_lets_extensions_look_on(url: str) -> None:
    """Enriched before it is registered, and told of every change."""
    seen: list[tuple[str, str]] = []

    class Zone:
        @hookimpl
        def enrich(self, info: Info) -> Info:
            return Info(service_name=info.service_name, addr=info.addr, tags={"zone": "z"})

        @hookimpl
        def registration_changed(self, info: Info, state: str) -> None:
            seen.append((info.service_name, state))

    with open_registry(url, extensions=[Zone()]) as registry:
        registry.register(OTHER)
        assert registry.resolve("echo")[0].tags == {"zone": "z"}

    assert seen == [("echo", "enlisted"), ("echo", "leaving"), ("echo", "left")]


def test_tells_extensions_which_registry_speaks(pair: Sequence[str]) -> None:
    """One object may be an extension of several, and knows whose registration and view it is."""
    heard: set[tuple[str, str]] = set()

    class Listening:
        @hookimpl
        def registration_changed(self, state: str, registry: str) -> None:
            heard.add((registry, state))

        @hookimpl
        def instances_changed(self, instances: Sequence[Info], registry: str) -> None:
            heard.add((registry, f"{len(instances)} known"))

    with (
        open_registry(list(pair), extensions=[Listening()]) as both,
        both.resolver("echo") as resolver,
    ):
        both.register(ECHO)
        resolver.wait_for(1)
        wanted = {(url, what) for url in pair for what in ("enlisted", "1 known")}
        eventually(lambda: wanted <= heard, why="both registries have spoken")


def test_logs_every_change(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """K8: a line for each, with the service, the address and the registry."""
    with caplog.at_level(logging.INFO, "enlist"):
        registry.register(ECHO)

    assert f"{registry.name}: echo at 10.0.0.1:80: enlisted" in caplog.text


def test_shows_neither_options_nor_infos_in_its_repr(registry: Registry) -> None:
    """A secret among the options cannot end up in a log this way."""
    assert repr(registry) == f"<enlist.Registry {registry.name!r}>"


def test_timeout_comes_from_the_call_or_the_url_or_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an option like others: the stronger of them wins, and nothing said means 3 s."""

    def timeout_of(url: str, timeout: dt.timedelta | None = None) -> dt.timedelta:
        with open_registry(url, timeout=timeout) as registry:
            return registry.timeout

    assert timeout_of(url) == dt.timedelta(seconds=3)
    monkeypatch.setenv("ENLIST_OPT_LOCAL_TIMEOUT", "4s")
    assert timeout_of(url) == dt.timedelta(seconds=4)
    assert timeout_of(f"{url}?timeout=5s") == dt.timedelta(seconds=5)
    assert timeout_of(f"{url}?timeout=5s", dt.timedelta(seconds=6)).seconds == 6
    with pytest.raises(InvalidOptionError, match=r"timeout=.*longer than 0 and at most a day"):
        timeout_of(f"{url}?timeout=2d")


@pytest.mark.parametrize(
    "arguments,rule",
    [
        ({"timeout": 3}, "timeout=3: must be a timedelta longer than 0"),
        ({"timeout": dt.timedelta(0)}, "must be a timedelta longer than 0"),
        ({"timeout": dt.timedelta(days=2)}, "timeout=.*: must be .* at most a day"),
        ({"extensions": "prometheus"}, "extensions='prometheus': must be a list of names"),
        ({"extensions": 5}, "extensions=5: must be a list of names"),
        ({"on_unavailable": "ignore"}, "on_unavailable='ignore': must be 'raise' or 'retry'"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_refuses_options_that_cannot_be(url: str, arguments: dict[str, object], rule: str) -> None:
    """Each is named with its value and its rule."""
    with pytest.raises(InvalidOptionError, match=rule):
        open_registry(url, **arguments)  # type: ignore[call-overload]  # wrong on purpose


@pytest.mark.parametrize("timeout", [3, dt.timedelta(0), dt.timedelta(-1), dt.timedelta.max])
def test_refuses_a_time_that_no_call_can_take(registry: Registry, timeout: object) -> None:
    """Every call names the timeout that it cannot use, and sends nothing."""
    given: Any = {"timeout": timeout}
    for call in (
        lambda: registry.register(ECHO, **given),
        lambda: registry.register_all([ECHO], **given),
        lambda: registry.update(ECHO, weight=3, **given),
        lambda: registry.deregister(ECHO, **given),
        lambda: registry.resolve("echo", **given),
        lambda: registry.services(**given),
        lambda: registry.probe(**given),
    ):
        with pytest.raises(InvalidOptionError, match=r"timeout=.*: must be a timedelta"):
            call()
    assert registry.status() == ()


@pytest.mark.parametrize("wrong", [None, "echo", object()])
def test_refuses_what_is_no_info(registry: Registry, wrong: object) -> None:
    """Whatever is to be registered, changed or removed is named by an Info."""
    info: Any = wrong
    for call in (
        lambda: registry.register(info),
        lambda: registry.register_all([info]),
        lambda: registry.update(info, weight=3),
        lambda: registry.deregister(info),
    ):
        with pytest.raises(InvalidInfoError, match=r"info=.*: must be an enlist\.Info"):
            call()


def test_refuses_an_extension_that_would_do_nothing(url: str) -> None:
    """A forgotten decorator would be found out by the metrics that never come."""

    class Unmarked:
        def registration_changed(self, info: Info) -> None:
            raise AssertionError("never called")

    with pytest.raises(BackendSpecError, match=r"Unmarked.* implements no hook.*@hookimpl"):
        open_registry(url, extensions=[Unmarked()])


@pytest.mark.parametrize("registry", [5, b"local", object()])
def test_refuses_what_names_no_registry(registry: object) -> None:
    """The error lists what would."""
    with pytest.raises(InvalidOptionError, match="a name, a URL, a plugin's class"):
        open_registry(registry)


@pytest.mark.parametrize(
    "registry",
    [
        b"etcd://root:hunter2@10.0.0.1",
        {"etcd://root:hunter2@10.0.0.1"},
        [["etcd://root:hunter2@10.0.0.1"]],
        [b"etcd://root:hunter2@10.0.0.1"],
    ],
)
def test_shows_nothing_of_what_names_no_registry_but_its_type(registry: object) -> None:
    """R7: there may be a password in it."""
    with pytest.raises(InvalidOptionError, match=r"registry='(bytes|set|list)': must") as caught:
        open_registry(registry)

    assert "hunter2" not in repr((caught.value.args, caught.value.value))


def test_takes_the_registry_of_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENLIST_REGISTRY chooses for a program that does not."""
    monkeypatch.setenv("ENLIST_REGISTRY", url)

    with open_registry() as registry:
        assert registry.name == url

    monkeypatch.setenv("ENLIST_REGISTRY", "nosuch")
    with pytest.raises(UnknownBackendError):
        open_registry()


class Noticeboard:
    """A third party's class, passed as it is; it only publishes."""

    spec_version = 1

    Options = LocalOptions

    def __init__(self, options: object, owner: str) -> None:
        self.owner = owner

    @hookimpl
    def register(self, info: Info) -> None:
        if info.weight == 99:
            raise UnavailableError("no room")

    @hookimpl
    def deregister(self, info: Info) -> None:
        pass


def test_takes_the_class_of_a_plugin(tmp_path: Path) -> None:
    """Tests and private backends need no distribution."""
    with open_registry(Noticeboard) as registry:
        registry.register(ECHO)
        assert registry.name == "Noticeboard"
        with pytest.raises(UnsupportedError, match="only publishes"):
            registry.resolver("echo")


def test_gives_back_an_opened_registry(registry: Registry) -> None:
    """Whoever opened it closes it."""
    assert open_registry(registry) is registry


@pytest.fixture
def pair(tmp_path: Path) -> Sequence[str]:
    return [f"local:{tmp_path / 'one'}", f"local:{tmp_path / 'two'}"]


def test_is_enlisted_in_several_registries(pair: Sequence[str]) -> None:
    """Moving a fleet is a change of options: both have it, a client of either finds it."""
    with open_registry(list(pair)) as both:
        both.register(ECHO)
        both.update(ECHO, weight=4)
        for url in pair:
            with open_registry(url) as one:
                assert [info.weight for info in one.resolve("echo")] == [4]
                assert one.services() == ("echo",)
        assert [status.registry for status in both.status()] == list(pair)
        assert both.readiness()
        assert both.services() == ("echo",)
        assert len(both.resolve("echo")) == 1
        both.probe()
        both.deregister(ECHO)
        assert both.resolve("echo") == ()


def test_finds_what_any_of_several_registries_has(pair: Sequence[str]) -> None:
    """The union by identity; the first one listed wins a clash; live."""
    with (
        open_registry(pair[0]) as one,
        open_registry(pair[1]) as two,
        open_registry([one, two]) as both,
        both.resolver("echo") as resolver,
    ):
        one.register(ECHO)
        two.register(Info(service_name="echo", addr="10.0.0.1:80", weight=77))
        two.register(OTHER)

        eventually(
            lambda: set(resolver.instances) == {ECHO, OTHER},
            within_s=10,
            why="both registries' lists have come",
        )
        assert set(both.resolve("echo")) == {ECHO, OTHER}
        one.deregister(ECHO)
        eventually(
            lambda: {info.weight for info in resolver.instances} == {77, 10},
            within_s=10,
            why="the second registry's record shows",
        )
        assert not resolver.stale


def test_takes_all_back_when_one_of_several_refuses(tmp_path: Path) -> None:
    """A server is in all of its registries or in none, and an update in all or in none."""
    url = f"local:{tmp_path / 'one'}"
    full = Info(service_name="echo", addr="10.0.0.1:80", weight=99)
    with open_registry([url, Noticeboard]) as both, open_registry(url) as one:
        with pytest.raises(UnavailableError, match="no room"):
            both.register(full)
        assert one.resolve("echo") == ()
        both.register(ECHO)
        with pytest.raises(UnavailableError, match="no room"):
            both.register(full)
        assert one.resolve("echo") == (ECHO,)
        with pytest.raises(UnavailableError, match="no room"):
            both.update(ECHO, weight=99)
        assert one.resolve("echo") == (ECHO,)
        assert [status.info for status in both.status()] == [ECHO, ECHO]


def test_serves_in_several_registries_after_the_main_thread_has_ended(pair: Sequence[str]) -> None:
    """A program may start its server's thread, and return."""
    done = subprocess.run(
        [sys.executable, "-c", AFTER_MAIN, *pair],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("4 10.0.0.1:80 10.0.0.2:80\n", "")


def test_refuses_a_list_that_names_one_registry_twice(pair: Sequence[str], url: str) -> None:
    """The two would be rivals for each registration, for ever."""
    with pytest.raises(InvalidOptionError, match="one': is named twice"):
        open_registry([*pair, pair[0]])
    with (
        open_registry(url) as one,
        pytest.raises(InvalidOptionError, match="is named twice"),
    ):
        open_registry([one, one])


@pytest.mark.parametrize("registries", [[], [["local"]]])
def test_refuses_a_list_that_names_nothing(registries: list[object]) -> None:
    """An empty list would register nowhere without a word."""
    with pytest.raises(InvalidOptionError, match="must n"):
        open_registry(registries)


def test_closes_what_it_opened_when_a_later_one_cannot_be(pair: Sequence[str]) -> None:
    """A failed start leaves nothing behind."""
    with pytest.raises(UnknownBackendError):
        open_registry([pair[0], "nosuch"])


@pytest.mark.parametrize(
    "target,is_local",
    [
        ("local", True),
        ("etcd", True),
        ("etcd://localhost:2379,[::1]:2379", True),
        ("etcd://127.0.0.1:2379,10.0.0.1:2379", False),
        (Noticeboard, False),
    ],
)
def test_knows_whether_the_backend_is_on_this_machine(target: object, *, is_local: bool) -> None:
    """A loopback address is of use there, and a mistake anywhere else."""
    with open_registry(target) as registry:
        assert registry.is_local is is_local


def test_a_wait_ends_when_the_last_of_several_registries_is_closed(pair: Sequence[str]) -> None:
    """Nobody waits for what cannot come any more."""
    with ExitStack() as opened:
        members = [opened.enter_context(open_registry(one)) for one in pair]
        both = opened.enter_context(open_registry(members))
        resolver = opened.enter_context(both.resolver("echo"))
        resolver.wait_for(0)
        ended: list[BaseException] = []

        def wait() -> None:
            try:
                resolver.wait_for(1, dt.timedelta(hours=1))
            except ClosedError as exc:
                ended.append(exc)

        waiting = threading.Thread(target=wait)
        waiting.start()
        for member in members:
            member.close()
        waiting.join(20)

        assert ended


def test_waits_for_and_tells_of_what_any_of_several_registries_has(pair: Sequence[str]) -> None:
    """A merged view wakes who waits and calls back, as a single one does, and ends when closed."""
    heard: list[int] = []
    with (
        open_registry(pair[1]) as two,
        open_registry(list(pair)) as both,
        both.resolver("echo") as resolver,
    ):
        unsubscribe = resolver.on_change(lambda snapshot: heard.append(len(snapshot.instances)))
        two.register(ECHO)
        assert resolver.wait_for(1, dt.timedelta(seconds=10)) == (ECHO,)
        assert resolver.pick() == ECHO
        eventually(lambda: 1 in heard, within_s=10, why="the callback heard of it")
        assert resolver.last_error is None
        assert "1 instances" in repr(resolver)
        unsubscribe()
        with pytest.raises(TimedOutError, match="there are 1"):
            resolver.wait_for(2, dt.timedelta(seconds=0.1))

    with pytest.raises(ClosedError):
        resolver.snapshot()
