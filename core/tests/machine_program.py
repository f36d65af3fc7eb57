"""A machine of its own in a network namespace, and a neighbour that calls it; see machine_world.

Reads one JSON object from standard input and writes one to standard output. Between the two
namespaces there are cables and nothing else, so that no packet leaves this machine.
"""

import json
import os
import signal
import socket
import sys
from typing import Any, TypeAlias

from core.tests.netlink import Netlink, enter_network_of_its_own
from enlist.address import Address
from enlist.errors import InvalidOptionError
from enlist.serving.advertise import advertised

Json: TypeAlias = dict[str, Any]
CALLED_WITHIN_S = 5.0
LONGEST_LIFE_S = 50


class Neighbour:
    """A process behind the other end of each cable."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _be_the_neighbour(theirs)
        theirs.close()
        self._stream = ours.makefile("rw", encoding="utf-8")
        self._socket = ours
        self._stream.readline()  # its namespace is there

    def ask(self, **what: object) -> object:
        self._stream.write(json.dumps(what) + "\n")
        self._stream.flush()
        return json.loads(self._stream.readline())

    def end(self) -> None:
        self._stream.close()
        self._socket.close()
        os.waitpid(self.pid, 0)


def _be_the_neighbour(connection: socket.socket) -> None:
    signal.alarm(LONGEST_LIFE_S)
    enter_network_of_its_own()
    netlink = Netlink()
    with connection.makefile("rw", encoding="utf-8") as stream:
        stream.write("here\n")
        stream.flush()
        for line in stream:
            asked = json.loads(line)
            if "cables" in asked:
                _lay(netlink, asked["cables"])
            answer = _call(*asked["call"]) if "call" in asked else None
            stream.write(json.dumps(answer) + "\n")
            stream.flush()
    os._exit(0)


def _lay(netlink: Netlink, cables: dict[str, list[str]]) -> None:
    for name, addresses in cables.items():
        netlink.set_up(name)
        for address in addresses:
            netlink.add_address(name, address)


def _call(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), CALLED_WITHIN_S):
            return True
    except OSError:
        return False


def build(netlink: Netlink, neighbour: Neighbour, interfaces: list[Json]) -> None:
    for one in interfaces:
        name = one["name"]
        if one["kind"] == "cable":
            netlink.add_cable(name, neighbour.pid)
        elif one["kind"] == "bridge":
            netlink.add_bridge(name)
        if one["up"]:
            netlink.set_up(name)
        for address in one["addresses"]:
            netlink.add_address(name, address)
    cables = {one["name"]: one["gateways"] for one in interfaces if one["kind"] == "cable"}
    neighbour.ask(cables=cables)
    for one in interfaces:
        for gateway in one["gateways"] if one["leads_outward"] else []:
            netlink.add_default_route(one["name"], gateway.partition("/")[0])


def answer(neighbour: Neighbour, asked: Json) -> Json:
    """Listen as it is asked, choose what to publish, and have the neighbour call that."""
    host, both = asked.pop("listen"), asked.pop("dual_stack")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server(
        (host, 0), family=family, dualstack_ipv6=both and host == "::"
    ) as server:
        port = server.getsockname()[1]
        try:
            found = advertised(Address.tcp(host, port), accepting=True, **asked)
        except InvalidOptionError as exc:
            return {"error": str(exc)}
        reached = neighbour.ask(call=[found.host, port])
        same_port = found.port == port
        return {"host": found.host, "port": 0 if same_port else found.port, "reached": reached}


def main() -> None:
    signal.alarm(LONGEST_LIFE_S)
    asked = json.load(sys.stdin)
    try:
        enter_network_of_its_own()
    except PermissionError as exc:
        json.dump({"forbidden": str(exc)}, sys.stdout)
        return
    netlink, neighbour = Netlink(), Neighbour()
    try:
        build(netlink, neighbour, asked["interfaces"])
        json.dump([answer(neighbour, one) for one in asked["questions"]], sys.stdout)
    finally:
        neighbour.end()
        netlink.close()


if __name__ == "__main__":
    main()
