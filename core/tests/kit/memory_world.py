"""A :mod:`memory_server` process, and all that can be done to it: what the kit is told."""

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from core.tests.kit.memory_plugin import Answer
from enlist.info import Info
from enlist.registry import Registry
from enlist.testing import Abilities, BackendUnderTest, Limits
from tests.servers.ports import claim_port

SERVER = Path(__file__).with_name("memory_server.py")
TTL = dt.timedelta(seconds=2)
STARTS_WITHIN_S = 20.0


class MemoryUnderTest(BackendUnderTest):
    secret = "open-sesame-7d1f"
    wrong_secret = "guessed-90ab"
    abilities = Abilities(
        ttl=TTL,
        granularity=dt.timedelta(milliseconds=200),
        limits=Limits(unix_addresses=False),
        kill=True,
        restart=True,
        keeps_data=True,
        freeze=True,
        wipe=True,
        delete_record=True,
        expire=True,
        foreign_records=True,
        nested_names=True,
        malformed_records=True,
        credentials=True,
        atomic_compare_and_delete=True,
    )

    def __init__(self, name: str, folder: Path) -> None:
        self._folder = folder
        self._port = claim_port()  # nobody else gets it while the server is down
        self.url = f"{name}://127.0.0.1:{self._port.number}?ttl={TTL.total_seconds():g}s"
        self.options = {"password": self.secret}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def close(self) -> None:
        self.kill()
        self._port.release()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start(self) -> None:
        command = [sys.executable, "-S", str(SERVER), str(self._port.number), str(self._folder)]
        self._process = subprocess.Popen([*command, self.secret])
        end = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                self._ask("ping")
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                return

    def restart(self, *, wipe: bool = False) -> None:
        self.kill()
        if wipe:
            (self._folder / "state.json").unlink(missing_ok=True)
        self.start()

    def freeze(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGSTOP)
            os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    def wipe(self) -> None:
        self._ask("wipe")

    def delete_record(self, info: Info) -> None:
        self._ask("delete", keys=[record["key"] for record in self._records(info)])

    def expire(self, registry: Registry) -> None:
        for lease in {
            record["lease"] for status in registry.status() for record in self._records(status.info)
        }:
            self._ask("revoke", lease=lease)

    def put_foreign(self, info: Info, *, service_name: str = "") -> None:
        name = service_name or quote(info.service_name, safe="")
        key = f"{name}/{quote(str(info.addr), safe='')}"
        self._put(key, json.dumps({"weight": info.weight, "tags": dict(info.tags or {})}))

    def put_malformed(self, service_name: str) -> str:
        key = f"{quote(service_name, safe='')}/{quote('10.99.0.1:1', safe='')}"
        self._put(key, '{"weight": "heavy"')
        return key

    def open_unauthorised(self) -> Registry:
        return self.open(password=self.wrong_secret)

    def _put(self, key: str, value: str) -> None:
        self._ask("put", records=[{"key": key, "value": value, "owner": "", "lease": ""}])

    def _records(self, info: Info) -> list[dict[str, Any]]:
        prefix = f"{quote(info.service_name, safe='')}/{quote(str(info.addr), safe='')}"
        found: list[dict[str, Any]] = self._ask("list", prefix=prefix)
        return found

    def _ask(self, what: str, **arguments: Answer) -> Answer:
        request = {"do": what, "password": self.secret, **arguments}
        with (
            socket.create_connection(("127.0.0.1", self._port.number), 5.0) as connection,
            connection.makefile("rw", encoding="utf-8", newline="\n") as stream,
        ):
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            return json.loads(stream.readline())["answer"]
