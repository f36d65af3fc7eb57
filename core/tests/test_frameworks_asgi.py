"""uvicorn and hypercorn: enlisted where they listen, when they do, and left before they stop."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import hypercorn
import pytest
import uvicorn

from core.tests.serving_world import (
    LONG,
    NO_TIME,
    found,
    fragile_backend,
    only_this_task_is_left,
    program,
)
from core.tests.web_app import PID, Receive, Scope, Send, asgi
from enlist.errors import InvalidOptionError, NotReadyError, ServingError, UnavailableError
from enlist.frameworks import hypercorn as under_hypercorn
from enlist.frameworks import uvicorn as under_uvicorn
from enlist.info import Info
from tests.servers.certificates import Authority
from tests.waiting import eventually

App = Callable[[Scope, Receive, Send], Awaitable[None]]


Given: TypeAlias = Any  # options of all kinds


async def aserve_uvicorn(app: App, bind: str, tls: Mapping[str, str], **settings: Given) -> None:
    host, _, port = bind.rpartition(":")
    config = uvicorn.Config(
        app,
        host=host.strip("[]"),
        port=int(port) if port.isdigit() else 0,
        uds=port if host == "unix" else None,
        ssl_certfile=tls.get("certfile"),
        ssl_keyfile=tls.get("keyfile"),
    )
    await under_uvicorn.aserve(config, "echo", **settings)


async def aserve_hypercorn(app: App, bind: str, tls: Mapping[str, str], **settings: Given) -> None:
    config = hypercorn.Config.from_mapping({"bind": [bind], **tls})
    await under_hypercorn.aserve(app, config, "echo", **settings)


SERVERS = {"uvicorn": aserve_uvicorn, "hypercorn": aserve_hypercorn}


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry of this test's own, by its URL."""
    return f"local:{tmp_path}/registry"


@pytest.fixture(params=sorted(SERVERS))
def aserve(request: pytest.FixtureRequest) -> Callable[..., Coroutine[Any, Any, None]]:
    """How each of the servers is started in a loop: app, address, certificates, settings."""
    return SERVERS[request.param]


async def enlisted(place: str, serving: asyncio.Future[None]) -> Info:
    """Wait until the server is in the registry, or has failed."""
    while not (infos := await asyncio.to_thread(found, place)):
        assert not serving.done(), serving.exception()
    return infos[0]


async def ended(serving: asyncio.Task[None]) -> None:
    """Cancel a server and wait for its end."""
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


@pytest.mark.parametrize("bind,host", [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")])
def test_aserve_publishes_where_it_listens(
    place: str, aserve: Callable[..., Any], bind: str, host: str
) -> None:
    """Port 0 is replaced by the port on which clients reach the server."""

    async def run() -> None:
        serving = asyncio.ensure_future(aserve(asgi, bind, {}, registry=place, drain=NO_TIME))
        info = await enlisted(place, serving)
        assert info.addr is not None
        assert (info.addr.host, info.payload_codec) == (host, "http")
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{info.addr}/")).status_code == 200
        await ended(serving)
        assert found(place) == ()

    asyncio.run(run())


def test_aserve_publishes_a_unix_socket(
    place: str, socket_folder: Path, aserve: Callable[..., Any]
) -> None:
    """A server on a unix socket is found by its path."""

    async def run() -> None:
        bind = f"unix:{socket_folder}/api.sock"
        serving = asyncio.ensure_future(aserve(asgi, bind, {}, registry=place, drain=NO_TIME))
        assert str((await enlisted(place, serving)).addr) == bind
        transport = httpx.AsyncHTTPTransport(uds=f"{socket_folder}/api.sock")
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get("http://api/")).status_code == 200
        await ended(serving)

    asyncio.run(run())


def test_aserve_passes_certificates_on(
    place: str, tmp_path: Path, aserve: Callable[..., Any]
) -> None:
    """A server with TLS is enlisted at the port that speaks it."""
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    tls = {"certfile": str(pair.certificate), "keyfile": str(pair.key)}
    context = ssl.create_default_context(cafile=authority.certificate)

    async def run() -> None:
        serving = asyncio.ensure_future(
            aserve(asgi, "127.0.0.1:0", tls, registry=place, drain=NO_TIME)
        )
        info = await enlisted(place, serving)
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            assert (await client.get(f"https://{info.addr}/")).status_code == 200
        await ended(serving)

    asyncio.run(run())


def test_aserve_enlists_after_the_lifespan_has_started(
    place: str, aserve: Callable[..., Any]
) -> None:
    """While the application starts nobody is sent to it, since it could not answer (S1)."""
    seen = []

    async def slow_to_start(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            seen.append(await asyncio.to_thread(found, place))
        await asgi(scope, receive, send)

    async def run() -> None:
        serving = asyncio.ensure_future(
            aserve(slow_to_start, "127.0.0.1:0", {}, registry=place, drain=NO_TIME)
        )
        await enlisted(place, serving)
        await ended(serving)

    asyncio.run(run())
    assert seen == [()]


def test_aserve_that_cannot_enlist_stops_the_server(aserve: Callable[..., Any]) -> None:
    """A server whose registry is away does not go on serving, and its lifespan ends well (S4)."""
    backend, held, up = fragile_backend()
    up.clear()
    heard = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def hears() -> Given:
            message = await receive()
            heard.append(message["type"])
            return message

        await asgi(scope, hears, send)

    async def run() -> None:
        with pytest.raises(UnavailableError):
            await aserve(app, "127.0.0.1:0", {}, registry=backend)

    asyncio.run(run())
    assert (held, heard) == ({}, ["lifespan.startup", "lifespan.shutdown"])


def test_aserve_that_is_not_ready_stops_the_server(place: str, aserve: Callable[..., Any]) -> None:
    """A server that does not say in time that it is ready has failed (S4)."""
    settings = {"ready": lambda: False, "ready_timeout": dt.timedelta(milliseconds=300)}

    async def run() -> None:
        with pytest.raises(NotReadyError):
            await aserve(asgi, "127.0.0.1:0", {}, registry=place, **settings)

    asyncio.run(run())
    assert found(place) == ()


def test_aserve_cancelled_leaves_and_again_skips_the_drain(
    place: str, aserve: Callable[..., Any]
) -> None:
    """A cancellation is a stop like any other: the server serves on until a second one."""

    async def run() -> None:
        serving = asyncio.ensure_future(aserve(asgi, "127.0.0.1:0", {}, registry=place, drain=LONG))
        info = await enlisted(place, serving)
        serving.cancel()
        while await asyncio.to_thread(found, place):
            pass
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{info.addr}/")).status_code == 200
        await ended(serving)

    asyncio.run(run())


@pytest.mark.parametrize(
    "kind,status",
    [("uvicorn", -signal.SIGTERM), ("uvicorn-loop", -signal.SIGTERM), ("hypercorn", 0)],
)
def test_serve_skips_the_drain_on_a_second_signal(place: str, kind: str, status: int) -> None:
    """It leaves on the first signal, answers meanwhile, and ends on the second as ever (S3)."""
    with program("web_program", kind, place, str(LONG.total_seconds())) as child:
        (info,) = eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        child.told(signal.SIGTERM)
        eventually(lambda: not found(place), why="the server is deregistered")
        answer = httpx.get(f"http://{info.addr}{PID}", trust_env=False)
        assert answer.text == str(child.process.pid)
        child.told(signal.SIGTERM)
        assert child.ended() == status, child.errors


def test_serve_ends_on_ctrl_c_without_a_traceback(place: str) -> None:
    """SIGINT ends a program under uvicorn as uvicorn.run does: what follows is run."""
    with program("web_program", "uvicorn", place, "0") as child:
        eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        child.told(signal.SIGINT)
        assert child.ended() == 0, child.errors
    assert child.said == ["ended"]
    assert found(place) == ()


def test_uvicorn_that_ends_by_itself_leaves_first(place: str) -> None:
    """A server that has served its last request is deregistered before it stops (S2)."""

    async def run() -> None:
        config = uvicorn.Config(asgi, port=0, limit_max_requests=1)
        serving = asyncio.ensure_future(
            under_uvicorn.aserve(config, "echo", registry=place, drain=dt.timedelta(seconds=1))
        )
        info = await enlisted(place, serving)
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{info.addr}/")).status_code == 200
            while await asyncio.to_thread(found, place):
                pass
            assert (await client.get(f"http://{info.addr}/")).status_code == 200
        await serving

    asyncio.run(run())


def test_uvicorn_on_an_inherited_socket_publishes_its_address(place: str) -> None:
    """A socket that was inherited by its number is one of TCP, whatever uvicorn takes it for."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            config = uvicorn.Config(asgi, fd=listener.fileno())
            serving = asyncio.ensure_future(
                under_uvicorn.aserve(config, "echo", registry=place, drain=NO_TIME)
            )
            assert str((await enlisted(place, serving)).addr) == f"127.0.0.1:{port}"
            await ended(serving)

    asyncio.run(run())


@pytest.mark.parametrize(
    "serve",
    [
        lambda **settings: under_uvicorn.serve(
            uvicorn.Config("a:app", workers=2), "echo", **settings
        ),
        lambda **settings: under_hypercorn.serve(
            asgi, hypercorn.Config.from_mapping(workers=2), "echo", **settings
        ),
    ],
    ids=["uvicorn", "hypercorn"],
)
def test_serve_refuses_several_processes(place: str, serve: Callable[..., None]) -> None:
    """What cannot hold for several processes says what to use instead, and starts nothing."""
    with pytest.raises(InvalidOptionError, match=r"workers=2.*enlist run -- "):
        serve(registry=place)


def test_hypercorn_refuses_an_end_after_so_many_requests(place: str) -> None:
    """It would stop to accept while clients are still sent to it, with no drain before (S2)."""
    config = hypercorn.Config.from_mapping(bind="127.0.0.1:0", max_requests=100)
    with pytest.raises(InvalidOptionError, match=r"max_requests=100.*enlist run -- "):
        under_hypercorn.serve(asgi, config, "echo", registry=place)


async def broken(_: Scope, receive: Receive, send: Send) -> None:
    """An application that cannot start."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


@pytest.mark.parametrize("app", [asgi, broken], ids=["port-in-use", "lifespan"])
def test_uvicorn_that_does_not_start_is_an_error(place: str, app: App) -> None:
    """A port in use or a failed lifespan ends the call, and neither the loop nor the program."""

    async def run() -> None:
        with pytest.raises(ServingError, match="uvicorn did not start; its log says why"):
            await under_uvicorn.aserve(config, "echo", registry=place)
        await only_this_task_is_left()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = uvicorn.Config(app, port=taken.getsockname()[1] if app is asgi else 0)
        with pytest.raises(ServingError, match="uvicorn did not start; its log says why"):
            under_uvicorn.serve(config, "echo", registry=place)
        asyncio.run(run())
    assert found(place) == ()


def test_hypercorn_whose_lifespan_fails_is_an_error(place: str) -> None:
    """The application's own failure is what the caller sees; nothing is enlisted (S4)."""
    with pytest.raises(Exception, match="no database"):
        asyncio.run(aserve_hypercorn(broken, "127.0.0.1:0", {}, registry=place))
    assert found(place) == ()


def test_hypercorn_ends_calls_that_outlast_its_limits(place: str) -> None:
    """A call that never ends does not keep the server from its end, on any Python."""

    async def run() -> None:
        calls = asyncio.Event()

        async def endless(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await asgi(scope, receive, send)
            calls.set()
            await asyncio.Event().wait()

        config = hypercorn.Config.from_mapping(bind="127.0.0.1:0", shutdown_timeout=0.5)
        grace = dt.timedelta(seconds=0.5)
        serving = asyncio.ensure_future(
            under_hypercorn.aserve(
                endless, config, "echo", registry=place, drain=NO_TIME, grace=grace
            )
        )
        info = await enlisted(place, serving)
        async with httpx.AsyncClient(trust_env=False, timeout=50) as client:
            calling = asyncio.ensure_future(client.get(f"http://{info.addr}/"))
            await calls.wait()
            await ended(serving)
            # On 3.11 hypercorn still says that it failed; from 3.12 on it is cut off.
            calling.cancel()
            await asyncio.wait([calling])

    asyncio.run(run())


def test_hypercorn_cancelled_within_the_grace_ends_at_once(place: str) -> None:
    """Whoever cancels the stop does not wait for a call that goes on, and no task is left."""

    async def run() -> None:
        calls = asyncio.Event()

        async def endless(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await asgi(scope, receive, send)
            calls.set()
            await asyncio.Event().wait()

        serving = asyncio.create_task(
            aserve_hypercorn(endless, "127.0.0.1:0", {}, registry=place, drain=NO_TIME)
        )
        info = await enlisted(place, serving)
        async with httpx.AsyncClient(trust_env=False, timeout=50) as client:
            calling = asyncio.ensure_future(client.get(f"http://{info.addr}/"))
            await calls.wait()
            serving.cancel()
            await asyncio.to_thread(eventually, lambda: not found(place), why="it leaves")
            await asyncio.sleep(0.5)  # then it waits for the call
            assert not serving.done()
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(serving, 20)
            calling.cancel()
            await asyncio.wait([calling])
        await only_this_task_is_left()

    asyncio.run(run())


PLAIN = """
import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def hello() -> str:
    return "hello"


uvicorn.run(app, port=0)
"""
ENLISTED = """
import uvicorn
from fastapi import FastAPI

import enlist.frameworks.uvicorn

app = FastAPI()


@app.get("/")
def hello() -> str:
    return "hello"


enlist.frameworks.uvicorn.serve(uvicorn.Config(app, port=0), "echo")
"""


def test_fastapi_server_is_enlisted_by_two_lines(place: str) -> None:
    """An existing server needs one import and another call where it is started."""
    new = set(ENLISTED.splitlines()) - set(PLAIN.splitlines())
    assert len(new) == 2
    environ = {**os.environ, "ENLIST_REGISTRY": place}
    with subprocess.Popen([sys.executable, "-W", "error", "-c", ENLISTED], env=environ) as server:
        try:
            (info,) = eventually(lambda: found(place), within_s=30, why="the server is enlisted")
            assert httpx.get(f"http://{info.addr}/", trust_env=False).json() == "hello"
        finally:
            server.kill()


@pytest.mark.parametrize("framework", ["uvicorn", "hypercorn", "gunicorn"])
def test_import_of_the_module_does_not_import_the_framework(framework: str) -> None:
    """A process that has no such server does not pay for it."""
    code = f"import sys, enlist.frameworks.{framework}; print('{framework}' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
