"""What the author of a plugin tells the kit: how to reach the backend, and how to disturb it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NoReturn, cast

from enlist.backend_options import Target, read_options
from enlist.choosing.plugins import load
from enlist.hookspecs import hookimpl
from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry
from enlist.testing.abilities import HOOKS, NEEDED_METHODS, Abilities, Ability

__all__ = ["BackendUnderTest", "NotProvidedError", "implemented_hooks"]

_IMPLEMENTATION = f"{hookimpl.project_name}_impl"


class NotProvidedError(NotImplementedError):
    """A disturbance was claimed that the test module does not provide."""


def implemented_hooks(plugin: type[Any]) -> frozenset[str]:
    """Return the names of the hooks that the class of a plugin implements."""
    return frozenset(
        getattr(member, _IMPLEMENTATION).get("specname") or name
        for name, member in inspect.getmembers_static(plugin)
        if isinstance(getattr(member, _IMPLEMENTATION, None), dict)
    )


class BackendUnderTest:
    """One backend, and what can be done to its server. Subclass it in your test module.

    Only ``url`` and ``abilities`` are needed. Override each disturbance that you can provide and
    claim it in ``abilities``: what you leave out costs you the rules that need it, which the
    report then calls "not claimed". A disturbance returns when it has taken effect. The kit
    undoes ``kill`` and ``freeze`` itself (by ``start`` and ``thaw``) after each test.

    Attributes:
        url: what users pass to ``open_registry``, with the options that the tests need, such as
            ``"redis://127.0.0.1:16379?ttl=2"``. The kit's own processes open it too, so the
            plugin is installed: found by its entry point.
        abilities: what is claimed.
        options: more options of the plugin, as keywords, which the kit's own processes get too:
            text, numbers and truth values.
        secret: the password or token in use, if any; the kit looks for it in all that is shown.
        wrong_secret: the one that ``open_unauthorised`` uses.
    """

    url: str
    abilities: Abilities
    options: Mapping[str, str | float | bool] = {}
    secret: str = ""
    wrong_secret: str = ""

    @property
    def name(self) -> str:
        """The name of the backend, as users type it."""
        return Target.parse(self.url).name

    def open(self, **options: Any) -> Registry:  # noqa: ANN401 - each plugin has its own
        """Open the backend as a user would, each time with an owner of its own.

        Args:
            **options: of ``open_registry``, or of the plugin.
        """
        return cast("Registry", open_registry(self.url, **{**self.options, **options}))

    def make_plugin(self, owner: str) -> object:
        """Return a new object of the plugin, for the tests that call its hooks one by one."""
        target = Target.parse(self.url)
        plugin = load(target.name)
        return plugin.cls(read_options(plugin.cls.Options, target, self.options, {}), owner)

    # --- disturbances: override what you can provide, and claim it in abilities ----------------

    def kill(self) -> None:
        """Kill the server at once: whoever connects is refused. Claimed by ``kill``."""
        self._missing("kill")

    def start(self) -> None:
        """Start the server that was killed, at the same address, and wait until it answers.

        With the data that it had, if ``keeps_data`` is claimed. Claimed by ``kill``.
        """
        self._missing("start")

    def restart(self, *, wipe: bool = False) -> None:
        """Kill the server and start it again at once. Claimed by ``restart``.

        Args:
            wipe: remove all its data in between.
        """
        self._missing("restart", wipe)

    def freeze(self) -> None:
        """Stop the server so that it still accepts connections and never answers: SIGSTOP.

        Claimed by ``freeze``.
        """
        self._missing("freeze")

    def thaw(self) -> None:
        """Let a frozen server go on: SIGCONT. Claimed by ``freeze``."""
        self._missing("thaw")

    def wipe(self) -> None:
        """Remove every record while the server runs. Claimed by ``wipe``."""
        self._missing("wipe")

    def delete_record(self, info: Info) -> None:
        """Delete the record of that identity, whoever owns it. Claimed by ``delete_record``."""
        self._missing("delete_record", info)

    def expire(self, registry: Registry) -> None:
        """End the liveness of what ``registry`` holds: revoke its lease, expire its session.

        Its Infos are in ``registry.status()``. Claimed by ``expire``.
        """
        self._missing("expire", registry)

    def put_foreign(self, info: Info, *, service_name: str = "") -> None:
        """Put a live record there that carries no owner. Claimed by ``foreign_records``.

        Args:
            info: what it says; the weight and the tags suffice.
            service_name: the name to put it under in place of the Info's own; it may contain
                "/" if ``nested_names`` is claimed.
        """
        self._missing("put_foreign", info, service_name)

    def put_malformed(self, service_name: str) -> str:
        """Put a live record under that name that cannot be read. Claimed by ``malformed_records``.

        Returns:
            The key of the record, which the warning has to contain.
        """
        self._missing("put_malformed", service_name)

    def compact(self) -> None:
        """Have the server forget all past events. Claimed by ``compact``."""
        self._missing("compact")

    def open_unauthorised(self) -> Registry:
        """Open the backend with ``wrong_secret``. Claimed by ``credentials``."""
        self._missing("open_unauthorised")

    # --- looking at the claims -----------------------------------------------------------------

    def false_claims(self) -> list[str]:
        """Return one sentence for each claim that nothing stands behind, without trying any.

        And one for each hook that would be left untried: its tests are those of who claims it.
        """
        plugin = load(self.name).cls
        implemented = implemented_hooks(plugin)
        found = [
            f"the hook {hook!r} is claimed, and {plugin.__qualname__} does not implement it"
            for hook in HOOKS
            if self.abilities.claims(hook) and hook not in implemented
        ]
        found += [
            f"{plugin.__qualname__} implements the hook {hook!r}, and it is not claimed"
            for hook in HOOKS
            if hook in implemented and not self.abilities.claims(hook)
        ]
        own = type(self).__qualname__
        for ability, methods in NEEDED_METHODS.items():
            found += [
                f"{ability!r} is claimed, and {own} does not override {method}()"
                for method in methods
                if self.abilities.claims(ability) and not self._overrides(method)
            ]
        return found

    def _overrides(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(BackendUnderTest, method)

    def _missing(self, method: str, *_: object) -> NoReturn:
        claiming: list[Ability] = [
            ability for ability, methods in NEEDED_METHODS.items() if method in methods
        ]
        raise NotProvidedError(
            f"{type(self).__qualname__} does not override {method}(). "
            f"Provide it, or do not claim {' or '.join(map(repr, claiming))} in its abilities."
        )
