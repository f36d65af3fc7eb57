"""The asyncio twins of every call that may block: same names, same errors, awaited.

::

    async with enlist.aio.open_registry("etcd") as registry:
        await registry.register(info)
        async with registry.resolver("echo") as resolver:
            async for snapshot in resolver:
                ...

The calls run in a few threads of the registry's own; a wait for instances needs none. A call that
is cancelled cannot be stopped in its thread, so what it did is undone right after it: a cancelled
``register`` leaves no record behind, and a cancelled ``update`` leaves what was registered before.

For servers there are :func:`enlisted` and, for what ``asyncio.start_server`` makes, :func:`serve`.
"""

from enlist.aio.opening import open_registry
from enlist.aio.registry import AsyncRegistry
from enlist.aio.resolver import AsyncResolver
from enlist.serving.awaited import aenlisted as enlisted
from enlist.serving.awaited import aserve as serve

__all__ = ["AsyncRegistry", "AsyncResolver", "enlisted", "open_registry", "serve"]
