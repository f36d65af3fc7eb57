"""etcd as directly as gRPC allows: what the plugin is compared with."""

from __future__ import annotations

import base64
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Self

from enlist import Info
from enlist_etcd.messages import LEASE_GRANT, PUT, TXN, WATCH, Method, load_messages
from enlist_etcd.operations import Operations, folder_end
from enlist_etcd.records import Keys, encode
from tests.servers.web import Web

PREFIX: Final = "kitex/registry-etcd"
OWNER: Final = "0123456789abcdef" * 2
_CALL_S: Final = 10.0
_LEASE_S: Final = 600
_COUNTER: Final = re.compile(
    r'^grpc_server_started_total\{.*?grpc_method="(\w+)".*?\} (\S+)$', re.MULTILINE
)


class RawEtcd:
    """One channel and stubs, no more; everything is written under one long lease."""

    def __init__(self, endpoint: str) -> None:
        import grpc

        self._endpoint = endpoint
        self._channel = grpc.insecure_channel(endpoint)
        self._classes = load_messages()
        self._operations = Operations(self._classes)
        self._put = self._stub(PUT)
        self._txn = self._stub(TXN)
        self._keys = Keys(PREFIX)
        self.lease = 77
        grant = self._classes[LEASE_GRANT.request](ID=self.lease, TTL=_LEASE_S)
        self._stub(LEASE_GRANT)(grant, timeout=_CALL_S)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel."""
        self._channel.close()

    def put(self, info: Info) -> None:
        """Write the record that the plugin writes, by one put."""
        key, value = self._keys.of(info), encode(info, OWNER)
        self._put(self._operations.plain_put(key, value, self.lease), timeout=_CALL_S)

    def remove(self, info: Info) -> None:
        """Remove a record by the transaction by which the plugin does it."""
        operations, key = self._operations, self._keys.of(info)
        condition = operations.leased(key, self.lease)
        request = operations.txn([condition], [operations.delete(key)], [operations.get(key)])
        self._txn(request, timeout=_CALL_S)

    def watch(self, service_name: str, note: Callable[[object], object]) -> Callable[[], None]:
        """Have a stream of its own call back for each answer with events; return what ends it.

        Its channel is its own as well: who watches is not who writes, and over one connection
        the answer to the put would bring the event along. When this returns the watch is in place.
        """
        import grpc

        requests: SimpleQueue[Any] = SimpleQueue()
        ready = threading.Event()
        folder = self._keys.folder(service_name)
        create = self._classes["WatchCreateRequest"](key=folder, range_end=folder_end(folder))
        requests.put(self._classes["WatchRequest"](create_request=create))
        # Channels to one address share a connection unless they are told not to.
        channel = grpc.insecure_channel(self._endpoint, [("grpc.use_local_subchannel_pool", 1)])
        stream: Any = channel.stream_stream(
            WATCH.path,
            request_serializer=self._classes[WATCH.request].SerializeToString,
            response_deserializer=self._classes[WATCH.response].FromString,
        )(_until_none(requests))

        def read() -> None:
            try:
                for response in stream:
                    ready.set()
                    if response.events:
                        note(response)
            except grpc.RpcError as exc:
                if not stream.cancelled():
                    raise RuntimeError("the raw watch broke") from exc

        thread = threading.Thread(target=read)
        thread.start()
        if not ready.wait(_CALL_S):
            raise TimeoutError("the raw watch did not begin")

        def end() -> None:
            requests.put(None)
            stream.cancel()
            thread.join()
            channel.close()

        return end

    def _stub(self, method: Method) -> Callable[..., Any]:
        stub: Callable[..., Any] = self._channel.unary_unary(
            method.path,
            request_serializer=self._classes[method.request].SerializeToString,
            response_deserializer=self._classes[method.response].FromString,
        )
        return stub


def _until_none(requests: SimpleQueue[Any]) -> Iterator[Any]:
    while (request := requests.get()) is not None:
        yield request


def calls_so_far(port: int) -> Counter[str]:
    """Return how many calls of each gRPC method etcd has taken, by its own count."""
    text = Web(port, None).request("GET", "/metrics").body.decode()
    counts: Counter[str] = Counter()
    for method, number in _COUNTER.findall(text):
        counts[method] += int(float(number))
    return counts


def keys_below(port: int, service_name: str) -> int:
    """Return how many records of a service there are, without gRPC."""
    folder = Keys(PREFIX).folder(service_name)
    request = {
        "key": base64.b64encode(folder).decode(),
        "range_end": base64.b64encode(folder_end(folder)).decode(),
        "count_only": True,
    }
    reply = Web(port, None).request("POST", "/v3/kv/range", request)
    return int(reply.json().get("count", 0))
