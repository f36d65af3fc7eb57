"""What the tests register: names that nobody else uses, and Infos that the backend can carry."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import Any, Final

from enlist.errors import InvalidInfoError
from enlist.info import Info
from enlist.testing.abilities import Limits

__all__ = ["NAME_PREFIX", "Making"]

NAME_PREFIX: Final = "enlist-kit-"
"""How the service names of the kit begin, in whatever registry it runs."""
USUAL_WEIGHT: Final = Info().weight
ADDRESSES: Final = 250


class Making(ABC):
    """Makes Infos that the backend can carry; a test asks for more only to see it refused."""

    def __init__(self, limits: Limits) -> None:
        """Have made nothing yet; ``limits`` is what the backend declares."""
        self._limits = limits
        self._number = 0
        usual = USUAL_WEIGHT in limits.weights
        self._weight = USUAL_WEIGHT if usual else limits.weights[0]

    @abstractmethod
    def validate(self, info: Info) -> None:
        """Ask the plugin, and raise InvalidInfoError for what it refuses."""

    def service(self, ending: str = "") -> str:
        """Return a service name that nobody else uses."""
        return f"{NAME_PREFIX}{secrets.token_hex(4)}{ending}"

    def info(self, service_name: str = "", **fields: Any) -> Info:  # noqa: ANN401 - an Info's own
        """Return a complete Info; each has another address unless one is given."""
        self._number += 1
        high, low = divmod(self._number, ADDRESSES)
        fields.setdefault("addr", f"10.77.{high}.{low + 1}:8888")
        fields.setdefault("weight", self._weight)
        return Info(service_name=service_name or self.service(), **fields)

    def carries(self, info: Info) -> bool:
        """Return whether the backend carries that: as it declares, or else as its plugin says."""
        if self._limits.known:
            return self._limits.passed_by(info) is None
        try:
            self.validate(info)
        except InvalidInfoError:
            return False
        return True

    def numbered(self, number: int, key: str = "") -> dict[str, Any]:
        """Return fields of an Info that are others for each number, as far as can be carried.

        Args:
            number: the weight; a tag, if it cannot be that.
            key: of a tag that has the number in any case.
        """
        fields: dict[str, Any] = {"weight": number} if self._carries(weight=number) else {}
        if key or not fields:
            fields["tags"] = self.tags(key or "number", str(number))
        return fields

    def tags(self, key: str, value: str) -> dict[str, str]:
        """Return that tag; if it cannot be carried a plainer one, if there is one, else none."""
        choices = ({key: value}, {"a": value}, {"a": "a"})
        return next((tags for tags in choices if self._carries(tags=tags)), {})

    def _carries(self, **fields: Any) -> bool:  # noqa: ANN401 - an Info's own
        fields = {"weight": self._weight, **fields}
        return self.carries(Info(service_name=self.service(), addr="10.77.0.1:8888", **fields))
