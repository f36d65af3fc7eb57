"""The instances of one service as its keys change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from enlist.info import Info
from enlist.records import Decoded, Record
from enlist_etcd.messages import Message
from enlist_etcd.records import Keys, decode, key_text

__all__ = ["Listing"]


class Listing:
    """Keeps what was decoded, so that one change among thousands costs one decoding.

    For one thread at a time. A malformed record is left out, with one warning.
    """

    def __init__(self, keys: Keys, service_name: str) -> None:
        """Know of no instance yet.

        Args:
            keys: how keys are made up.
            service_name: whose instances.
        """
        self._keys = keys
        self._service_name = service_name
        self._folder = key_text(keys.folder(service_name))
        self._values: dict[str, bytes] = {}
        self._decoded: Decoded[bytes] = Decoded(self._decode)
        self._infos: list[Info] = []

    def fill(self, pairs: Iterable[Message]) -> list[Info]:
        """Take in all keys and values that there are; return the instances."""
        self._apply((pair.key, pair.value) for pair in pairs)
        self._infos = self._list()
        return self._infos

    def change(self, changes: Mapping[bytes, bytes | None]) -> list[Info] | None:
        """Take in new values, None for removed keys; return the instances if they changed."""
        self._apply(changes.items())
        infos = self._list()
        if infos == self._infos:
            return None
        self._infos = infos
        return infos

    def _apply(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        for key, value in changes:
            if self._keys.split(key) is None:
                continue
            if value is None:
                self._values.pop(key_text(key), None)
            else:
                self._values[key_text(key)] = value

    def _list(self) -> list[Info]:
        return [record.info for record in self._decoded.update(self._values.items())]

    def _decode(self, key: str, value: bytes) -> Record:
        return decode(self._service_name, key.removeprefix(self._folder), value)
