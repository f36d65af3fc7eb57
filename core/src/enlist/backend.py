"""One opened backend with its extensions: the only file that calls hooks.

It gives every hook a typed method, a fallback where the plugin lacks it, and the promise that
only errors of :mod:`enlist.errors` come out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, ParamSpec, TypeVar

import pluggy

from enlist.clock import Clock, Deadline
from enlist.errors import (
    BackendSpecError,
    InvalidInfoError,
    PluginBugError,
    RegistryError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)
from enlist.hookspecs import PROJECT_NAME, Beat, ExtensionSpec, Lost, RegistrySpec, Stop, Why
from enlist.host_process import start_thread
from enlist.info import Info, check_complete
from enlist.stopping import StopToken

__all__ = ["DEFAULT_TTL_S", "Backend"]

DEFAULT_TTL_S: Final = 15.0
POLL_INTERVAL_S: Final = 2.0
"""How often a backend without ``watch`` is asked for the list."""

_T = TypeVar("_T")
_P = ParamSpec("_P")
_HOOKS: Final = frozenset(name for name in vars(RegistrySpec) if not name.startswith("_"))
_WRAPPABLE: Final = frozenset({"register", "deregister", "keep_alive", "restore", "resolve"})
_logger = logging.getLogger(__name__)


class Backend:
    """A plugin object, wrapped by extensions, as the core sees it.

    Attributes:
        name: what the user chose it by, for messages.
        abilities: the names of the hooks that the plugin itself implements.
    """

    def __init__(
        self,
        plugin: object,
        *,
        name: str,
        clock: Clock,
        extensions: Iterable[object] = (),
        ttl_s: float = DEFAULT_TTL_S,
    ) -> None:
        """Put the plugin and its extensions under one manager of their own.

        Args:
            plugin: an object with hook implementations.
            name: what to call it in messages.
            clock: counts the time of calls that a fallback splits into several.
            extensions: objects with hook implementations of ExtensionSpec, or wrappers.
            ttl_s: the time to live that is assumed where the plugin has no ``keep_alive``.

        Raises:
            BackendSpecError: an implementation does not fit the spec.
        """
        self.name = name
        self._clock = clock
        self.ttl_s = ttl_s
        self._manager = _manager_of(plugin, name, extensions)
        self._hook = self._manager.hook
        self.abilities = frozenset(
            caller.name
            for caller in self._manager.get_hookcallers(plugin) or ()
            if caller.name in _HOOKS
        )

    @property
    def can_resolve(self) -> bool:
        """Whether the backend can be read, and not only be written to."""
        return not self.abilities.isdisjoint({"resolve", "watch"})

    @property
    def has_restore(self) -> bool:
        """Whether the plugin writes in bulk."""
        return "restore" in self.abilities

    # --- writing -----------------------------------------------------------------------------

    def enrich(self, info: Info) -> Info:
        """Return the Info as the extensions enrich it.

        Raises:
            InvalidInfoError: an extension changed the identity.
        """
        for implementation in self._hook.enrich.get_hookimpls():
            enriched = self._guarded(
                implementation.function, *([info] if implementation.argnames else [])
            )
            if enriched is None:
                continue
            if not isinstance(enriched, Info) or enriched.identity != info.identity:
                rule = "must keep service name and address; an extension may change the rest"
                raise InvalidInfoError("info", enriched, rule)
            info = enriched
        return info

    def validate(self, info: Info) -> None:
        """Refuse an Info that is incomplete or that this backend cannot carry."""
        check_complete(info)
        if "validate" not in self.abilities:
            return
        try:
            self._hook.validate(info=info)
        except InvalidInfoError:
            raise
        except Exception as exc:
            raise self._bug(exc) from exc

    def register(self, info: Info, timeout_s: float) -> None:
        """Write the record, whatever stands there."""
        self._guarded(self._hook.register, info=info, timeout_s=timeout_s)

    def deregister(self, info: Info, timeout_s: float) -> None:
        """Remove the record if it is ours."""
        self._guarded(self._hook.deregister, info=info, timeout_s=timeout_s)

    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        """Prove liveness, where the plugin has that hook."""
        beat = self._guarded(self._hook.keep_alive, infos=infos, timeout_s=timeout_s)
        return self._typed(Beat, beat)

    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        """Write what has no live record; without that hook, register each."""
        if self.has_restore:
            left = self._guarded(self._hook.restore, infos=infos, timeout_s=timeout_s)
            return self._all_of(Lost, left)
        return self._register_each(infos, timeout_s)

    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> tuple[Info, ...]:
        """Remove all of these and return what may remain; without that hook, deregister each."""
        if "withdraw" in self.abilities:
            left = self._guarded(self._hook.withdraw, infos=infos, timeout_s=timeout_s)
            return self._all_of(Info, left)
        return self._deregister_each(infos, timeout_s)

    def _deregister_each(self, infos: Sequence[Info], timeout_s: float) -> tuple[Info, ...]:
        """Deregister one after another; return what may remain, and log why of the first."""
        deadline = Deadline(self._clock, timeout_s)
        left: list[Info] = []
        for done, info in enumerate(infos):
            try:
                self.deregister(info, deadline.remaining_s())
            except UnavailableError:
                # The others would only wait for the same silence.
                return (*left, *infos[done:])
            except RegistryError as exc:
                if not left:
                    message = "%s: could not remove %s at %s: %s"
                    _logger.warning(message, self.name, info.service_name, info.addr, exc)
                left.append(info)
        return tuple(left)

    def _register_each(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        """Register one after another; raise only if nothing came of any."""
        deadline = Deadline(self._clock, timeout_s)
        lost: list[Lost] = []
        for done, info in enumerate(infos):
            if done and not deadline.left_s:
                lost += [Lost(left, Why.FAILED) for left in infos[done:]]
                break
            try:
                self.register(info, deadline.remaining_s())
            except RegistryError as exc:
                lost.append(Lost(info, Why.FAILED, exc))
        if infos and len(lost) == len(infos) and lost[0].error is not None:
            raise lost[0].error
        return lost

    # --- reading -----------------------------------------------------------------------------

    def resolve(self, service_name: str, timeout_s: float) -> tuple[Info, ...]:
        """Return the instances now; without that hook, the first list of ``watch``."""
        if "resolve" in self.abilities:
            found = self._guarded(
                self._hook.resolve, service_name=service_name, timeout_s=timeout_s
            )
            return self._all_of(Info, found)
        self.require_reading()
        return self._first_list(service_name, timeout_s)

    def _first_list(self, service_name: str, timeout_s: float) -> tuple[Info, ...]:
        stop = StopToken()
        timer = threading.Timer(timeout_s, stop.set)
        start_thread(timer)
        try:
            for instances in self.watch(service_name, stop):
                return tuple(instances)
        finally:
            timer.cancel()
            stop.set()
            timer.join()
        raise TimedOutError(f"{self.name}: no list of {service_name!r} within {timeout_s:g} s")

    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        """Yield full lists until stopped; without that hook, ask every two seconds."""
        self.require_reading()
        if "watch" in self.abilities:
            lists = self._guarded(self._hook.watch, service_name=service_name, stop=stop)
        else:
            lists = self._polled(service_name, stop)
        return self._guarded_iterator(lists)

    def _polled(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        before: tuple[Info, ...] | None = None
        while not stop.is_set():
            now = self.resolve(service_name, POLL_INTERVAL_S)
            if before is None or sorted(map(repr, now)) != sorted(map(repr, before)):
                yield now
            before = now
            stop.wait(POLL_INTERVAL_S)

    def _guarded_iterator(self, lists: Iterator[Sequence[Info]]) -> Iterator[Sequence[Info]]:
        iterator = iter(lists)
        try:
            while True:
                try:
                    instances = next(iterator)
                except StopIteration:
                    return
                except RegistryError:
                    raise
                except Exception as exc:
                    raise self._bug(exc) from exc
                yield instances
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def services(self, timeout_s: float) -> tuple[str, ...]:
        """Return the names that have a readable record."""
        if "services" not in self.abilities:
            raise UnsupportedError(
                f"backend {self.name!r} cannot list services; name the service that you want"
            )
        return self._all_of(str, self._guarded(self._hook.services, timeout_s=timeout_s))

    def probe(self, service_name: str, timeout_s: float) -> None:
        """Prove that the server answers; without that hook, resolve the given name."""
        if "probe" in self.abilities:
            self._guarded(self._hook.probe, timeout_s=timeout_s)
        else:
            self.resolve(service_name, timeout_s)

    def require_reading(self) -> None:
        """Refuse with UnsupportedError where the plugin can only publish."""
        if not self.can_resolve:
            raise UnsupportedError(
                f"backend {self.name!r} only publishes: it has neither 'resolve' nor 'watch'"
            )

    # --- the end, and telling extensions -----------------------------------------------------

    def close(self, timeout_s: float) -> None:
        """Let the plugin release everything; what it raises is logged, as nothing can be done."""
        try:
            self._hook.close(timeout_s=timeout_s)
        except Exception:
            _logger.exception("%s: the plugin failed to close", self.name)

    def registration_changed(self, info: Info, state: str, error: RegistryError | None) -> None:
        """Tell every extension of a new state."""
        self._tell("registration_changed", info=info, state=state, error=error)

    def instances_changed(self, service_name: str, instances: Sequence[Info], stale: bool) -> None:  # noqa: FBT001 - the hook's own signature
        """Tell every extension of a new view."""
        self._tell("instances_changed", service_name=service_name, instances=instances, stale=stale)

    def _tell(self, hook_name: str, **arguments: object) -> None:
        arguments["registry"] = self.name
        # One after another by hand: pluggy would stop at the first that raises.
        for implementation in getattr(self._hook, hook_name).get_hookimpls():
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception:
                _logger.exception(
                    "%s: extension %s failed in %s",
                    self.name,
                    implementation.plugin_name,
                    hook_name,
                )

    # --- errors ------------------------------------------------------------------------------

    def _guarded(self, hook: Callable[_P, _T], *args: _P.args, **arguments: _P.kwargs) -> _T:
        try:
            return hook(*args, **arguments)
        except RegistryError:
            raise
        except Exception as exc:
            raise self._bug(exc) from exc

    def _typed(self, kind: type[_T], answer: object) -> _T:
        if not isinstance(answer, kind):
            raise PluginBugError(
                f"backend {self.name!r} answered {type(answer).__name__}, not {kind.__name__}: "
                "a bug in the plugin"
            )
        return answer

    def _all_of(self, kind: type[_T], answer: object) -> tuple[_T, ...]:
        # None is what pluggy returns for a hook that returned None.
        listed = tuple(answer) if isinstance(answer, Iterable) else None
        if listed is None or not all(isinstance(item, kind) for item in listed):
            raise PluginBugError(
                f"backend {self.name!r} did not answer with a list of {kind.__name__}: "
                "a bug in the plugin"
            )
        return listed

    def _bug(self, exc: Exception) -> PluginBugError:
        # Only the type: the text of a foreign exception may hold a password.
        return PluginBugError(
            f"backend {self.name!r} raised {type(exc).__name__}, which the Registry spec does not "
            "allow: a bug in the plugin or an extension; report the traceback to its authors"
        )


def _manager_of(plugin: object, name: str, extensions: Iterable[object]) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(RegistrySpec)
    manager.add_hookspecs(ExtensionSpec)
    try:
        manager.register(plugin, name=name)
        for extension in extensions:
            manager.register(extension)
        manager.check_pending()
    except pluggy.PluginValidationError as exc:
        raise BackendSpecError(
            f"backend {name!r} or one of its extensions does not fit the Registry spec: {exc}"
        ) from exc
    _check_extensions(manager, plugin)
    return manager


def _check_extensions(manager: pluggy.PluginManager, plugin: object) -> None:
    for extension in manager.get_plugins():
        if not manager.get_hookcallers(extension):
            raise BackendSpecError(
                f"extension {extension!r} implements no hook, so it would do nothing; mark its "
                "methods with @hookimpl from enlist"
            )
    for hook_name in _HOOKS:
        for implementation in getattr(manager.hook, hook_name).get_hookimpls():
            if implementation.plugin is plugin:
                continue
            if hook_name not in _WRAPPABLE or not (
                implementation.wrapper or implementation.hookwrapper
            ):
                allowed = ", ".join(sorted(_WRAPPABLE))
                raise BackendSpecError(
                    f"extension {implementation.plugin_name!r} implements {hook_name!r}; "
                    f"an extension may only wrap, with @hookimpl(wrapper=True), one of: {allowed}"
                )
