"""The test module for a backend that is only known by its URL: what ``enlist conformance`` runs.

Nothing can be disturbed, and nothing is known of the backend's limits: what needs that is
reported as not claimed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import secrets
from typing import Any

import pytest

from enlist.backend_options import Target, read_options
from enlist.choosing.plugins import load
from enlist.info import Info
from enlist.testing.abilities import HOOKS, Abilities, Limits
from enlist.testing.making import NAME_PREFIX
from enlist.testing.suite import ConformanceSuite
from enlist.testing.trial import CALL_S
from enlist.testing.under_test import BackendUnderTest, implemented_hooks

__all__ = ["InstalledBackend", "TestInstalled", "under_test"]

UNKNOWN_PUSH = dt.timedelta(seconds=1)
UNKNOWN_RATE = 20.0


class InstalledBackend(BackendUnderTest):
    """A backend without disturbances. What it can do is read from its plugin."""

    def __init__(self, url: str) -> None:
        """Take the URL, and find out which hooks there are and which ttl the server grants."""
        self.url = url
        plugin = load(self.name).cls
        hooks: dict[str, Any] = {hook: hook in implemented_hooks(plugin) for hook in HOOKS}
        assumed = _option_ttl(url, plugin)
        self.abilities = Abilities(
            ttl=assumed,
            granularity=assumed,
            push=UNKNOWN_PUSH,
            restore_rate=UNKNOWN_RATE,
            limits=Limits(known=False),
            **hooks,
        )
        if self.abilities.keep_alive:
            self.abilities = dataclasses.replace(self.abilities, ttl=self._granted_ttl())

    def _granted_ttl(self) -> dt.timedelta:
        from enlist.testing.rules import RULES  # noqa: PLC0415
        from enlist.testing.trial import Trial  # noqa: PLC0415

        trial = Trial(RULES["R3"], self)
        try:
            backend = trial.backend()
            name = f"{NAME_PREFIX}{secrets.token_hex(4)}"
            info = Info(service_name=name, addr="10.77.0.1:8888")
            backend.register(info, CALL_S)
            granted_s = backend.keep_alive([info], CALL_S).valid_for_s
            backend.deregister(info, CALL_S)
        finally:
            trial.end()
        return dt.timedelta(seconds=granted_s)


def _option_ttl(url: str, plugin: type[Any]) -> dt.timedelta:
    options = read_options(plugin.Options, Target.parse(url), {}, os.environ)
    ttl = getattr(options, "ttl", None)
    return ttl if isinstance(ttl, dt.timedelta) else dt.timedelta(seconds=15)


@pytest.fixture(scope="module")
def under_test(pytestconfig: pytest.Config) -> InstalledBackend:
    """Give the backend that ``--enlist-url`` names."""
    url = pytestconfig.getoption("enlist_url")
    if not url:
        pytest.fail("give the registry to try with --enlist-url=URL", pytrace=False)
    return InstalledBackend(url)


class TestInstalled(ConformanceSuite):
    """Every rule, as far as it can be tried without disturbing the server."""
