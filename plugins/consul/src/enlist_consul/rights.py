"""What an empty list may mean: where ACLs keep all back, Consul answers as if nobody were there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from enlist.errors import RegistryError, UnauthorisedError
from enlist.info import Info
from enlist_consul.client import Client
from enlist_consul.deadline import Deadline
from enlist_consul.failures import NoAclsError
from enlist_consul.operations import OWN_TOKEN

__all__ = ["EmptyLists"]

# Asked between two lists of a watch, which has to end at once when it is stopped.
_ASK_S: Final = 0.15
_MAY_ALL: Final = "00000000-0000-0000-0000-000000000001"
"""The policy that every Consul has, and whose tokens nothing is kept back from."""

_logger = logging.getLogger(__name__)


class EmptyLists:
    """Says once that an empty list may be one of missing rights, where that can be so."""

    def __init__(self, client: Client) -> None:
        """Take what asks whether there are ACLs."""
        self._client = client
        self._is_settled = False

    def heed(self, service_name: str, found: Sequence[Info]) -> None:
        """Look at a list; never raises. What could not be found out is asked with the next."""
        if found or self._is_settled:
            return
        try:
            is_open = self._hides_nothing()
        except RegistryError as exc:
            _logger.debug("consul: whether there are ACLs is not known yet: %s", exc)
            return
        self._is_settled = True
        if not is_open:
            _logger.warning(
                "consul: no instance of %r was found. If there should be one, the token, or who "
                'has none, may lack service "%s" { policy = "read" } or node_prefix "" '
                '{ policy = "read" }: Consul then answers with an empty list.',
                service_name,
                service_name,
            )

    def _hides_nothing(self) -> bool:
        try:
            token = self._client.call(OWN_TOKEN, Deadline(_ASK_S)).json()
        except NoAclsError:
            return True
        except UnauthorisedError:
            return False  # there are ACLs, and no token that Consul knows
        policies = token.get("Policies") if isinstance(token, dict) else None
        return any(one["ID"] == _MAY_ALL for one in policies or ())
