"""Python clients of both kinds: they call an instance that they found in a registry."""

import socket

import grpc
from thriftpy2.protocol import TBinaryProtocolFactory
from thriftpy2.thrift import TClient
from thriftpy2.transport import TFramedTransportFactory, TSocket

from enlist import Info
from tests.interop import greeting
from tests.interop.thrift_idl import ECHO

WITHIN_S = 20


def call(protocol: str, instance: Info, text: str) -> str:
    """Say something to an instance, and return what it answers."""
    return {"thrift": _call_thrift, "grpc": _call_grpc}[protocol](instance, text)


def _call_thrift(instance: Info, text: str) -> str:
    addr = instance.addr
    assert addr is not None
    family = socket.AF_INET6 if ":" in addr.host else socket.AF_INET
    opened = TSocket(addr.host, addr.port, socket_family=family, socket_timeout=WITHIN_S * 1000)
    transport = TFramedTransportFactory().get_transport(opened)
    transport.open()
    try:
        client = TClient(ECHO.Echo, TBinaryProtocolFactory().get_protocol(transport))
        answer: str = client.Say(ECHO.Said(text=text)).text
    finally:
        transport.close()
    return answer


def _call_grpc(instance: Info, text: str) -> str:
    with grpc.insecure_channel(str(instance.addr)) as channel:
        say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(greeting.SAY)
        return greeting.from_wire(say(greeting.to_wire(text), timeout=WITHIN_S))
