"""The demo's client: follows a service and calls it without a pause, in a thread of its own."""

import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

import grpc

import enlist

CALL_TIMEOUT_S = 5.0


class Count(NamedTuple):
    """How many calls there were.

    Attributes:
        answered: at the first attempt.
        repeated: answered by another instance than was tried first.
        failed: at both.
    """

    answered: int = 0
    repeated: int = 0
    failed: int = 0

    def __sub__(self, other: "Count") -> "Count":
        """Return how many there were since `other` was taken."""
        return Count(*(mine - its for mine, its in zip(self, other, strict=True)))


class Client:
    """Calls whoever `pick()` gives, and another one if that fails; runs while the `with` does."""

    def __init__(self, resolver: enlist.Resolver) -> None:
        """Call the instances that the resolver knows."""
        self.resolver = resolver
        self.count = Count()
        self.last_error = ""
        self._channels: dict[enlist.Address, grpc.Channel] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-client")

    def call(self, instance: enlist.Info) -> str:
        """Say hello to one instance and return its answer; raises grpc.RpcError."""
        assert instance.addr is not None  # noqa: S101 - for the type checker
        with self._lock:
            channel = self._channels.get(instance.addr)
            if channel is None:
                channel = grpc.insecure_channel(str(instance.addr))
                self._channels[instance.addr] = channel
        hello: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/demo.Greeter/Hello"
        )
        return hello(b"client", timeout=CALL_TIMEOUT_S).decode()

    def _run(self) -> None:
        while not self._stop.is_set():
            answered, repeated, failed = self.count
            try:
                if self._call_someone():
                    answered += 1
                else:
                    repeated += 1
            except (grpc.RpcError, enlist.NoInstanceError) as exc:
                failed += 1
                self.last_error = str(exc)
            self.count = Count(answered, repeated, failed)

    def _call_someone(self) -> bool:
        """Call an instance, or else another one; return whether the first one answered."""
        first = self.resolver.pick()
        try:
            self.call(first)
        except grpc.RpcError as exc:
            self.last_error = str(exc)
            self.call(self.resolver.pick(exclude=[first]))
            return False
        return True

    def wait_for_calls(self, number: int, within_s: float) -> Count:
        """Wait until so many more calls were made, and return how they went."""
        before = self.count
        deadline = time.monotonic() + within_s
        while sum(self.count - before) < number and time.monotonic() < deadline:
            self._stop.wait(0.005)
        return self.count - before

    def __enter__(self) -> Self:
        """Begin to call."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, and close the connections."""
        self._stop.set()
        self._thread.join()
        for channel in self._channels.values():
            channel.close()
