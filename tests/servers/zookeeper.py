"""Real ZooKeeper servers: alone, as an ensemble, with TLS."""

import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from tests.servers.cluster import Cluster, Member
from tests.servers.fetch import ZOOKEEPER, find, find_java
from tests.servers.ports import HOST
from tests.servers.web import Tls

TICK_MS: Final = 500  # sessions of 1 s and more
# Debian's folder of jars holds several bindings of slf4j, of which one may be on the class path.
_JARS: Final = (
    *("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "metrics-core", "snappy-java"),
    *("netty-handler", "netty-transport", "netty-common", "netty-buffer", "netty-codec"),
    *("netty-resolver", "netty-transport-native-epoll", "netty-transport-native-unix-common"),
)
_CLOSE_SESSION: Final = -11


class ZooKeeperServer(Member):
    """One ZooKeeper, alone or a member of an ensemble.

    Args:
        name: Of the server.
        tls: Also listen with TLS, on `secure_port`; `port` stays plain for the harness.
    """

    kind = "ZooKeeper"
    _PLAIN: ClassVar[Mapping[str, object]] = {
        "tickTime": TICK_MS,
        "minSessionTimeout": 2 * TICK_MS,
        "maxSessionTimeout": 60_000,
        "clientPortAddress": HOST,
        "maxClientCnxns": 0,
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "*",
    }

    def __init__(self, name: str = "zookeeper", *, tls: Tls | None = None) -> None:
        super().__init__(name)
        self.tls: Final = tls
        self.port: Final = self.claim()
        self.secure_port: Final = None if tls is None else self.claim()
        self.quorum_address: Final = f"{HOST}:{self.claim()}:{self.claim()}"
        self._number = 0
        self._peers: Mapping[int, str] = {}

    @property
    def endpoint(self) -> str:
        """Where clients connect, as host:port; with TLS where this server has it."""
        return f"{HOST}:{self.secure_port or self.port}"

    def join(self, number: int, peers: Mapping[int, str]) -> None:
        """Make this a member of an ensemble; to be called before the first start.

        Args:
            number: Of this member.
            peers: Number to `quorum_address` of all members, this one among them.
        """
        self._number = number
        self._peers = dict(peers)

    def command(self) -> list[str]:
        """Write the configuration file and return Java with ZooKeeper's main class."""
        self._write_configuration()
        main = "quorum.QuorumPeerMain" if self._peers else "ZooKeeperServerMain"
        return [
            *(str(find_java()), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            # Not in /tmp/hsperfdata_*, which a killed Java leaves behind.
            *("-XX:-UsePerfData", f"-Djava.io.tmpdir={self.folder}"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *("-cp", _class_path(find(ZOOKEEPER))),
            f"org.apache.zookeeper.server.{main}",
            str(self._configuration),
        ]

    def _write_configuration(self) -> None:
        lines = [f"{name}={value}" for name, value in self._settings().items()]
        self._configuration.write_text("\n".join([*lines, ""]), encoding="utf-8")
        if self._peers:
            (self.data / "myid").write_text(f"{self._number}\n", encoding="ascii")

    def answers(self) -> bool:
        """Tell whether the server serves sessions, in an ensemble with a quorum."""
        return bool(self._mode())

    def leads(self) -> bool:
        """Tell whether this member is the ensemble's leader."""
        return self._mode() in {"leader", "standalone"}

    def four_letters(self, word: str, *, timeout_s: float = 5.0) -> str:
        """Send one of ZooKeeper's four letter words, such as "srvr", and return the answer.

        Raises:
            OSError: If the server is not reached, or does not answer within `timeout_s` seconds.
        """
        with socket.create_connection((HOST, self.port), timeout=timeout_s) as connection:
            connection.sendall(word.encode())
            with connection.makefile("r", encoding="utf-8") as reader:
                return reader.read()

    def expire(self, session_id: int, password: bytes) -> None:
        """End somebody's session, whose client learns that it has expired.

        It is joined from a second connection and closed there, which is ZooKeeper's own advice.

        Args:
            session_id: With `password` what kazoo calls `client_id`.
            password: The 16 bytes that the server gave to the session's owner.

        Raises:
            OSError: If the server is not reached.
            RuntimeError: If there is no such session (any more).
        """
        hello = struct.pack(">iqiqi16s?", 0, 0, 60_000, session_id, 16, password, False)
        with socket.create_connection((HOST, self.port), timeout=5) as connection:
            _send(connection, hello)
            _, timeout_ms = struct.unpack(">ii", _receive(connection)[:8])
            if timeout_ms <= 0:
                msg = f"{self!r} has no session {session_id:#x}."
                raise RuntimeError(msg)
            _send(connection, struct.pack(">ii", 1, _CLOSE_SESSION))
            _receive(connection)

    @property
    def _configuration(self) -> Path:
        return self.folder / "zoo.cfg"

    def _mode(self) -> str:
        """Return standalone, leader or follower, nothing while the server does not serve."""
        # A connection that is made while the server starts may never be answered; the next one is.
        for line in self.four_letters("srvr", timeout_s=0.5).splitlines():
            if line.startswith("Mode: "):
                return line.removeprefix("Mode: ")
        return ""

    def _settings(self) -> dict[str, object]:
        settings = {**self._PLAIN, "clientPort": self.port, "dataDir": self.data}
        if self._peers:
            settings |= {"initLimit": 20, "syncLimit": 10}
            settings |= {f"server.{number}": at for number, at in self._peers.items()}
        return settings | self._tls_settings()

    def _tls_settings(self) -> dict[str, object]:
        if self.tls is None:
            return {}
        return {
            "secureClientPort": self.secure_port,
            "secureClientPortAddress": HOST,
            "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
            "ssl.keyStore.type": "PEM",
            "ssl.keyStore.location": self.tls.server.both,
            "ssl.trustStore.type": "PEM",
            "ssl.trustStore.location": self.tls.ca,
            # Names in the clients' certificates; who signed them is still checked.
            "ssl.clientHostnameVerification": "false",
            "ssl.hostnameVerification": "false",
        }


def zookeeper_ensemble(size: int = 3) -> Cluster[ZooKeeperServer]:
    """Configure an ensemble; entering it starts it."""
    members = [ZooKeeperServer(f"zookeeper{number}") for number in range(1, size + 1)]
    peers = {number: member.quorum_address for number, member in enumerate(members, 1)}
    for number, member in enumerate(members, 1):
        member.join(number, peers)
    return Cluster(members)


def _class_path(jars: Path) -> str:
    """Name Debian's jars one by one; take all of a folder that has other names."""
    known = [jars / f"{name}.jar" for name in _JARS]
    return ":".join(map(str, known if all(jar.exists() for jar in known) else [jars / "*"]))


def _send(connection: socket.socket, packet: bytes) -> None:
    connection.sendall(struct.pack(">i", len(packet)) + packet)


def _receive(connection: socket.socket) -> bytes:
    (length,) = struct.unpack(">i", _receive_exactly(connection, 4))
    return _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise ConnectionError("ZooKeeper closed the connection.")
        data += more
    return data
