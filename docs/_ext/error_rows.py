"""Every error of :mod:`enlist.errors`: what it means is its docstring; the rest stands here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from enlist import errors


class Remedy(NamedTuple):
    """What usually leads to an error, and what to do then."""

    cause: str
    next_step: str


@dataclass(frozen=True)
class ErrorRow:
    """One error as it is shown."""

    name: str
    meaning: str
    cause: str
    next_step: str


REMEDIES: Mapping[str, Remedy] = {
    "EnlistError": Remedy(
        "Never raised itself.",
        "Catch it where any error of enlist is to be handled in one way.",
    ),
    "InvalidError": Remedy(
        "Never raised itself.",
        "Catch it for both kinds of wrong input; `field`, `value` and `rule` are attributes.",
    ),
    "InvalidInfoError": Remedy(
        "A service name, address, weight or tag breaks its rule, is missing, or is more than "
        "this backend can carry.",
        "Correct the field that the message names. No attempt to repeat it will help.",
    ),
    "InvalidOptionError": Remedy(
        "A misspelt option, a value of the wrong form, or a password in a URL.",
        "Correct the option that the message names; it says where the value came from.",
    ),
    "BackendError": Remedy(
        "Never raised itself.",
        "`enlist plugins` shows what is installed and whether it loads.",
    ),
    "UnknownBackendError": Remedy(
        "The plugin is not installed in this environment, or its name is misspelt.",
        "Install the plugin, or take one of the names that the message lists.",
    ),
    "BackendLoadError": Remedy(
        "The plugin or one of its dependencies is broken or too old.",
        "Read the cause that the message ends with; install the distribution anew.",
    ),
    "BackendConflictError": Remedy(
        "Two distributions provide a backend of the same name.",
        "Uninstall one of the two that the message names.",
    ),
    "BackendSpecError": Remedy(
        "The plugin was made for another version of the spec, or does not follow it.",
        "Upgrade what the message names. If both are current, tell the plugin's author.",
    ),
    "ServingError": Remedy(
        "The port is in use, or `serve` was called outside the main thread.",
        "Do what the message says: it differs from case to case.",
    ),
    "NotReadyError": Remedy(
        "The server listens elsewhere, crashed, or needs longer to start.",
        "Compare the address in the message with the server's; or raise `ready_timeout`.",
    ),
    "RegistryError": Remedy(
        "Never raised itself.",
        "Catch it for everything that an opened registry can raise.",
    ),
    "UnavailableError": Remedy(
        "The registry's server is down, unreachable, or has no leader.",
        'Try again later, or open the registry with `on_unavailable="retry"`. What was '
        "registered before is repaired without your help.",
    ),
    "TimedOutError": Remedy(
        "The server is overloaded or frozen, or a firewall drops packets.",
        "Look at the server's load. It may have been done or not: the same call may be "
        "repeated, since registering and deregistering twice do no harm.",
    ),
    "RejectedError": Remedy(
        "A limit or a setting of the server, or a file that is not a registry.",
        "Correct what the server's own reason names; it is chained to the error.",
    ),
    "UnauthorisedError": Remedy(
        "No credentials, wrong or expired ones, or a user that may not write there.",
        "Compare user and permissions with the page of the backend. A corrected "
        "`password_file` or `token_file` is read at the next connect.",
    ),
    "UnsupportedError": Remedy(
        "The backend only publishes or cannot list its services, or threads do not really run in "
        "this process (gevent, eventlet, uWSGI).",
        "Use another backend for this; or enlist from another process, as the message says.",
    ),
    "NoInstanceError": Remedy(
        "Nobody is registered under that name, all have weight 0, or all were excluded.",
        "Read the numbers in the message; `enlist ls SERVICE` shows what is there.",
    ),
    "ClosedError": Remedy(
        "The registry or resolver is used after its `with` block or `close()`.",
        "Open another one, or close it later.",
    ),
    "PluginBugError": Remedy(
        "A bug of the plugin, or of the client library below it.",
        "Send the plugin's author the traceback: the original error is chained.",
    ),
}


def rows() -> Sequence[ErrorRow]:
    """Return a row for each error, in the order of the tree.

    Raises:
        KeyError: an error has no remedy; each must have one.
    """
    ordered = [name for name in vars(errors) if name in errors.__all__]
    return [ErrorRow(name, meaning(getattr(errors, name)), *REMEDIES[name]) for name in ordered]


def meaning(error: type[Exception]) -> str:
    """Return the first paragraph of the docstring, as MyST."""
    first = (error.__doc__ or "").partition("\n\n")[0]
    text = re.sub(r":(\w+):`([^`]+)`", r"{py:\1}`\2`", " ".join(first.split()))
    return text.replace("``", "`")
