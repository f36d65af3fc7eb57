"""What the web servers of the tests serve: the name of the server, at once or slowly."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from tests.lifecycle import LONG_CALL_S

NAME: Final = "ENLIST_TEST_SERVER"
"""The variable with the name of the server."""
SLOWLY: Final = "/slowly"
"""The path of a call that lasts for a while."""
PID: Final = "/pid"
"""The path at which the process tells its number."""

# Each server has types of its own for these.
Scope: TypeAlias = Any
Receive: TypeAlias = Any
Send: TypeAlias = Any


def said(path: str) -> bytes:
    return (str(os.getpid()) if path == PID else os.environ.get(NAME, "")).encode()


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["path"] == SLOWLY:
        await asyncio.sleep(LONG_CALL_S)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said(scope["path"])})


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == SLOWLY:
        sys.stderr.write("slowly\n")
        time.sleep(LONG_CALL_S)
    body = said(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
