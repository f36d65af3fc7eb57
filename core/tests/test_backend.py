"""One plugin with its extensions: fallbacks, wrappers, and which errors come out."""

import logging
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest

from core.tests.keeping_world import OURS, HandClock, World, WorldPlugin, server
from enlist.backend import Backend
from enlist.errors import (
    BackendSpecError,
    InvalidInfoError,
    PluginBugError,
    RegistryError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)
from enlist.hookspecs import Stop, hookimpl
from enlist.info import Info
from enlist.stopping import StopToken

ONE = server(1)


def backend(plugin: object, *extensions: object, clock: HandClock | None = None) -> Backend:
    return Backend(plugin, name="world", clock=clock or HandClock(), extensions=extensions)


class Seed:
    """The least that a plugin can be."""

    def __init__(self) -> None:
        self.records: dict[object, Info] = {}

    @hookimpl
    def register(self, info: Info) -> None:
        self.records[info.identity] = info

    @hookimpl
    def deregister(self, info: Info) -> None:
        self.records.pop(info.identity, None)


class Readable(Seed):
    """One that can be read."""

    @hookimpl
    def resolve(self, service_name: str) -> Sequence[Info]:
        return [info for info in self.records.values() if info.service_name == service_name]


def test_knows_what_a_plugin_can_do() -> None:
    """Abilities are the plugin's own, not what an extension wraps."""

    class Timing:
        @hookimpl(wrapper=True)
        def restore(self) -> Generator[None, Any, Any]:
            return (yield)

    assert backend(Seed(), Timing()).abilities == {"register", "deregister"}
    assert not backend(Seed()).can_resolve
    assert backend(Readable()).can_resolve


def test_registers_each_where_there_is_no_restore() -> None:
    """The bulk path works for the seed too."""
    plugin = Seed()

    assert backend(plugin).restore([ONE, server(2)], 1.0) == []

    assert len(plugin.records) == 2


def test_reports_those_that_failed_and_raises_only_if_all_did() -> None:
    """One error for one instance is no reason to forget the others."""

    class Picky(Seed):
        @hookimpl
        def register(self, info: Info) -> None:
            if info == ONE:
                raise UnavailableError("not now")

    (lost,) = backend(Picky()).restore([ONE, server(2)], 1.0)
    assert lost.info == ONE
    with pytest.raises(UnavailableError):
        backend(Picky()).restore([ONE], 1.0)


def test_removes_each_where_there_is_no_withdraw() -> None:
    """Closing works for the seed too."""
    plugin = Seed()
    plugin.register(ONE)

    assert backend(plugin).withdraw([ONE], 1.0) == ()

    assert plugin.records == {}


def test_refuses_to_read_what_only_publishes() -> None:
    """The error names the backend, not a missing method."""
    with pytest.raises(UnsupportedError, match="'world' only publishes"):
        backend(Seed()).resolve("echo", 1.0)
    with pytest.raises(UnsupportedError, match="'world' only publishes"):
        next(backend(Seed()).watch("echo", StopToken()))
    with pytest.raises(UnsupportedError, match="cannot list services"):
        backend(Readable()).services(1.0)


def test_resolves_by_the_first_list_of_a_watch() -> None:
    """A plugin that can only watch can be asked once, and the watch is ended."""
    stops: list[Stop] = []

    class Watching(Seed):
        @hookimpl
        def watch(self, stop: Stop) -> Iterator[Sequence[Info]]:
            stops.append(stop)
            yield [ONE]
            stop.wait(60)

    assert backend(Watching()).resolve("echo", 5.0) == (ONE,)
    assert stops[0].is_set()


def test_gives_up_on_a_watch_that_has_no_first_list() -> None:
    """The time that is allowed holds for the fallback too."""

    class Silent(Seed):
        @hookimpl
        def watch(self, stop: Stop) -> Iterator[Sequence[Info]]:
            stop.wait(60)
            yield from ()

    with pytest.raises(TimedOutError, match=r"no list of 'echo' within 0\.05 s"):
        backend(Silent()).resolve("echo", 0.05)


def test_watches_by_asking_and_yields_changes_alone() -> None:
    """Without watch the list is asked for, and an equal one is not yielded again."""
    plugin = Readable()
    stop = Impatient(plugin)

    lists = list(backend(plugin).watch("echo", stop))

    assert lists == [(), (ONE,)]
    assert stop.waits == [2.0] * 4


class Impatient(StopToken):
    """Does not wait; registers something meanwhile, and stops in the end."""

    def __init__(self, plugin: Readable) -> None:
        super().__init__()
        self.plugin = plugin
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        if len(self.waits) == 2:
            self.plugin.register(ONE)
        if len(self.waits) == 4:
            self.set()
        return self.is_set()


def test_probes_by_resolving_where_there_is_no_probe() -> None:
    """Any answer proves that the server answers."""
    world = World()
    backend(WorldProbe(world)).probe("echo", 1.0)
    assert world.calls == ["resolve"]


class WorldProbe(WorldPlugin):
    """One that can be read."""

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> Sequence[Info]:
        self.world.reach("resolve", timeout_s)
        return []


@pytest.mark.parametrize("answer", [None, 5, [1], ["x"]])
def test_calls_an_answer_of_the_wrong_kind_a_bug(answer: object) -> None:
    """None is what a forgotten return gives."""

    class Wrong(Seed):
        @hookimpl
        def resolve(self) -> object:
            return answer

    with pytest.raises(PluginBugError, match="list of Info"):
        backend(Wrong()).resolve("echo", 1.0)


def test_calls_a_beat_of_the_wrong_kind_a_bug() -> None:
    """The keeper relies on it."""

    class Wrong(Seed):
        @hookimpl
        def keep_alive(self) -> object:
            return []

    with pytest.raises(PluginBugError, match="answered list, not Beat"):
        backend(Wrong()).keep_alive([ONE], 1.0)


def test_lets_only_its_own_errors_out_of_a_watch() -> None:
    """A foreign exception between two lists is a bug of the plugin."""

    class Breaking(Seed):
        @hookimpl
        def watch(self) -> Iterator[Sequence[Info]]:
            yield []
            raise OSError("10.0.0.1: pa55word")

    lists = backend(Breaking()).watch("echo", StopToken())
    assert next(lists) == []
    with pytest.raises(PluginBugError, match="raised OSError") as caught:
        next(lists)
    assert "pa55word" not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_lets_a_refusal_of_the_plugin_through() -> None:
    """A limit of the backend reads like a rule of Info."""

    class Limited(Seed):
        @hookimpl
        def validate(self, info: Info) -> None:
            raise InvalidInfoError("weight", info.weight, "must not be 0 here")

    with pytest.raises(InvalidInfoError, match="must not be 0 here"):
        backend(Limited()).validate(ONE)


def test_calls_any_other_error_of_validate_a_bug() -> None:
    """Validation is pure, so nothing else can happen."""

    class Wrong(Seed):
        @hookimpl
        def validate(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(PluginBugError):
        backend(Wrong()).validate(ONE)


def test_lets_extensions_enrich_one_after_another() -> None:
    """Each sees what the one before it returned; None leaves it."""

    class Zone:
        @hookimpl
        def enrich(self, info: Info) -> Info:
            return Info(service_name=info.service_name, addr=info.addr, tags={"zone": "a"})

    class Nothing:
        @hookimpl
        def enrich(self) -> None:
            return None

    assert backend(Seed(), Nothing(), Zone()).enrich(ONE).tags == {"zone": "a"}


@pytest.mark.parametrize("enriched", [server(2), "echo"])
def test_refuses_an_extension_that_changes_the_identity(enriched: object) -> None:
    """It would register something that nobody asked for."""

    class Thief:
        @hookimpl
        def enrich(self, info: Info) -> object:
            return enriched

    with pytest.raises(InvalidInfoError, match="must keep service name and address"):
        backend(Seed(), Thief()).enrich(ONE)


def test_lets_extensions_wrap() -> None:
    """Timing and tracing stand around the call."""
    seen: list[str] = []

    class Tracing:
        @hookimpl(wrapper=True)
        def register(self, info: Info) -> Generator[None, None, None]:
            seen.append(f"before {info.service_name}")
            yield
            seen.append("after")

    plugin = Seed()
    backend(plugin, Tracing()).register(ONE, 1.0)

    assert seen == ["before echo", "after"]
    assert plugin.records


@pytest.mark.parametrize("hook", ["register", "watch", "validate"])
def test_refuses_an_extension_that_stands_in_for_the_backend(hook: str) -> None:
    """An extension never stores anything, so it may wrap and not implement."""

    class Usurper:
        pass

    def stand_in(_: object) -> None:
        return None

    setattr(Usurper, hook, hookimpl(stand_in))
    with pytest.raises(BackendSpecError, match=f"implements '{hook}'; an extension may only wrap"):
        backend(Seed(), Usurper())


def test_refuses_a_hook_that_the_spec_does_not_have() -> None:
    """A misspelt hook would never be called."""

    class Misspelt(Seed):
        @hookimpl
        def keepalive(self) -> None:
            pass

    with pytest.raises(BackendSpecError, match="keepalive"):
        backend(Misspelt())


def test_tells_every_extension_and_survives_each(caplog: pytest.LogCaptureFixture) -> None:
    """What one extension raises is logged, and the next one hears all the same."""
    heard: list[tuple[str, object]] = []

    class Deaf:
        @hookimpl
        def registration_changed(self) -> None:
            raise RuntimeError("deaf")

    class Listening:
        @hookimpl
        def registration_changed(self, state: str, error: RegistryError | None) -> None:
            heard.append((state, error))

        @hookimpl
        def instances_changed(self, service_name: str, stale: bool, registry: str) -> None:  # noqa: FBT001 - the hook's own signature
            heard.append((f"{service_name} in {registry}", stale))

    for extensions in ((Deaf(), Listening()), (Listening(), Deaf())):
        told = backend(Seed(), *extensions)
        with caplog.at_level(logging.ERROR):
            told.registration_changed(ONE, "enlisted", None)
        told.instances_changed("echo", [], stale=True)

    assert heard == [("enlisted", None), ("echo in world", True)] * 2
    assert caplog.text.count("RuntimeError: deaf") == 2


def test_logs_what_a_plugin_raises_on_closing(caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing else to do about it."""

    class Clinging(Seed):
        @hookimpl
        def close(self) -> None:
            raise OSError("still busy")

    backend(Clinging()).close(1.0)

    assert "failed to close" in caplog.text


def test_spends_one_time_budget_on_a_fallback_of_many_calls() -> None:
    """The second of two calls gets what the first has left."""
    clock = HandClock()
    given: list[float] = []

    class Slow:
        @hookimpl
        def register(self, timeout_s: float) -> None:
            given.append(timeout_s)
            clock.advance(0.75)

    left = backend(Slow(), clock=clock).restore([ONE, server(2), server(3)], 1.0)

    assert given == [1.0, 0.25]
    assert [lost.info for lost in left] == [server(3)]


def test_an_argument_more_does_not_break_a_plugin() -> None:
    """Plugins name the arguments that they take, so the spec may grow."""
    world = World()
    plugin = WorldPlugin(world)

    backend(plugin).register(ONE, 1.0)
    backend(Seed()).register(ONE, 1.0)

    assert world.records == {ONE.identity: (OURS, ONE)}
