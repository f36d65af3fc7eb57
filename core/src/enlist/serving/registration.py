"""What a server that is enlisted holds: what was published, and a way to change it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace

from enlist.errors import EnlistError
from enlist.info import Info
from enlist.opening import AnyRegistry

__all__ = ["Registration"]


class Registration:
    """A server that is enlisted, for as long as it runs.

    Attributes:
        registry: where; its status and readiness tell how it goes.
    """

    def __init__(
        self, registry: AnyRegistry, info: Info, is_out: Callable[[], bool] = lambda: False
    ) -> None:
        """Hold what was registered where; :func:`enlisted` makes these.

        Args:
            registry: where.
            info: what.
            is_out: whether the server is out of the registry for now, as it is not healthy.
        """
        self.registry = registry
        self._info = info
        self._is_out = is_out

    @property
    def info(self) -> Info:
        """What is published now, but for what extensions add."""
        return self._info

    async def aupdate(
        self, *, weight: int | None = None, tags: Mapping[str, str] | None = None
    ) -> Info:
        """Do what :meth:`update` does, without blocking the event loop; done also if cancelled."""
        from enlist.own_thread import in_own_thread  # noqa: PLC0415 - it imports asyncio

        return await in_own_thread(
            functools.partial(self.update, weight=weight, tags=tags), "enlist-update"
        )

    def update(self, *, weight: int | None = None, tags: Mapping[str, str] | None = None) -> Info:
        """Change the weight or the tags in place; None leaves what is there. May block.

        A weight of 0 takes the server out of the traffic without taking it down. While the
        server is out as it is not healthy, the change is kept for when it comes back.

        Returns:
            What is published now, or then.

        Raises:
            InvalidInfoError: a value breaks its rule.
            RegistryError: as :meth:`enlist.Registry.update`; what was published stays.
        """
        before = self._info
        # First of all: whoever puts the server back in meanwhile puts it in as it is to be.
        self._info = replace(
            before,
            weight=before.weight if weight is None else weight,
            tags=before.tags if tags is None else tags,
        )
        try:
            if not self._is_out():
                self.registry.update(before, weight=weight, tags=tags)
        except EnlistError:
            if not self._is_out():  # or it was taken out at this very moment
                self._info = before
                raise
        return self._info
