"""Changes of registrations as log lines: one for many of the same cause, at the right level."""

import logging

import pytest

from core.tests.keeping_world import HandClock, World, WorldPlugin, server
from enlist.backend import Backend
from enlist.errors import RegistryError, UnauthorisedError, UnavailableError
from enlist.keeping.announcer import Announcer
from enlist.states import Change, State


@pytest.fixture
def announcer() -> Announcer:
    return Announcer(Backend(WorldPlugin(World()), name="world", clock=HandClock()))


@pytest.mark.parametrize(
    "state,error,level",
    [
        (State.ENLISTED, None, logging.INFO),
        (State.LEFT, None, logging.INFO),
        (State.LOST, None, logging.WARNING),
        (State.SUPERSEDED, None, logging.WARNING),
        (State.PENDING, UnavailableError("refused"), logging.WARNING),
        (State.UNCONFIRMED, UnavailableError("refused"), logging.WARNING),
        (State.UNCONFIRMED, UnauthorisedError("token expired"), logging.ERROR),
    ],
)
def test_logs_at_the_level_that_fits(
    announcer: Announcer,
    caplog: pytest.LogCaptureFixture,
    state: State,
    error: RegistryError | None,
    level: int,
) -> None:
    """Trouble that passes is a warning; what somebody must mend is an error."""
    with caplog.at_level(logging.INFO, "enlist"):
        announcer([Change(server(1), state, error)])

    (record,) = caplog.records
    assert record.levelno == level
    assert state.value in record.getMessage()
    assert error is None or str(error) in record.getMessage()


def test_logs_one_line_for_many_of_the_same_cause(
    announcer: Announcer, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage under ten thousand registrations is one event."""
    error = UnavailableError("refused")
    changes = [Change(server(number), State.UNCONFIRMED, error) for number in range(100)]

    with caplog.at_level(logging.INFO, "enlist"):
        announcer([*changes, Change(server(7), State.LOST, None)])

    assert [record.getMessage() for record in caplog.records] == [
        "world: echo at 10.0.0.1:80 and 99 more: unconfirmed (UnavailableError: refused)",
        "world: echo at 10.0.0.8:80: lost",
    ]
