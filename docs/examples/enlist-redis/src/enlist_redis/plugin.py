"""The plugin: what users choose, the hooks, and talking to Redis."""

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redis import Connection, exceptions

from enlist import Beat, Info, Lost, Stop, Why, errors, hookimpl
from enlist.backend_options import Hosts, Secret, option, read_secret
from enlist.records import Decoded, from_text, to_text
from enlist_redis import scripts

# How often a watch looks whether it is to stop, and how long it waits for an answer.
LOOK_S, ANSWER_S = 0.1, 3.0
# What the client's classes mean and, since it has none for most of what fails inside of a script,
# the server's words; the first that fits. A failover passes, and so does a memory that is full.
PASSING = "BUSY|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|UNBLOCKED"
MEANING = {
    "TimeoutError": errors.TimedOutError,
    "AuthenticationError|NoPermissionError|ACL failure|user executing": errors.UnauthorisedError,
    f"ConnectionError|{PASSING}": errors.UnavailableError,
    "": errors.RejectedError,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisOptions:
    """What users can choose."""

    host: Hosts = option("127.0.0.1:6379", help="the server", url="hosts", default_port=6379)
    prefix: str = option("enlist", help="how every key begins", url="path")
    ttl: dt.timedelta = option(dt.timedelta(seconds=15), help="how long a record outlives us")
    username: str = option("default", help="whose password it is")
    password: Secret = option(Secret(), help="the password, where the server asks for one")
    password_file: Path | None = option(None, help="a file that holds the password")

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if len(self.host) != 1:
            raise errors.InvalidOptionError("host", str(self.host), "must be one server")
        if not dt.timedelta(seconds=1) <= self.ttl <= dt.timedelta(days=1):
            raise errors.InvalidOptionError("ttl", str(self.ttl), "must be 1 second to 1 day")


def infos_of(found: list[Any], known: Decoded[bytes]) -> list[Info]:
    """Return what the script LIST found, in the order of the keys."""
    rows = sorted((key.decode(), text) for key, text in found)
    return [record.info for record in known.update(rows)]


class RedisRegistry:
    """Each hook is one script on a connection of its own: hooks are rare, a watch keeps its one."""

    spec_version = 1
    Options = RedisOptions

    def __init__(self, options: RedisOptions, owner: str) -> None:
        """Take the options; no I/O."""
        self._options, self._owner, self._ttl_s = options, owner, options.ttl.total_seconds()
        self._common = (options.prefix, owner, round(self._ttl_s * 1_000))

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        """Write the record, whoever's stands there."""
        self._each("register", [info], timeout_s)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        """Write the records, except where another owner's stands."""
        return self._each("restore", infos, timeout_s)

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        """Let the records that are ours live for another ttl."""
        return Beat(self._each("renew", infos, timeout_s), self._ttl_s)

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        """Remove the record if it is ours."""
        self._each("remove", [info], timeout_s)

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        """Return who is there; what has expired Redis no longer has."""
        return infos_of(self._run(timeout_s, scripts.LIST, service_name)[-1], Decoded(from_text))

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        """Yield the list, and look again when the bell rings or a record may have expired."""
        known, shown = Decoded[bytes](from_text), None
        with self._line(ANSWER_S, stop) as ask:
            while answer := ask(ANSWER_S, "EVAL", scripts.LIST, 0, *self._common, service_name):
                bell, rung, wait_ms, found = answer
                if (infos := infos_of(found, known)) != shown:
                    yield infos
                shown = infos
                ask(wait_ms / 1_000 + ANSWER_S, "XREAD", "BLOCK", wait_ms, "STREAMS", bell, rung)

    @hookimpl
    def services(self, timeout_s: float) -> list[str]:
        """Return the names of which somebody is there."""
        until = time.monotonic() + timeout_s
        names = [name.decode() for name in self._run(timeout_s, scripts.NAMES)]
        return [name for name in names if self.resolve(name, until - time.monotonic())]

    def _each(self, verb: str, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        """Do the same to all records in one step; return those that are not ours afterwards."""
        texts = (to_text(info, self._owner) for info in infos)
        found = zip(infos, self._run(timeout_s, scripts.EACH, verb, *texts), strict=True)
        return [Lost(info, Why(state.decode())) for info, state in found if state != b"ours"]

    def _run(self, timeout_s: float, script: str, *arguments: str) -> Any:  # noqa: ANN401 - each script answers otherwise
        until = time.monotonic() + timeout_s
        with self._line(timeout_s) as ask:
            return ask(until - time.monotonic(), "EVAL", script, 0, *self._common, *arguments)

    @contextmanager
    def _line(self, timeout_s: float, stop: Stop | None = None) -> Iterator[Callable[..., Any]]:
        """Yield what asks on a connection that sends nothing by itself: that none could stop."""
        server = self._options.host[0]
        times = dict.fromkeys(("socket_connect_timeout", "socket_timeout"), max(timeout_s, LOOK_S))
        line = Connection(server.host, server.port, **times, driver_info=None, protocol=2)
        ask = partial(self._ask, line, stop)
        try:
            if secret := read_secret(self._options.password, self._options.password_file):
                ask(timeout_s, "AUTH", self._options.username, secret.reveal())
            yield ask
        finally:
            line.disconnect()

    def _ask(self, line: Connection, stop: Stop | None, limit_s: float, *command: object) -> Any:  # noqa: ANN401 - as above
        """Return the answer to a command; None if stopped before or meanwhile."""
        until = time.monotonic() + limit_s
        try:
            line.send_command(*command)
            while stop is None or not stop.is_set():
                if line.can_read(max(0, min(LOOK_S, until - time.monotonic()))):
                    return line.read_response()
                if time.monotonic() > until:
                    raise exceptions.TimeoutError(f"no answer within {limit_s:g} s")
        except exceptions.RedisError as exc:
            said = f"{type(exc).__mro__} {exc.status_code} {exc}"
            kind = next(ours for words, ours in MEANING.items() if re.search(words, said))
            raise kind(f"redis at {self._options.host[0]}: {exc}") from exc
        return None
