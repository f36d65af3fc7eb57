"""Every error that enlist raises on purpose.

::

    EnlistError
    ├── InvalidError (ValueError)             what you passed cannot be right; nothing was sent
    │   ├── InvalidInfoError                  a field of an Info or an Address
    │   └── InvalidOptionError                an option of a registry or of a server
    ├── BackendError                          the plugin that was asked for cannot be used
    │   ├── UnknownBackendError (LookupError)
    │   ├── BackendLoadError (ImportError)
    │   ├── BackendConflictError
    │   └── BackendSpecError
    ├── ServingError                          a server could not be run as it was asked
    │   └── NotReadyError (TimeoutError)      it did not accept, or say that it was ready, in time
    └── RegistryError                         an opened registry could not do it
        ├── UnavailableError (ConnectionError)    not now; the same call may succeed later
        │   └── TimedOutError (TimeoutError)      nobody knows whether it was done
        ├── RejectedError                         the server understood and said no; it will again
        ├── UnauthorisedError (PermissionError)   credentials are missing, wrong or too weak
        ├── UnsupportedError                      this backend cannot do that at all
        ├── NoInstanceError (LookupError)         nobody of that service can be picked
        ├── ClosedError                           the registry or resolver was closed
        └── PluginBugError                        the plugin raised something it must not raise

A plugin raises only the first five kinds of RegistryError, and InvalidInfoError from
``validate``. The core adds the rest.
"""

from __future__ import annotations

import reprlib

__all__ = [
    "BackendConflictError",
    "BackendError",
    "BackendLoadError",
    "BackendSpecError",
    "ClosedError",
    "EnlistError",
    "InvalidError",
    "InvalidInfoError",
    "InvalidOptionError",
    "NoInstanceError",
    "NotReadyError",
    "PluginBugError",
    "RegistryError",
    "RejectedError",
    "ServingError",
    "TimedOutError",
    "UnauthorisedError",
    "UnavailableError",
    "UnknownBackendError",
    "UnsupportedError",
]

_SHOWN_CHARACTERS = 80


class _Shortened(reprlib.Repr):
    """Shows the beginning and the end of what is long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _SHOWN_CHARACTERS

    def repr_int(self, x: int, level: int) -> str:
        """Show a number; one of thousands of digits, which Python refuses to print, by its size."""
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"<a number of {x.bit_length()} bits>"


def shown(value: object) -> str:
    """Return a short ``repr`` of a refused value, fit for a message of one line."""
    return _Shortened().repr(value)


class EnlistError(Exception):
    """The base of every error of this library."""


class InvalidError(EnlistError, ValueError):
    """What was passed cannot be right; nothing was sent anywhere.

    Attributes:
        field: the name of the field or option that was refused.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        """Say which field was refused, the value that it had, and the rule it broke."""
        super().__init__(f"{field}={shown(value)}: {rule}")
        self.field = field
        self.value = value
        self.rule = rule

    def __reduce__(self) -> tuple[type[InvalidError], tuple[str, object, str]]:
        """Pickle by the three arguments, which the message alone would lose."""
        return type(self), (self.field, self.value, self.rule)


class InvalidInfoError(InvalidError):
    """A field of an :class:`~enlist.Info` or :class:`~enlist.Address` was refused."""


class InvalidOptionError(InvalidError):
    """An option of a registry or of a server was refused."""


class BackendError(EnlistError):
    """The backend that was asked for cannot be used."""


class UnknownBackendError(BackendError, LookupError):
    """No installed distribution provides a backend of that name."""


class BackendLoadError(BackendError, ImportError):
    """The distribution that provides the backend is installed and fails to import."""


class BackendConflictError(BackendError):
    """Two installed distributions claim the same backend name."""


class BackendSpecError(BackendError):
    """The plugin does not fit the Registry spec of this version of enlist."""


class ServingError(EnlistError):
    """A server could not be started, run or stopped as it was asked."""


class NotReadyError(ServingError, TimeoutError):
    """The server did not accept connections, or did not say that it was ready, in time."""


class RegistryError(EnlistError):
    """An opened registry could not do what it was asked."""


class UnavailableError(RegistryError, ConnectionError):
    """The backend could not be reached or is not able to answer now; try again later."""


class TimedOutError(UnavailableError, TimeoutError):
    """No answer within the time allowed: nobody knows whether it was done."""


class RejectedError(RegistryError):
    """The backend understood the request and refused it; it would refuse it again."""


class UnauthorisedError(RegistryError, PermissionError):
    """The credentials are missing, wrong, expired or not sufficient."""


class UnsupportedError(RegistryError):
    """The backend has no means to do this at all."""


class NoInstanceError(RegistryError, LookupError):
    """No instance of the service can be picked; the message says how many are known, and why."""


class ClosedError(RegistryError):
    """The registry or resolver was closed before this call."""


class PluginBugError(RegistryError):
    """The plugin raised an exception that the Registry spec does not allow it to raise."""
