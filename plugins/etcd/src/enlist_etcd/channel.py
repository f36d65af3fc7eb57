"""How a gRPC channel to etcd is set up: its limits and times, and its certificates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from enlist.backend_options import HostPort
from enlist.errors import UnauthorisedError
from enlist_etcd.options import EtcdOptions

if TYPE_CHECKING:
    import grpc

__all__ = ["open_channel"]

_MOST_BYTES: Final = 256 * 1_024 * 1_024
_CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # A lease's list of 70,000 keys has more than the 4 MiB that gRPC takes by default.
    ("grpc.max_receive_message_length", _MOST_BYTES),
    # By default waits between connects grow to two minutes, and the core sets the pace already.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # This is how long one attempt to connect may take. Most versions of gRPC go on with it for
    # so long (20 s by default) after the channel was closed, and keep its socket.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    # Channels share sockets by default, and a new one would get the broken one of an old one.
    ("grpc.use_local_subchannel_pool", 1),
    # What is meant for outgoing web traffic has no business between a server and its registry.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_retries", 0),
)

_GRPC_AUTHORITIES: Final = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
# What OpenSSL reads of a folder of authorities: each under the hash of its name, and a number.
_BY_HASH: Final = "[0-9a-f]" * 8 + ".[0-9]*"


def open_channel(endpoint: HostPort, options: EtcdOptions) -> grpc.Channel:
    """Return a channel, which connects with its first call. TLS files are read now.

    Raises:
        UnauthorisedError: a TLS file cannot be read.
    """
    import grpc

    arguments: list[tuple[str, Any]] = [*_CHANNEL_OPTIONS]
    if not options.uses_tls:
        return grpc.insecure_channel(_target(endpoint), arguments)
    if options.server_name:
        arguments.append(("grpc.ssl_target_name_override", options.server_name))
    authorities = _system_authorities() if options.ca is None else _content("ca", options.ca)
    credentials = grpc.ssl_channel_credentials(
        authorities, _content("key", options.key), _content("cert", options.cert)
    )
    return grpc.secure_channel(_target(endpoint), credentials, arguments)


def _target(endpoint: HostPort) -> str:
    """Return the endpoint as gRPC takes it, addresses without a look-up of names."""
    text = str(endpoint).replace("%", "%25")
    if ":" in endpoint.host:
        return f"ipv6:{text}"
    return f"ipv4:{text}" if endpoint.host.replace(".", "").isdigit() else f"dns:///{text}"


def _system_authorities() -> bytes | None:
    """Return what OpenSSL trusts on this machine; None to leave the choice to gRPC.

    OpenSSL takes its file and its folder together. gRPC would trust a list that it brings along,
    in which a company's own authority is not. It is left to it where there is no other, and where
    the user has named gRPC one.
    """
    import ssl  # noqa: PLC0415 - it takes a while to load, and few need it

    if os.environ.get(_GRPC_AUTHORITIES):
        return None
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else []
    if paths.capath:
        files += sorted(file for file in Path(paths.capath).glob(_BY_HASH) if file.is_file())
    contents = [_content("the system's ca", file) for file in files]
    return b"\n".join(filter(None, contents)) or None


def _content(option: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as exc:
        raise UnauthorisedError(
            f"etcd: {option} {str(file)!r} cannot be read: {exc.strerror}. "
            "Check the path and that this process may read it."
        ) from exc
