"""Which address to publish for a server, given the one that it listens on.

Somebody may have *said* it, and then it is published whatever the server listens on, since it
may stand behind a port mapping. The first of these that is there:

1. ``advertise`` of the server options, where it is an address
2. the environment's ``ENLIST_ADVERTISE_ADDR``
3. Kitex's ``KITEX_IP_TO_REGISTRY`` and ``KITEX_PORT_TO_REGISTRY``, each replacing its part

Where nobody did, a specific listen address is published as it is, and for an unspecified one
("0.0.0.0", "::") an address of this machine is *found*:

4. on the network ("10.0.0.0/8") or interface ("eth0") that ENLIST_ADVERTISE_ADDR or, after
   it, ``advertise`` names; of several the one that packets to the outside carry
5. ``POD_IP``, which Kubernetes can put into the environment
6. the one that packets to the outside carry, IPv4 before IPv6

A server on "::" that does not accept IPv4 (asyncio's are such) is given an IPv6 address alone.

A unix socket is published as it is, unless ``advertise`` says an address. What is said without
a port has the port that the server listens on. An empty variable counts as not there.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from enlist.address import Address
from enlist.errors import InvalidInfoError, InvalidOptionError
from enlist.serving.interfaces import HostNetwork, IpAddress, NetworkView

__all__ = ["advertised", "warn_of_loopback"]

ENLIST_ADDR: Final = "ENLIST_ADVERTISE_ADDR"
KITEX_IP: Final = "KITEX_IP_TO_REGISTRY"
KITEX_PORT: Final = "KITEX_PORT_TO_REGISTRY"
POD_IP: Final = "POD_IP"

_OPTION: Final = "advertise"
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Said:
    """What somebody said, and where; of the last three at most one is there.

    Attributes:
        source: the option or variable, for messages.
        text: as it was written.
        host: a host without a port.
        addr: a whole address.
        finds: tells whether an interface of that name and address is meant.
    """

    source: str
    text: str
    host: str = ""
    addr: Address | None = None
    finds: Callable[[str, IpAddress], bool] | None = None


def advertised(
    listen: Address,
    *,
    advertise: str | Address | None = None,
    environ: Mapping[str, str],
    network: NetworkView | None = None,
    backend_is_local: bool = False,
    accepting: bool = False,
) -> Address:
    """Return the address to publish; see the module's description for how it is chosen.

    Args:
        listen: what the server listens on, with the port that it was given.
        advertise: the option of that name.
        environ: the environment.
        network: what to ask about this machine; this machine itself by default.
        backend_is_local: the registry can only be reached from this machine, so that a
            loopback address will do where there is no other.
        accepting: the server accepts connections by now, so that it can be seen whether it
            takes IPv4 too where it listens on "::". Before, both versions may be meant.

    Raises:
        InvalidOptionError: what was said, or found, cannot be called by anyone; or nothing was
            found. The message names the option or the variable.
    """
    network = network or HostNetwork()
    option = _read(_OPTION, advertise, network) if advertise is not None else None
    if listen.network == "unix" and (option is None or option.finds):
        return listen
    if option is not None and not option.finds:
        return _with_port(option, listen)
    said = _read(ENLIST_ADDR, environ[ENLIST_ADDR], network) if environ.get(ENLIST_ADDR) else None
    if said is not None and not said.finds:
        return _with_port(said, listen)
    host = _kitex_host(environ) or _specific(listen)
    if not host:
        versions = _versions(listen, network, accepting=accepting)
        host = _found(listen, versions, said or option, environ, network)
        host = host or (_loopback(versions) if backend_is_local else "")
        if not host:
            raise InvalidOptionError("listen_addr", str(listen), _why_not_found(versions, network))
    return Address.tcp(host, _kitex_port(environ) or listen.port)


def warn_of_loopback(addr: Address, *, backend_is_local: bool) -> bool:
    """Log a warning where only this machine can call an address that others will be told.

    Args:
        addr: what is to be published.
        backend_is_local: the registry can only be reached from this machine, so all is well.

    Returns:
        Whether there was reason to warn.
    """
    only_here = (
        addr.network == "unix"
        or addr.host == "localhost"
        or (addr.ip is not None and addr.ip.is_loopback)
    )
    if backend_is_local or not only_here:
        return False
    _log.warning(
        "publishing %s, which only this machine can call; listen on 0.0.0.0 or set %s",
        addr,
        ENLIST_ADDR,
    )
    return True


def _read(source: str, value: str | Address, network: NetworkView) -> _Said:
    """Tell an address, a host, a network and an interface from each other."""
    text = str(value).strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if _is_ip(bare):
        return _Said(source, text, host=_callable(source, text, lambda: Address.tcp(bare, 1)).host)
    if "/" in text and not text.startswith("unix:"):
        wanted = _network(source, text)
        return _Said(source, text, finds=lambda _, ip: ip in wanted)
    if ":" in text:
        return _Said(source, text, addr=_callable(source, text, lambda: Address.parse(text)))
    return _read_name(source, text, network)


def _read_name(source: str, text: str, network: NetworkView) -> _Said:
    """Tell an interface from a host name: a name without a dot is rarely one that others know."""
    try:
        names = sorted({each.name for each in network.interfaces()})
    except OSError:
        names = []
    if text in names:
        return _Said(source, text, finds=lambda name, _: name == text)
    if "." not in text:
        have = ", ".join(names) or "none that can be listed"
        rule = (
            f"is no interface of this machine that has an address ({have}); "
            "if it is a host name, give its port too"
        )
        raise InvalidOptionError(source, text, rule)
    return _Said(source, text, host=_callable(source, text, lambda: Address.tcp(text, 1)).host)


def _network(source: str, text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise InvalidOptionError(
            source, text, "must be a network such as '10.0.0.0/8' or 'fd00::/8'"
        ) from exc


def _callable(source: str, text: str, make: Callable[[], Address]) -> Address:
    """Return the address, or refuse what nobody can call in the name of who said it."""
    try:
        addr = make()
        addr.check_reachable()
    except InvalidInfoError as exc:
        _, _, part = exc.field.partition(".")
        raise InvalidOptionError(
            source, text, f"its {part} {exc.rule}" if part else exc.rule
        ) from exc
    return addr


def _with_port(said: _Said, listen: Address) -> Address:
    if said.addr is not None:
        return said.addr
    if listen.network == "unix":
        raise InvalidOptionError(
            said.source, said.text, "needs a port: the server listens on a unix socket, without one"
        )
    return Address.tcp(said.host, listen.port)


def _kitex_host(environ: Mapping[str, str]) -> str:
    text = environ.get(KITEX_IP, "").strip()
    return _callable(KITEX_IP, text, lambda: Address.tcp(text, 1)).host if text else ""


def _kitex_port(environ: Mapping[str, str]) -> int:
    text = environ.get(KITEX_PORT, "").strip()
    return (
        _callable(KITEX_PORT, text, lambda: Address.parse(f"localhost:{text}")).port if text else 0
    )


def _specific(listen: Address) -> str:
    """Return the host that is listened on, or nothing where that is every one."""
    return "" if listen.ip is not None and listen.ip.is_unspecified else listen.host


def _found(
    listen: Address,
    versions: tuple[int, ...],
    wanted: _Said | None,
    environ: Mapping[str, str],
    network: NetworkView,
) -> str:
    """Return an address of this machine at which a server that listens on every one is reached.

    Returns:
        An empty text where nothing says which, and no route leads outward.
    """
    if wanted is not None:
        return _on_interface(wanted, versions, network)
    if pod_ip := environ.get(POD_IP):
        return _pod_ip(pod_ip, versions, listen)
    return next((str(ip) for version in versions if (ip := _outward(version, network))), "")


def _versions(listen: Address, network: NetworkView, *, accepting: bool) -> tuple[int, ...]:
    """Return the versions of IP at which the server can be called, the better one first."""
    if isinstance(listen.ip, ipaddress.IPv4Address):
        return (4,)
    # Who listens on :: has both, unless the socket was told to leave IPv4 out.
    if network.accepts_ipv4(listen.port):
        return (4, 6)
    return (6,) if accepting else (6, 4)


def _loopback(versions: tuple[int, ...]) -> str:
    return "::1" if versions == (6,) else "127.0.0.1"


def _outward(version: int, network: NetworkView) -> IpAddress | None:
    """Return the address that packets to the outside carry, if others can call it."""
    ip = network.outward(version)
    # An IPv6 address that is still being checked for duplicates is no source: ::1 stands in.
    unusable = ip is None or ip.is_unspecified or ip.is_link_local or ip.is_loopback
    return None if unusable else ip


def _why_not_found(versions: tuple[int, ...], network: NetworkView) -> str:
    if versions == (4,) and _outward(6, network):
        return "is IPv4 alone, and this machine is reached by IPv6 alone; listen on [::]"
    if versions == (6,) and _outward(4, network):
        return "accepts IPv6 alone, and this machine is reached by IPv4 alone; listen on 0.0.0.0"
    return f"is every address, and no route leads outward that tells one; set {ENLIST_ADDR}"


def _on_interface(wanted: _Said, versions: tuple[int, ...], network: NetworkView) -> str:
    assert wanted.finds is not None  # noqa: S101 - what is an address never comes here; for the type checker
    try:
        all_here = network.interfaces()
    except OSError as exc:
        raise InvalidOptionError(
            wanted.source, wanted.text, f"cannot be looked up ({exc}); give an address"
        ) from exc
    usable = [
        each for each in all_here if each.ip.version in versions and not each.ip.is_link_local
    ]
    matching = [each.ip for each in usable if wanted.finds(each.name, each.ip)]
    if matching:
        outward = [_outward(version, network) for version in versions]
        # A container engine's bridge may lie on a wide network too.
        return str(min(matching, key=lambda ip: (versions.index(ip.version), ip not in outward)))
    kind = f"IPv{versions[0]} address" if len(versions) == 1 else "address"
    have = ", ".join(f"{each.name} {each.ip}" for each in usable) or "none"
    raise InvalidOptionError(
        wanted.source, wanted.text, f"matches no {kind} of this machine; it has: {have}"
    )


def _pod_ip(text: str, versions: tuple[int, ...], listen: Address) -> str:
    if not _is_ip(text):
        raise InvalidOptionError(
            POD_IP, text, f"must be an IP address; correct it, unset it, or set {ENLIST_ADDR}"
        )
    if (version := ipaddress.ip_address(text).version) not in versions:
        better = {4: "0.0.0.0", 6: "[::]"}[version]  # noqa: S104 - not listened on here
        rule = (
            f"is IPv{version}, and the server listens on {listen}, which accepts "
            f"IPv{versions[0]} alone; listen on {better}"
        )
        raise InvalidOptionError(POD_IP, text, rule)
    return _callable(POD_IP, text, lambda: Address.tcp(text, 1)).host


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
