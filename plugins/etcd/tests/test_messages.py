import subprocess
import sys

import pytest

from enlist_etcd.messages import load_messages, parse_proto


def test_messages_are_those_of_the_proto_with_etcds_numbers() -> None:
    """A request has the bytes that etcd's own definition gives it."""
    classes = load_messages()
    request = classes["PutRequest"](key=b"k", value=b"v", lease=300)
    assert request.SerializeToString() == b"\x0a\x01k\x12\x01v\x18\xac\x02"
    event = classes["WatchResponse"].FromString(b"\x10\x07\x5a\x09\x08\x01\x12\x05\x0a\x03a/b")
    assert (event.watch_id, event.events[0].type, event.events[0].kv.key) == (7, 1, b"a/b")


def test_messages_ignore_fields_that_they_do_not_know() -> None:
    """A newer etcd may say more."""
    found = load_messages()["LeaseGrantResponse"].FromString(b"\x18\x0f\xfa\x3f\x03new")
    assert found.TTL == 15


def test_parse_proto_understands_messages_and_fields() -> None:
    """Comments, plain fields, repeated ones and fields of other messages are read."""
    source = """
    message A {  // message B { bytes c = 1; }
      bytes key = 1;  // a comment
      repeated B others = 3;
    }
    """
    ((name, fields),) = parse_proto(source)
    assert name == "A"
    assert [(field["name"], field["number"], field["label"]) for field in fields] == [
        ("key", 1, 1),
        ("others", 3, 3),
    ]
    assert fields[1]["type_name"] == ".enlist_etcd.B"


def test_messages_do_not_meet_those_of_another_etcd_library() -> None:
    """Another library's etcd messages in protobuf's common pool clash with nothing of ours."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="kv.proto", package="mvccpb", syntax="proto3")
    file.message_type.add(name="KeyValue").field.add(name="key", number=1, label=1, type=12)
    common = descriptor_pool.Default()
    common.AddSerializedFile(file.SerializeToString())
    first, second = load_messages(), load_messages()
    assert first["KeyValue"] is not second["KeyValue"]
    with pytest.raises(KeyError):
        common.FindMessageTypeByName("enlist_etcd.KeyValue")


def test_plugin_is_imported_without_grpc_and_protobuf() -> None:
    """Choosing a backend and reading its options costs no import of gRPC."""
    program = (
        "import sys, enlist_etcd.plugin; "
        "print([name for name in sys.modules if name in ('grpc', 'google.protobuf')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.strip() == "[]"
