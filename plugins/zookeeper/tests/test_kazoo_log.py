"""What of kazoo's log comes out, and that no secret does."""

import logging

import pytest

from enlist_zookeeper.kazoo_log import KazooLog


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records]


def test_warnings_are_lowered(caplog: pytest.LogCaptureFixture) -> None:
    """A warning a second in an outage would drown what the core says once."""
    caplog.set_level(1)
    log = KazooLog()
    log.info("Connecting to %s", "h:1")
    log.warning("Connection dropped: %s", "refused")

    assert lines(caplog) == [
        (logging.DEBUG, "kazoo: Connecting to h:1"),
        (logging.DEBUG, "kazoo: Connection dropped: refused"),
    ]


def test_requests_never_come_out(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG kazoo writes requests, of which one is the user's password."""
    caplog.set_level(1)
    log = KazooLog()
    log.debug("Sending request(xid=%s): %s", 1, "Auth(auth='bob:secret')")
    log.log(5, "Using session_passwd: %s", b"secret")

    assert lines(caplog) == []


def test_errors_say_what_happened_and_not_to_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The request that an answer could not be read for may hold the session's password."""
    caplog.set_level(1)
    log = KazooLog()
    try:
        int("garbage")
    except ValueError:
        log.exception("Exception raised during deserialization of request: %s", "secret")

    ((level, line),) = lines(caplog)
    assert (level, line.startswith("kazoo: Exception raised")) == (logging.ERROR, True)
    assert "secret" not in caplog.text
    assert "ValueError: invalid literal" in caplog.text
