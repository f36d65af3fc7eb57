"""Extensions with which the kit looks at what reaches the plugin, and gets in its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any, TypeAlias

from enlist.errors import RegistryError
from enlist.hookspecs import hookimpl
from enlist.info import Info

__all__ = ["Counting", "Failing", "Listening"]

_Wrapper: TypeAlias = Generator[None, Any, Any]


class Counting:
    """Counts the calls of hooks that write, and those that failed.

    Attributes:
        calls: how many calls each hook got.
        failures: how many of them raised.
    """

    def __init__(self) -> None:
        """Count from nothing."""
        self.calls: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def _count(self, hook: str) -> _Wrapper:
        self.calls[hook] += 1
        try:
            return (yield)
        except Exception:
            self.failures[hook] += 1
            raise

    @hookimpl(wrapper=True)
    def register(self) -> _Wrapper:
        """Count."""
        return (yield from self._count("register"))

    @hookimpl(wrapper=True)
    def restore(self) -> _Wrapper:
        """Count."""
        return (yield from self._count("restore"))

    @hookimpl(wrapper=True)
    def keep_alive(self) -> _Wrapper:
        """Count."""
        return (yield from self._count("keep_alive"))


class Failing:
    """Raises once from within a beat what nobody foresaw.

    Attributes:
        armed: the exception to raise at the next beat; None once it was raised.
    """

    def __init__(self) -> None:
        """Do no harm yet."""
        self.armed: BaseException | None = None

    def _fail(self) -> None:
        armed, self.armed = self.armed, None
        if armed is not None:
            raise armed

    @hookimpl(wrapper=True)
    def keep_alive(self) -> _Wrapper:
        """Fail if armed."""
        self._fail()
        return (yield)

    @hookimpl(wrapper=True)
    def register(self) -> _Wrapper:
        """Fail if armed: where there is no ``keep_alive`` this is the beat."""
        self._fail()
        return (yield)


class Listening:
    """Hears what extensions are told.

    Attributes:
        changes: identity's service name, state and error of each change, in order.
    """

    def __init__(self) -> None:
        """Have heard nothing."""
        self.changes: list[tuple[str, str, RegistryError | None]] = []

    @hookimpl
    def registration_changed(self, info: Info, state: str, error: RegistryError | None) -> None:
        """Keep it."""
        self.changes.append((info.service_name, state, error))

    def states(self, info: Info) -> list[str]:
        """Return the states that a registration went through."""
        return [state for name, state, _ in self.changes if name == info.service_name]
