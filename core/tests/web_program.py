"""An ASGI server under enlist, for tests that send it signals: KIND REGISTRY DRAIN_S [NAME]."""

import asyncio
import datetime as dt
import os
import sys
from collections.abc import Callable

import hypercorn
import uvicorn

import enlist.frameworks.hypercorn
import enlist.frameworks.uvicorn
from core.tests.web_app import NAME, asgi
from tests.lifecycle import SERVER_TAG

HERE = "127.0.0.1"


def run_uvicorn(options: enlist.ServerOptions) -> None:
    enlist.frameworks.uvicorn.serve(uvicorn.Config(asgi, host=HERE, port=0), options)


def run_uvicorn_in_a_loop(options: enlist.ServerOptions) -> None:
    server = uvicorn.Server(uvicorn.Config(asgi, host=HERE, port=0))
    asyncio.run(enlist.frameworks.uvicorn.aserve(server, options))


def run_hypercorn(options: enlist.ServerOptions) -> None:
    config = hypercorn.Config.from_mapping(bind=[f"{HERE}:0"])
    enlist.frameworks.hypercorn.serve(asgi, config, options)


KINDS: dict[str, Callable[[enlist.ServerOptions], None]] = {
    "uvicorn": run_uvicorn,
    "uvicorn-loop": run_uvicorn_in_a_loop,
    "hypercorn": run_hypercorn,
}


def main(kind: str, registry: str, drain_s: str, name: str = "") -> None:
    os.environ[NAME] = name
    KINDS[kind](
        enlist.ServerOptions(
            basic_info=enlist.EndpointBasicInfo(service_name="echo", tags={SERVER_TAG: name}),
            registry=registry,
            drain=dt.timedelta(seconds=float(drain_s)),
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.write("ended\n")
