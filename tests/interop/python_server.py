"""A Python server for Kitex to find: PROTOCOL REGISTRY SERVICE HOST WEIGHT TAGS.

It is enlisted until its standard input ends. TAGS are key=value,key=value.
"""

import datetime as dt
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from thriftpy2.thrift import TProcessor

import enlist.frameworks.grpc
import enlist.frameworks.thrift
from tests.interop import greeting
from tests.interop.thrift_idl import ECHO


class EchoHandler:
    def Say(self, request: Any) -> Any:  # noqa: ANN401, N802 - as the IDL names it
        return ECHO.Said(text=f"python heard {request.text}")


@contextmanager
def thrift_server(options: enlist.ServerOptions, listen: str) -> Iterator[None]:
    """Serve framed Thrift, as Kitex's clients expect."""
    processor = TProcessor(ECHO.Echo, EchoHandler())
    with enlist.frameworks.thrift.enlisted(processor, options, listen):
        yield


@contextmanager
def grpc_server(options: enlist.ServerOptions, listen: str) -> Iterator[None]:
    """Serve gRPC."""
    server = grpc.server(ThreadPoolExecutor())

    def say(wire: bytes, _: grpc.ServicerContext) -> bytes:
        return greeting.to_wire(f"python heard {greeting.from_wire(wire)}")

    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(say)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(greeting.SERVICE, {greeting.METHOD: method})]
    )
    with enlist.frameworks.grpc.enlisted(server, options, listen):
        yield


def main(protocol: str, registry: str, service: str, host: str, weight: str, tags: str) -> None:
    """Serve until the input ends."""
    options = enlist.ServerOptions(
        basic_info=enlist.EndpointBasicInfo(
            service_name=service, tags=dict(tag.split("=") for tag in tags.split(",") if tag)
        ),
        registry_info=enlist.Info(weight=int(weight)),
        registry=registry,
        drain=dt.timedelta(0),
    )
    listen = f"[{host}]:0" if ":" in host else f"{host}:0"
    with {"thrift": thrift_server, "grpc": grpc_server}[protocol](options, listen):
        sys.stdout.write("enlisted\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
