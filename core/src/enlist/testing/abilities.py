"""What a backend says of itself before it is tested: :class:`Abilities` and :class:`Limits`.

Declared beforehand, so that a promise that fails cannot pass for one that was never made. An
ability that is claimed and fails is a failure. One that is not claimed is reported as that.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from enlist.info import MAX_WEIGHT, Info

__all__ = ["HOOKS", "NEEDED_METHODS", "Abilities", "Ability", "Limits"]

Ability: TypeAlias = Literal[
    "keep_alive",
    "restore",
    "withdraw",
    "resolve",
    "watch",
    "services",
    "probe",
    "validate",
    "atomic_compare_and_delete",
    "kill",
    "restart",
    "keeps_data",
    "freeze",
    "wipe",
    "delete_record",
    "expire",
    "foreign_records",
    "nested_names",
    "malformed_records",
    "compact",
    "credentials",
]
"""The name of a field of :class:`Abilities` that is either claimed or not."""

HOOKS: Final[tuple[Ability, ...]] = (
    "keep_alive",
    "restore",
    "withdraw",
    "resolve",
    "watch",
    "services",
    "probe",
    "validate",
)
"""The abilities that are hooks of the plugin."""

NEEDED_METHODS: Final[dict[Ability, tuple[str, ...]]] = {
    "kill": ("kill", "start"),
    "restart": ("restart",),
    "freeze": ("freeze", "thaw"),
    "wipe": ("wipe",),
    "delete_record": ("delete_record",),
    "expire": ("expire",),
    "foreign_records": ("put_foreign",),
    "nested_names": ("put_foreign",),
    "malformed_records": ("put_malformed",),
    "compact": ("compact",),
    "credentials": ("open_unauthorised",),
}
"""The methods of BackendUnderTest that each disturbance stands for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Which Infos a backend can carry. Without arguments: all that enlist allows.

    Attributes:
        known: False if nothing is known of the limits; then any refusal that names its field
            is believed.
        unix_addresses: whether the address of a unix socket can be carried.
        weights: the weights that can be carried.
        most_tags: how many tags.
        most_tags_bytes: the size of all tags together, in bytes of UTF-8.
        most_value_bytes: the size of the value of one tag.
        most_name_bytes: the size of a service name.
        service_name: a regular expression that a whole service name matches.
        tag_text: a regular expression that each key and each value of the tags matches whole.
    """

    known: bool = True
    unix_addresses: bool = True
    weights: range = range(MAX_WEIGHT + 1)
    most_tags: int = 64
    most_tags_bytes: int = 8_192
    most_value_bytes: int = 1_024
    most_name_bytes: int = 255
    service_name: str = r"(?s:.*)"
    tag_text: str = r"(?s:.*)"

    def passed_by(self, info: Info) -> str | None:
        """Return the field of ``info`` that passes a limit, or None if it lies within all."""
        tags = dict(info.tags or {})
        sizes = [len(text.encode()) for pair in tags.items() for text in pair]
        name = info.service_name
        if info.addr is not None and info.addr.network == "unix" and not self.unix_addresses:
            return "addr"
        if info.weight not in self.weights:
            return "weight"
        if len(name.encode()) > self.most_name_bytes or not re.fullmatch(self.service_name, name):
            return "service_name"
        fits = (
            len(tags) <= self.most_tags
            and sum(sizes) <= self.most_tags_bytes
            and max(sizes[1::2], default=0) <= self.most_value_bytes
            and all(re.fullmatch(self.tag_text, text) for pair in tags.items() for text in pair)
        )
        return None if fits else "tags"


@dataclass(frozen=True, kw_only=True, slots=True)
class Abilities:
    """What a backend claims. Hooks are claimed unless taken back, disturbances only if named.

    The times are those of the registry as ``BackendUnderTest.url`` opens it. Choose the smallest
    ttl that the server grants: most of the kit's time is spent waiting for it to pass.

    Attributes:
        ttl: the time to live that the server grants.
        granularity: how late the server itself may be in noticing that a ttl has passed.
        push: how long a change takes to reach a watch; judged by the median of many.
        restore_rate: how many records ``restore`` writes in one second.
        margin: what a busy machine may add to any time; raise it rather than retry.
        limits: which Infos can be carried.
        keep_alive: the plugin has this hook, and so for the next seven. Where it has not, the
            core's fallback is tested instead. A hook that it has and does not claim is an error.
        restore: this hook.
        withdraw: this hook.
        resolve: this hook.
        watch: this hook.
        services: this hook.
        probe: this hook.
        validate: this hook.
        atomic_compare_and_delete: the server compares the owner and removes, or repairs, in one
            step.
        kill: the server can be killed and started again (``kill``, ``start``).
        restart: it can be restarted with empty data (``restart``).
        keeps_data: what was registered is still there after ``kill`` and ``start``.
        freeze: it can be stopped so that it accepts and never answers (``freeze``, ``thaw``).
        wipe: its data can be removed while it runs (``wipe``).
        delete_record: one record can be deleted by hand (``delete_record``).
        expire: a lease can be revoked or a session ended (``expire``).
        foreign_records: records without an owner can be put there (``put_foreign``).
        nested_names: so can records of names that contain "/", which enlist forbids.
        malformed_records: records that nobody can read can be put there (``put_malformed``).
        compact: the server can be made to forget its past events (``compact``).
        credentials: the server refuses a wrong secret (``open_unauthorised`` and ``secret``).
    """

    ttl: dt.timedelta
    granularity: dt.timedelta = dt.timedelta(0)
    push: dt.timedelta = dt.timedelta(milliseconds=100)
    restore_rate: float = 1_000.0
    margin: dt.timedelta = dt.timedelta(seconds=1)
    limits: Limits = field(default_factory=Limits)

    keep_alive: bool = True
    restore: bool = True
    withdraw: bool = True
    resolve: bool = True
    watch: bool = True
    services: bool = True
    probe: bool = True
    validate: bool = True

    atomic_compare_and_delete: bool = False
    kill: bool = False
    restart: bool = False
    keeps_data: bool = False
    freeze: bool = False
    wipe: bool = False
    delete_record: bool = False
    expire: bool = False
    foreign_records: bool = False
    nested_names: bool = False
    malformed_records: bool = False
    compact: bool = False
    credentials: bool = False

    def claims(self, ability: Ability) -> bool:
        """Return whether that ability is claimed."""
        claimed: bool = getattr(self, ability)
        return claimed
