"""A backend that keeps nothing and sends nothing: what is left is what the core costs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pluggy

from enlist import AnyRegistry, Beat, Info, Stop, hookimpl
from enlist.hookspecs import PROJECT_NAME, RegistrySpec

_PORTS: Final = 60_000
_FIRST: Final = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainOptions:
    """No options."""


class PlainRegistry:
    """Answers at once. A service called ``n`` has ``n`` instances."""

    spec_version = 1
    Options = PlainOptions

    def __init__(self, options: PlainOptions, owner: str) -> None: ...

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None: ...

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None: ...

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        return Beat((), 15.0)

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> Sequence[Info]:
        return ()

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        yield infos(service_name, int(service_name))
        while not stop.wait(60.0):
            pass

    @hookimpl
    def probe(self, timeout_s: float) -> None: ...


def infos(service_name: str, count: int, host: int = 10) -> list[Info]:
    """Return ``count`` complete Infos of one service, each at an address of its own."""
    return [info(service_name, number, host) for number in range(count)]


def info(service_name: str, number: int, host: int = 10) -> Info:
    """Return one complete Info; no two numbers have the same address.

    Args:
        service_name: of the service.
        number: from -100,000 on.
        host: the first part of the address.
    """
    high, low = divmod(number + _FIRST, _PORTS)
    return Info(service_name=service_name, addr=f"{host}.0.{high // 256}.{high % 256}:{low + 1}")


def hooks_of(plugin: object) -> pluggy.HookRelay:
    """Return the hooks of a plugin object, to be called without the core."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(RegistrySpec)
    manager.register(plugin)
    return manager.hook


def register_each(registry: AnyRegistry, some: Iterable[Info]) -> None:
    """Register one after another."""
    for each in some:
        registry.register(each)


def deregister_each(registry: AnyRegistry, some: Iterable[Info]) -> None:
    """Deregister one after another."""
    for each in some:
        registry.deregister(each)
