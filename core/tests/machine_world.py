"""Machines that a test makes up: interfaces, addresses and routes, in a namespace of their own.

Linux lets root make network namespaces, and others too where it allows them user namespaces. A
container is root without the right to. In CI that is a failure; elsewhere the tests are skipped
with a reason that begins with NOT TESTED and stands in the summary.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = (
    "NOT TESTED: which address is published on a machine with several interfaces. This system "
    "forbids network namespaces ({}). Run as root, or allow user namespaces; a container needs "
    "--cap-add SYS_ADMIN --cap-add NET_ADMIN"
)


@dataclass(frozen=True)
class Card:
    """One interface.

    Attributes:
        name: such as "eth0".
        addresses: with the length of the network, as in "10.1.0.5/24".
        gateways: the neighbour's addresses at the other end of the cable.
        kind: a cable to the neighbour, a bridge as container engines make, or what is there.
        leads_outward: whether the default routes go to those gateways.
        up: whether it is switched on.
    """

    name: str
    addresses: Sequence[str] = ()
    gateways: Sequence[str] = ()
    kind: Literal["cable", "bridge", "there"] = "cable"
    leads_outward: bool = False
    up: bool = True


LOOPBACK = Card("lo", kind="there")


@dataclass(frozen=True)
class Published:
    """What the server said of itself.

    Attributes:
        host: which address.
        port: which port, 0 for the one that it listens on.
        reached: whether the neighbour could call the server at that address.
        error: what was raised instead.
    """

    host: str = ""
    port: int = 0
    reached: bool = False
    error: str = ""


def published(
    cards: Sequence[Card],
    listen: str = "0.0.0.0",
    advertise: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    backend_is_local: bool = False,
    dual_stack: bool = True,
) -> Published:
    """Have a real server listen on a machine that has these, and tell what it publishes."""
    question = {
        "listen": listen,
        "dual_stack": dual_stack,
        "advertise": advertise,
        "environ": dict(environ or {}),
        "backend_is_local": backend_is_local,
    }
    asked = {"interfaces": [asdict(card) for card in cards], "questions": [question]}
    done = subprocess.run(
        [sys.executable, "-m", "core.tests.machine_program"],
        cwd=ROOT,
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=55,
    )
    answers: Any = json.loads(done.stdout)
    if "forbidden" in answers:
        give_up(FORBIDDEN.format(answers["forbidden"]))
    return Published(**answers[0])


def give_up(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
