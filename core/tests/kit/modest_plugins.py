"""Correct plugins that carry less than enlist allows, or have fewer hooks, and say so."""

import dataclasses
import re
from typing import Final

from core.tests.kit.memory_plugin import MemoryRegistry
from core.tests.kit.memory_world import MemoryUnderTest
from enlist.errors import InvalidInfoError
from enlist.hookspecs import hookimpl
from enlist.info import Info
from enlist.testing import Limits

NARROW: Final = Limits(
    unix_addresses=False,
    weights=range(1, 257),
    service_name="[a-z0-9-]*",
    tag_text="[A-Za-z0-9._-]*",
)


class NarrowRegistry(MemoryRegistry):
    """Carries what a DNS label, a percentage or a plain word can say, and refuses the rest."""

    @hookimpl
    def validate(self, info: Info) -> None:
        super().validate(info)
        if info.weight not in NARROW.weights:
            raise InvalidInfoError("weight", info.weight, "must be from 1 to 256")
        if not re.fullmatch(NARROW.service_name, info.service_name):
            raise InvalidInfoError("service_name", info.service_name, "must be of a-z, 0-9 and -")
        for text in (text for pair in (info.tags or {}).items() for text in pair):
            if not re.fullmatch(NARROW.tag_text, text):
                raise InvalidInfoError("tags", text, "must be of letters, digits, ., _ and -")


class NarrowUnderTest(MemoryUnderTest):
    abilities = dataclasses.replace(MemoryUnderTest.abilities, limits=NARROW)


class UnknownUnderTest(MemoryUnderTest):
    """Of which as little is known as of a backend that is given by its URL."""

    abilities = dataclasses.replace(MemoryUnderTest.abilities, limits=Limits(known=False))


class PolledRegistry(MemoryRegistry):
    """Has no watch: the core asks it now and then."""

    watch = None  # type: ignore[assignment]  # no hook any more


class PolledUnderTest(MemoryUnderTest):
    abilities = dataclasses.replace(MemoryUnderTest.abilities, watch=False)
