"""A gRPC server under enlist, for tests that send it signals: MODE REGISTRY DRAIN_S [NAME]."""

import asyncio
import datetime as dt
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc  # noqa: TID253 - this program is a gRPC server
import grpc.aio  # noqa: TID253 - the same

import enlist.frameworks.grpc
from tests.lifecycle import LONG_CALL_S, SERVER_TAG

PID = str(os.getpid())
SLOWLY: Final = b"slowly"
"""Asks for a call that lasts for a while."""


class Who:
    """Answers with the server's name, at once or slowly."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def who(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        if request == SLOWLY:
            time.sleep(LONG_CALL_S)
        return self._name

    async def awho(self, request: bytes, _: object) -> bytes:
        if request == SLOWLY:
            await asyncio.sleep(LONG_CALL_S)
        return self._name


def handlers(method: Any) -> list[grpc.GenericRpcHandler]:  # noqa: ANN401 - sync or async
    unary: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(method)
    return [grpc.method_handlers_generic_handler("echo.Echo", {"Who": unary})]


def main(mode: str, registry: str, drain_s: str, name: str = PID) -> None:
    options = enlist.ServerOptions(
        basic_info=enlist.EndpointBasicInfo(service_name="echo", tags={SERVER_TAG: name}),
        registry=registry,
        drain=dt.timedelta(seconds=float(drain_s)),
    )
    if mode == "aio":
        asyncio.run(amain(options, name))
    else:
        server = grpc.server(ThreadPoolExecutor(), handlers=handlers(Who(name).who))
        enlist.frameworks.grpc.serve(server, options, "127.0.0.1:0")


async def amain(options: enlist.ServerOptions, name: str) -> None:
    server = grpc.aio.server(handlers=handlers(Who(name).awho))
    await enlist.frameworks.grpc.aserve(server, options, "127.0.0.1:0")


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.write("ended\n")
