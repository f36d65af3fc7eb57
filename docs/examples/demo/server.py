"""One gRPC server of the demo: REGISTRY SERVICE NAME. Enlists itself, and leaves on SIGTERM."""

import datetime as dt
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

import enlist.frameworks.grpc

DRAIN = dt.timedelta(seconds=2)  # shorter than the default, so that the demo is


def main(registry: str, service: str, name: str) -> None:
    """Serve until SIGTERM."""

    def hello(request: bytes, _: grpc.ServicerContext) -> bytes:
        return b"hello " + request + b", this is " + name.encode()

    # Bytes in and bytes out, so that the demo needs no generated code.
    handler = grpc.method_handlers_generic_handler(
        "demo.Greeter", {"Hello": grpc.unary_unary_rpc_method_handler(hello)}
    )
    server = grpc.server(ThreadPoolExecutor(), handlers=[handler])
    threading.Thread(target=end_with_parent, daemon=True).start()
    enlist.frameworks.grpc.serve(
        server, service, "127.0.0.1:0", registry=registry, tags={"name": name}, drain=DRAIN
    )


def end_with_parent() -> None:
    """Stop when the other end of the standard input is closed: the demo itself was killed."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
