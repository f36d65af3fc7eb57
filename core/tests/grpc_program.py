"""A gRPC server under enlist, for tests that send it signals: MODE REGISTRY DRAIN_S."""

import asyncio
import datetime as dt
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # noqa: TID253 - this program is a gRPC server
import grpc.aio  # noqa: TID253 - the same

import enlist.frameworks.grpc

PID = str(os.getpid()).encode()


def who(_: bytes, __: grpc.ServicerContext) -> bytes:
    return PID


async def awho(_: bytes, __: object) -> bytes:
    return PID


def handlers(method: Any) -> list[grpc.GenericRpcHandler]:  # noqa: ANN401 - sync or async
    unary: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(method)
    return [grpc.method_handlers_generic_handler("echo.Echo", {"Who": unary})]


def main(mode: str, registry: str, drain_s: str) -> None:
    drain = dt.timedelta(seconds=float(drain_s))
    if mode == "aio":
        asyncio.run(amain(registry, drain))
    else:
        server = grpc.server(ThreadPoolExecutor(), handlers=handlers(who))
        enlist.frameworks.grpc.serve(server, "echo", "127.0.0.1:0", registry=registry, drain=drain)


async def amain(registry: str, drain: dt.timedelta) -> None:
    server = grpc.aio.server(handlers=handlers(awho))
    await enlist.frameworks.grpc.aserve(
        server, "echo", "127.0.0.1:0", registry=registry, drain=drain
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.write("ended\n")
