"""A small registry server that keeps everything in memory: a real process behind a real socket.

Run as ``python memory_server.py PORT FOLDER [PASSWORD]``. One JSON object a line each way. Leases
end by the server's own clock; a watch is a stream of full lists. Records and leases are kept in
FOLDER, so that a killed server has them again; each lease then begins anew.
"""

import ctypes
import json
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PAUSE_S = 0.02
PR_SET_PDEATHSIG = 1


class State:
    """What the server knows; used under its lock alone."""

    def __init__(self, file: Path, password: str) -> None:
        self.changed = threading.Condition()
        self.password = password
        self._file = file
        self._leases: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._records: dict[str, Json] = {}
        if file.exists():
            stored = json.loads(file.read_text())
            self._records, self._leases = stored["records"], stored["leases"]
            for lease, ttl_s in self._leases.items():
                self._ends[lease] = time.monotonic() + ttl_s

    def _store(self) -> None:
        written = self._file.with_suffix(".new")
        written.write_text(json.dumps({"records": self._records, "leases": self._leases}))
        written.replace(self._file)

    def _change(self) -> None:
        self._store()
        self.changed.notify_all()

    def expire(self) -> None:
        now = time.monotonic()
        for lease in [lease for lease, end in self._ends.items() if end <= now]:
            self.do_revoke(lease)

    def do_grant(self, lease: str, ttl_s: float) -> None:
        """Make a lease, or prolong it."""
        is_new = lease not in self._leases
        self._leases[lease], self._ends[lease] = ttl_s, time.monotonic() + ttl_s
        if is_new:
            self._store()

    def do_prolong(self, lease: str) -> float | None:
        """Prolong a lease; None if there is none."""
        if lease not in self._leases:
            return None
        self._ends[lease] = time.monotonic() + self._leases[lease]
        return self._leases[lease]

    def do_revoke(self, lease: str) -> None:
        self._leases.pop(lease, None)
        self._ends.pop(lease, None)
        dead = [key for key, record in self._records.items() if record["lease"] == lease]
        for key in dead:
            del self._records[key]
        self._change()

    def do_put(self, records: list[Json], *, only_vacant: bool = False) -> list[str]:
        """Write records with key, value, owner and lease; return the keys that others hold."""
        refused = []
        for record in records:
            held = self._records.get(record["key"])
            dead = record["lease"] and record["lease"] not in self._leases
            if dead or (only_vacant and held and held["owner"] != record["owner"]):
                refused.append(record["key"])
            else:
                self._records[record["key"]] = record
        self._change()
        return refused

    def do_delete(self, keys: list[str], owner: str | None = None) -> None:
        """Remove records; with an owner only where it is theirs, in one step."""
        for key in keys:
            held = self._records.get(key)
            if held is not None and owner in {None, held["owner"]}:
                del self._records[key]
        self._change()

    def do_list(self, prefix: str) -> list[Json]:
        found = (record for key, record in self._records.items() if key.startswith(prefix))
        return sorted(found, key=lambda record: str(record["key"]))

    def do_get(self, keys: list[str]) -> list[Json]:
        return [self._records[key] for key in keys if key in self._records]

    def do_wipe(self) -> None:
        self._records.clear()
        self._leases.clear()
        self._ends.clear()
        self._change()

    def do_ping(self) -> None:
        """Answer."""


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        state: State = self.server.state  # type: ignore[attr-defined]  # set in main()
        for line in self.rfile:
            request = json.loads(line)
            if request.pop("password", "") != state.password:
                self._say({"refused": "wrong password"})
            elif request["do"] == "watch":
                for answer in self._watch(state, request["prefix"]):
                    self._say(answer)
            else:
                method: Callable[..., Any] = getattr(state, f"do_{request.pop('do')}")
                with state.changed:
                    answer = {"answer": method(**request)}
                self._say(answer)

    def _say(self, answer: Json) -> None:
        self.wfile.write(json.dumps(answer).encode() + b"\n")

    def _watch(self, state: State, prefix: str) -> Iterator[Json]:
        before: list[Json] | None = None
        while True:
            with state.changed:
                while state.do_list(prefix) == before:
                    state.changed.wait()
                before = [dict(record) for record in state.do_list(prefix)]
            yield {"answer": before}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no news."""


def main() -> None:
    if sys.platform == "linux":  # end with the tests, also if these are killed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    port, folder, *password = sys.argv[1:]
    state = State(Path(folder) / "state.json", "".join(password))

    def end_leases() -> None:
        while True:
            time.sleep(PAUSE_S)
            with state.changed:
                state.expire()

    threading.Thread(target=end_leases, daemon=True).start()
    with Server(("127.0.0.1", int(port)), Handler) as server:
        server.state = state  # type: ignore[attr-defined]  # read by the handler
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
