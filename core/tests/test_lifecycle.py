"""Servers of each RPC framework, started, stopped, killed and restarted, with no call lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lifecycle import fleet, load
from tests.rpc_fleet import AIO_CLIENTS, KINDS, Kind

pytestmark = pytest.mark.flaky(reruns=0)  # a second try would hide a lost call
DRAIN_S = 3.0  # half of the default; clients on a busy machine learn late

each_kind = pytest.mark.parametrize("kind", [*KINDS, AIO_CLIENTS], ids=lambda kind: kind.name)


@each_kind
@pytest.mark.timeout(120)
def test_rolling_restart_loses_no_call(tmp_path: Path, kind: Kind) -> None:
    """Clients that call without a pause see three servers replaced, and lose no call (S2)."""
    place = f"local:{tmp_path}/registry"
    with (
        fleet(kind.command(place, DRAIN_S), place, 3) as servers,
        kind.plain_client(place) as call,
        load(call) as calls,
    ):
        calls.reaches(servers.names)
        servers.roll()
        calls.reaches(servers.names)
    calls.check(servers)


@each_kind
@pytest.mark.timeout(120)
def test_death_of_a_server_loses_no_call_that_may_be_repeated(tmp_path: Path, kind: Kind) -> None:
    """Clients of a server that is killed go on with the others, before the registry has noticed."""
    place = f"local:{tmp_path}/registry"
    with (
        fleet(kind.command(place, DRAIN_S), place, 3) as servers,
        kind.client(place, repeatable=True) as call,
        load(call) as calls,
    ):
        calls.reaches(servers.names)
        servers.kill(servers.names[0])
        calls.go_on()
    calls.check(servers)
