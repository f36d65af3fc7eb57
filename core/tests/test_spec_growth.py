"""The Registry spec may grow within a major version, and every plugin goes on as it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pluggy
import pytest

from enlist import Beat, Info, Stop, hookimpl
from enlist.choosing.plugin_checks import check_class
from enlist.hookspecs import PROJECT_NAME, SPEC_VERSION, RegistrySpec

_spec = pluggy.HookspecMarker(PROJECT_NAME)
INFO = Info(service_name="echo", addr="10.0.0.1:80")


class GrownSpec(RegistrySpec):
    """A later minor version: two hooks have one argument more, and one hook is new."""

    @_spec(firstresult=True)
    def register(  # type: ignore[override]  # a spec that has grown is what is tried
        self, info: Info, timeout_s: float, reason: str
    ) -> None:
        """Be told why."""

    @_spec(firstresult=True)
    def watch(  # type: ignore[override]  # as above
        self, service_name: str, stop: Stop, since: int
    ) -> Iterator[Sequence[Info]]:
        """Be told from when on."""
        raise NotImplementedError

    @_spec(firstresult=True)
    def measure(self, timeout_s: float) -> float:
        """Be new."""
        raise NotImplementedError


@dataclass(frozen=True)
class OldOptions:
    """Nothing to choose."""


class OldPlugin:
    """Made for the spec as it is today."""

    spec_version = SPEC_VERSION
    Options = OldOptions

    def __init__(self, options: OldOptions, owner: str) -> None:
        self.registered: list[Info] = []

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        self.registered.append(info)

    @hookimpl
    def deregister(self, info: Info) -> None:
        self.registered.remove(info)

    @hookimpl
    def keep_alive(self, infos: Sequence[Info]) -> Beat:
        return Beat([], 15.0)

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        yield self.registered


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> pluggy.PluginManager:
    """What a later core makes of the old plugin."""
    monkeypatch.setattr("enlist.choosing.plugin_checks.RegistrySpec", GrownSpec)
    cls = check_class(OldPlugin, "backend 'old'")
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(GrownSpec)
    manager.register(cls(OldOptions(), "f" * 32), name="old")
    manager.check_pending()
    return manager


def test_an_argument_more_is_passed_to_those_that_name_it(manager: pluggy.PluginManager) -> None:
    """A plugin gets the arguments that it names, so a new one reaches nobody unasked."""
    plugin = manager.get_plugin("old")

    manager.hook.register(info=INFO, timeout_s=1.0, reason="first")

    assert isinstance(plugin, OldPlugin)
    assert plugin.registered == [INFO]
    assert next(manager.hook.watch(service_name="echo", stop=None, since=7)) == [INFO]


def test_a_hook_more_is_one_that_the_plugin_lacks(manager: pluggy.PluginManager) -> None:
    """The core sees that it is missing, and has a fallback for it as for every other."""
    plugin = manager.get_plugin("old")

    offered = {caller.name for caller in manager.get_hookcallers(plugin) or ()}

    assert offered == {"register", "deregister", "keep_alive", "watch"}
    assert manager.hook.measure(timeout_s=1.0) is None
