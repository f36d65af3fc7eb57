"""Thrift servers of thriftpy2: enlisted where they listen, and stopped between two calls."""

from __future__ import annotations

import datetime as dt
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from thriftpy2.protocol import (  # noqa: TID253 - the tests are Thrift's clients and servers
    TBinaryProtocolFactory,
    TCompactProtocolFactory,
)
from thriftpy2.rpc import make_client, make_server  # noqa: TID253 - the same
from thriftpy2.server import TSimpleServer, TThreadedServer  # noqa: TID253 - the same
from thriftpy2.thrift import TProcessor  # noqa: TID253 - the same
from thriftpy2.transport import (  # noqa: TID253 - the same
    TFramedTransportFactory,
    TServerSocket,
    TSSLServerSocket,
    TTransportException,
)

from core.tests.serving_world import LONG, NO_TIME, found, fragile_backend, program
from core.tests.thrift_program import PID, Who, who_thrift
from enlist.address import Address
from enlist.errors import InvalidOptionError, NotReadyError, ServingError, UnavailableError
from enlist.frameworks.thrift import enlisted, serve
from enlist.frameworks.thrift_server import Protocols, ThriftServer
from enlist.info import Info
from enlist.serving.binding import listener
from tests.servers.certificates import Certificates
from tests.servers.ports import free_port
from tests.waiting import eventually

SHORT = dt.timedelta(milliseconds=300)
FRAMED = Protocols(
    itrans=TFramedTransportFactory(),
    iprot=TBinaryProtocolFactory(),
    otrans=TFramedTransportFactory(),
    oprot=TBinaryProtocolFactory(),
)


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry of this test's own, by its URL."""
    return f"local:{tmp_path}/registry"


@pytest.fixture
def processor() -> TProcessor:
    """What answers the calls of a server."""
    return TProcessor(who_thrift.Who, Who())


@contextmanager
def client_of(info: Info, **settings: Any) -> Iterator[Any]:  # noqa: ANN401 - thriftpy2 has no type
    """A client as a user makes one, framed unless told otherwise."""
    assert info.addr is not None
    settings.setdefault("trans_factory", TFramedTransportFactory())
    where: dict[str, Any] = {"host": info.addr.host, "port": info.addr.port}
    if info.addr.network == "unix":
        where = {"unix_socket": info.addr.host}
    with closing(make_client(who_thrift.Who, **where, timeout=20_000, **settings)) as client:
        yield client


def test_enlisted_publishes_a_framed_server_and_stops_it(processor: TProcessor, place: str) -> None:
    """Framed clients reach the server at the published address inside the block alone."""
    with enlisted(processor, "echo", "127.0.0.1:0", registry=place, drain=NO_TIME) as registration:
        (info,) = found(place)
        assert info == registration.info
        assert info.payload_codec == "thrift"
        with client_of(info) as client:
            assert [client.who(slowly=False) for _ in range(3)] == [PID] * 3
    assert found(place) == ()
    with pytest.raises(TTransportException, match="Could not connect"), client_of(info):
        pass


@pytest.mark.parametrize("listen", [":0", "[::1]:0", "localhost:0"])
def test_enlisted_listens_where_it_is_told(processor: TProcessor, place: str, listen: str) -> None:
    """Every address, IPv6 and names are listened on as they are written."""
    with enlisted(
        processor, "echo", listen, registry=place, advertise="127.0.0.1", drain=NO_TIME
    ) as registration:
        port = registration.info.addr.port if registration.info.addr else 0
        host = "::1" if "::1" in listen else "127.0.0.1"
        with socket.create_connection((host, port)):
            pass


def test_enlisted_takes_a_unix_socket_and_replaces_a_stale_one(
    processor: TProcessor, place: str, socket_folder: Path
) -> None:
    """What a server that has ended left behind does not keep the next one from listening."""
    for _ in range(2):
        with (
            enlisted(
                processor, "echo", f"unix:{socket_folder}/s", registry=place, drain=NO_TIME
            ) as it,
            client_of(it.info) as client,
        ):
            assert it.info.addr == Address.unix(f"{socket_folder}/s")
            assert client.who(slowly=False) == PID


@pytest.mark.parametrize("listen", ["", "8888", "127.0.0.1", "127.0.0.1:x", None])
def test_enlisted_refuses_what_is_no_address(processor: TProcessor, listen: Any) -> None:  # noqa: ANN401 - what users may pass
    """A malformed or missing address is refused before anything is bound."""
    with pytest.raises(InvalidOptionError, match=r"^listen="), enlisted(processor, "echo", listen):
        pass


def test_enlisted_on_a_port_in_use_says_so(processor: TProcessor) -> None:
    """The address that could not be bound is in the error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ServingError, match=f"could not listen on '{listen}'"),
            enlisted(processor, "echo", listen),
        ):
            pass


def test_enlisted_serves_a_server_as_it_is(processor: TProcessor, place: str) -> None:
    """A server of thriftpy2 keeps its address, its transport and its protocol."""
    where = TServerSocket("127.0.0.1", 0)
    compact = TThreadedServer(processor, where, iprot_factory=TCompactProtocolFactory())
    with (
        enlisted(compact, "echo", registry=place, drain=NO_TIME) as registration,
        client_of(
            registration.info,
            trans_factory=compact.itrans_factory,
            proto_factory=TCompactProtocolFactory(),
        ) as client,
    ):
        assert client.who(slowly=False) == PID


def test_enlisted_serves_a_server_with_its_certificate(
    processor: TProcessor, place: str, certificates: Certificates
) -> None:
    """A server with TLS answers with TLS, and stops like any other while a client is connected."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.tls.server.certificate, certificates.tls.server.key)
    trusting = ssl.create_default_context(cafile=certificates.tls.ca)
    server = TThreadedServer(processor, TSSLServerSocket("127.0.0.1", 0, ssl_context=context))
    with (
        enlisted(server, "echo", registry=place, drain=NO_TIME) as registration,
        client_of(
            registration.info,
            trans_factory=server.itrans_factory,
            ssl_context=trusting,
        ) as client,
    ):
        assert [client.who(slowly=False) for _ in range(3)] == [PID] * 3


def test_enlisted_with_both_a_server_and_an_address_is_refused(processor: TProcessor) -> None:
    """A server listens where it was made to, and not in two places."""
    server = TThreadedServer(processor, TServerSocket("127.0.0.1", 0))
    with (
        pytest.raises(InvalidOptionError, match="left out for a server"),
        enlisted(server, "echo", "127.0.0.1:0"),
    ):
        pass


def test_enlisted_refuses_other_servers(processor: TProcessor) -> None:
    """A server of one thread would be served by many: it is refused, and the right ones named."""
    simple: Any = TSimpleServer(processor, TServerSocket("127.0.0.1", 0))
    with (
        pytest.raises(InvalidOptionError, match="TProcessor or a TThreadedServer"),
        enlisted(simple, "echo"),
    ):
        pass


def test_serve_takes_what_make_server_makes(place: str) -> None:
    """The one line that users have is kept, and its serve() replaced by ours."""
    port = free_port()
    server = make_server(who_thrift.Who, Who(), "127.0.0.1", port)

    with enlisted(server, "echo", registry=place, drain=NO_TIME) as registration:
        assert registration.info.addr == Address.tcp("127.0.0.1", port)
        with client_of(registration.info, trans_factory=server.itrans_factory) as client:
            assert client.who(slowly=False) == PID


def test_idle_connection_is_kept_beyond_the_time_for_a_call(
    processor: TProcessor, place: str
) -> None:
    """A client may be silent between two calls for as long as it likes, and not within one."""
    where = TServerSocket("127.0.0.1", 0, client_timeout=100)
    server = TThreadedServer(processor, where, itrans_factory=TFramedTransportFactory())
    with (
        enlisted(server, "echo", registry=place, drain=NO_TIME) as registration,
        client_of(registration.info) as idle,
        connected(registration.info) as pausing,
    ):
        assert idle.who(slowly=False) == PID
        pausing.sendall(b"\0")
        assert pausing.recv(1) == b""
        assert idle.who(slowly=False) == PID


@contextmanager
def connected(info: Info) -> Iterator[socket.socket]:
    """A connection that sends what a test sends."""
    assert info.addr is not None
    with socket.create_connection((info.addr.host, info.addr.port), timeout=20) as client:
        yield client


def test_connection_for_which_there_is_no_thread_does_not_end_the_server(
    processor: TProcessor, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone is closed; the server serves the next one, and stops as ever."""
    start = threading.Thread.start
    failed = threading.Event()

    def start_later(thread: threading.Thread) -> None:
        if thread.name.startswith("enlist-thrift") and not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    with enlisted(processor, "who", "127.0.0.1:0", registry=place, drain=NO_TIME) as registration:
        with client_of(registration.info) as client:
            # By now whoever asked whether the port accepts has had its thread.
            assert client.who(slowly=False) == PID
        monkeypatch.setattr(threading.Thread, "start", start_later)
        with connected(registration.info) as refused:
            assert refused.recv(1) == b""
        assert failed.is_set()
        with client_of(registration.info) as client:
            assert client.who(slowly=False) == PID


def test_errors_of_a_handler_are_answered_or_end_one_connection(
    processor: TProcessor, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A declared exception is an answer; a bug is logged, and costs its caller the connection."""
    with (
        enlisted(processor, "echo", "127.0.0.1:0", registry=place, drain=NO_TIME) as registration,
        client_of(registration.info) as client,
        client_of(registration.info) as another,
    ):
        with pytest.raises(who_thrift.Refused):
            client.refuse(declared=True)
        with pytest.raises(TTransportException):
            client.refuse(declared=False)
        assert another.who(slowly=False) == PID
    assert "a bug of the handler" in caplog.text


def test_oneway_calls_and_the_next_one_are_answered_in_turn(
    processor: TProcessor, place: str
) -> None:
    """Calls that arrive together, since nobody waits for the first, are all served."""
    with (
        enlisted(processor, "echo", "127.0.0.1:0", registry=place, drain=NO_TIME) as registration,
        client_of(registration.info) as client,
    ):
        for number in range(3):
            client.note(str(number))
        assert client.notes() == ["0", "1", "2"]


def test_stop_lets_a_running_call_end_and_closes_idle_connections(place: str) -> None:
    """On a stop an idle connection is closed at once, a busy one after its answer."""
    handler = Who(go_on=threading.Event())
    answers: list[str] = []
    with ExitStack() as clients:
        with enlisted(
            TProcessor(who_thrift.Who, handler),
            "echo",
            "127.0.0.1:0",
            registry=place,
            drain=NO_TIME,
            grace=LONG,
        ) as registration:
            busy = clients.enter_context(client_of(registration.info))
            idle = clients.enter_context(client_of(registration.info))
            assert idle.who(slowly=False) == PID
            running = threading.Thread(target=lambda: answers.append(busy.who(slowly=True)))
            running.start()
            assert handler.asked.wait(20)
            let_go = threading.Thread(target=closed_then, args=(idle, handler.go_on))
            let_go.start()
        running.join()
        let_go.join()
        assert answers == [PID]
        with pytest.raises(TTransportException):
            busy.who(slowly=False)


def closed_then(client: Any, go_on: threading.Event) -> None:  # noqa: ANN401 - as above
    """Wait until a client's connection is closed by the server, then go on."""
    assert client._iprot.trans.sock.recv(1) == b""
    go_on.set()


def test_stop_answers_a_call_that_had_arrived(place: str) -> None:
    """A call that was sent before the stop is answered, although nobody had read it yet."""
    handler = Who()
    listening = ThriftServer(
        TProcessor(who_thrift.Who, handler),
        listener("127.0.0.1:0"),
        FRAMED,
        call_timeout=LONG,
        grace=LONG,
    )
    with listening as server:
        info = Info(addr=Address.tcp(*server.socket.getsockname()[:2]))
        with client_of(info) as client:
            client._send("who", slowly=False)
            stopping = threading.Thread(target=server.shutdown)
            stopping.start()
            server.serve_forever()
            stopping.join()
            assert client._recv("who") == PID


def test_stop_cuts_a_call_that_outlasts_the_grace(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A call has the grace to end, and does not keep its server for longer."""
    handler = Who(go_on=threading.Event())
    failed: list[Exception] = []

    def call(client: Any) -> None:  # noqa: ANN401 - as above
        try:
            client.who(slowly=True)
        except TTransportException as exc:
            failed.append(exc)

    with ExitStack() as clients:
        with enlisted(
            TProcessor(who_thrift.Who, handler),
            "echo",
            "127.0.0.1:0",
            registry=place,
            drain=NO_TIME,
            grace=SHORT,
        ) as registration:
            client = clients.enter_context(client_of(registration.info))
            running = threading.Thread(target=call, args=(client,))
            running.start()
            assert handler.asked.wait(20)
        running.join()
        assert handler.go_on is not None
        handler.go_on.set()
    assert len(failed) == 1
    assert "longer than the grace" in caplog.text


def test_enlisted_that_fails_stops_the_server(processor: TProcessor) -> None:
    """A server that could not be enlisted does not go on serving (S4)."""
    backend, held, up = fragile_backend()
    up.clear()
    where = TServerSocket("127.0.0.1", 0)
    with (
        pytest.raises(UnavailableError),
        enlisted(TThreadedServer(processor, where), "echo", registry=backend),
    ):
        pass
    assert where.sock is not None
    assert where.sock.fileno() == -1  # closed
    assert held == {}


def test_enlisted_that_is_not_ready_stops_the_server(processor: TProcessor, place: str) -> None:
    """A server that never says that it is ready is stopped, and was never enlisted (S4)."""
    where = TServerSocket("127.0.0.1", 0)
    with (
        pytest.raises(NotReadyError),
        enlisted(
            TThreadedServer(processor, where),
            "echo",
            registry=place,
            ready=lambda: False,
            ready_timeout=SHORT,
        ),
    ):
        pass
    assert where.sock is not None
    assert where.sock.fileno() == -1
    assert found(place) == ()


def test_serve_outside_the_main_thread_leaves_nothing(processor: TProcessor, place: str) -> None:
    """A refused serve closes what it had opened (S4)."""
    where = TServerSocket("127.0.0.1", 0)
    errors: list[ServingError] = []

    def run() -> None:
        try:
            serve(TThreadedServer(processor, where), "echo", registry=place)
        except ServingError as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
    assert where.sock is not None
    assert where.sock.fileno() == -1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_skips_the_drain_on_a_second_signal(place: str, number: signal.Signals) -> None:
    """It leaves on the first signal and ends on the second, with status 0 (S3)."""
    with program("thrift_program", place, str(LONG.total_seconds())) as child:
        (info,) = eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        child.told(number)
        eventually(lambda: not found(place), why="the server is deregistered")
        with client_of(info) as client:
            assert client.who(slowly=False) == str(child.process.pid)
        child.told(number)
        assert child.ended() == 0, child.errors
    assert child.said == ["ended"]


def test_import_of_the_module_does_not_import_thriftpy2() -> None:
    """A process that has no Thrift server does not pay for thriftpy2."""
    code = "import sys, enlist.frameworks.thrift; print('thriftpy2' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
