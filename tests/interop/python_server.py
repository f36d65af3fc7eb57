"""A Python server for Kitex to find: PROTOCOL REGISTRY SERVICE HOST WEIGHT TAGS.

It is enlisted until its standard input ends. TAGS are key=value,key=value.
"""

import datetime as dt
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import grpc  # noqa: TID253 - this program is a gRPC server
from thriftpy2.protocol import TBinaryProtocolFactory
from thriftpy2.server import TThreadedServer
from thriftpy2.thrift import TProcessor
from thriftpy2.transport import TFramedTransportFactory, TServerSocket

import enlist.frameworks.grpc
from tests.interop import greeting
from tests.interop.thrift_idl import ECHO


class EchoHandler:
    def Say(self, request: Any) -> Any:  # noqa: ANN401, N802 - as the IDL names it
        return ECHO.Said(text=f"python heard {request.text}")


@contextmanager
def thrift(options: enlist.ServerOptions, host: str) -> Iterator[None]:
    """Serve framed Thrift, as Kitex's clients expect."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = TServerSocket(host, 0, socket_family=family, client_timeout=None)
    bound.listen()
    # The server would bind another port: this one is known already.
    bound.listen = bool  # type: ignore[method-assign]  # a function that does nothing
    server = TThreadedServer(
        TProcessor(ECHO.Echo, EchoHandler()),
        bound,
        iprot_factory=TBinaryProtocolFactory(),
        itrans_factory=TFramedTransportFactory(),
        daemon=True,
    )
    threading.Thread(target=server.serve, daemon=True).start()
    with enlist.enlisted(options, cast("socket.socket", bound.sock), payload_codec="thrift"):
        yield


@contextmanager
def grpc_server(options: enlist.ServerOptions, host: str) -> Iterator[None]:
    """Serve gRPC."""
    server = grpc.server(ThreadPoolExecutor())

    def say(wire: bytes, _: grpc.ServicerContext) -> bytes:
        return greeting.to_wire(f"python heard {greeting.from_wire(wire)}")

    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(say)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(greeting.SERVICE, {greeting.METHOD: method})]
    )
    listen = f"[{host}]:0" if ":" in host else f"{host}:0"
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
    with {"thrift": thrift, "grpc": grpc_server}[protocol](options, host):
        sys.stdout.write("enlisted\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
