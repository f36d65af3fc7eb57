"""The message of greet.proto as a class, made at run time: no generated code is kept here."""

from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

SAY = "/greet.Greeter/Say"
SERVICE, METHOD = SAY[1:].split("/")


def _greeting_class() -> Any:  # noqa: ANN401 - a class that no type checker knows
    field = descriptor_pb2.FieldDescriptorProto(
        name="text",
        number=1,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )
    file = descriptor_pb2.FileDescriptorProto(
        name="greet.proto",
        package="greet",
        syntax="proto3",
        message_type=[descriptor_pb2.DescriptorProto(name="Greeting", field=[field])],
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("greet.Greeting"))


Greeting = _greeting_class()


def to_wire(text: str) -> bytes:
    """Return a greeting as gRPC sends it."""
    wire: bytes = Greeting(text=text).SerializeToString()
    return wire


def from_wire(wire: bytes) -> str:
    """Return what a greeting says."""
    text: str = Greeting.FromString(wire).text
    return text
