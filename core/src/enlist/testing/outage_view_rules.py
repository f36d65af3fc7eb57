"""The tests of V4 and V7 to V9: what a client sees through outages, and how a watch ends."""

from __future__ import annotations

import time
from functools import partial

from enlist.backend import Backend
from enlist.finding.resolver import Resolver
from enlist.info import Info
from enlist.registry import Registry
from enlist.testing.base import KitTests
from enlist.testing.bounds import STOP_S
from enlist.testing.following import Following
from enlist.testing.holdings import held, held_beyond
from enlist.testing.trial import CALL_S, Trial, same

__all__ = ["OutageViewRules"]

COUNT = 5
REPEATS = 10


class OutageViewRules(KitTests):
    """V4 and V7 to V9."""

    # --- V4 ------------------------------------------------------------------------------------

    def test_V4_a_server_that_is_away_empties_nothing(self, trial: Trial) -> None:
        """While the server is away the last list stays and is stale; then it is fresh again."""
        trial.needs("kill")
        server, client = trial.open(), trial.open()
        infos = [trial.info(name := trial.service()), trial.info(name)]
        server.register_all(infos)
        view = trial.resolver(client, name)
        with trial.server_away():
            expect_stale(trial, view)
            trial.stays(
                lambda: view.stale and set(view.instances) == set(infos),
                trial.bounds.ttl_s,
                "during an outage the last list did not stay as it was",
            )
        expect_fresh(trial, view)
        trial.stays(
            lambda: set(view.instances) == set(infos),
            trial.bounds.interval_s,
            "after an outage the list was not what it had been",
        )

    def test_V4_a_frozen_server_is_noticed_and_empties_nothing(self, trial: Trial) -> None:
        """A server that accepts and never answers is noticed in two intervals."""
        trial.needs("freeze")
        server, client = trial.open(), trial.open()
        info = trial.info()
        server.register(info)
        view = trial.resolver(client, info.service_name)
        with trial.server_frozen():
            expect_stale(trial, view)
            trial.check(view.instances == (info,), f"the view shows {view.instances!r}")
        trial.await_answer(trial.open())
        trial.check(info in view.instances, f"after the freeze the view shows {view.instances!r}")
        expect_fresh(trial, view)

    def test_V4_a_watch_raises_when_its_connection_is_lost(self, trial: Trial) -> None:
        """The plugin's own watch ends with an error; it yields no list that it did not get."""
        trial.needs("kill", "watch")
        server, backend = trial.open(), trial.backend()
        info = trial.info()
        server.register(info)
        following = trial.following(backend, info.service_name)
        with trial.server_away():
            trial.wait(
                lambda: following.error is not None,
                trial.bounds.two_intervals_s,
                "a watch whose server was killed raised nothing",
            )
            trial.check(
                all(instances == (info,) for instances in following.lists),
                f"lists that the watch gave: {following.lists!r}",
            )
        trial.await_answer(trial.open())

    def test_V4_a_failed_resolve_is_no_empty_list(self, trial: Trial) -> None:
        """A server that cannot be asked is an error, not a service without instances."""
        trial.needs("kill")
        backend = trial.backend()
        info = trial.info()
        backend.register(info, CALL_S)
        # What a plugin remembers from here is no answer later.
        backend.resolve(info.service_name, CALL_S)
        found: list[object] = []
        with trial.server_away():
            outcome = trial.in_time(
                lambda: found.append(backend.resolve(info.service_name, CALL_S)), CALL_S
            )
            trial.check(outcome is not None, f"resolve gave {found!r} and raised nothing")
        trial.await_answer(trial.open())

    # --- V7 ------------------------------------------------------------------------------------

    def test_V7_right_again_after_a_restart_with_data(self, trial: Trial) -> None:
        """What changes after a restart is seen by a watch from before it."""
        trial.needs("kill")
        server, client = trial.open(), trial.open()
        name = trial.service()
        view = trial.resolver(client, name)
        before, after = trial.info(name), trial.info(name)
        server.register(before)
        trial.shows(view, [before])
        with trial.server_away():
            pass
        expect_right_again(trial, server, view, before, after)

    def test_V7_right_again_after_a_restart_without_data(self, trial: Trial) -> None:
        """The same when the server begins anew, and its event numbers with it."""
        trial.needs("restart")
        server, client = trial.open(), trial.open()
        name = trial.service()
        view = trial.resolver(client, name)
        before, after = trial.info(name), trial.info(name)
        server.register(before)
        for number in range(REPEATS):
            server.update(before, **trial.numbered(number + 20))
        server.register(before)
        trial.shows(view, [before])
        trial.under_test.restart(wipe=True)
        expect_right_again(trial, server, view, before, after)

    def test_V7_right_again_after_the_data_was_removed(self, trial: Trial) -> None:
        """The same when everything is removed under a server that goes on."""
        trial.needs("wipe")
        server, client = trial.open(), trial.open()
        name = trial.service()
        view = trial.resolver(client, name)
        before, after = trial.info(name), trial.info(name)
        server.register(before)
        trial.shows(view, [before])
        trial.under_test.wipe()
        expect_right_again(trial, server, view, before, after)

    def test_V7_right_again_after_a_compaction(self, trial: Trial) -> None:
        """The same when the server forgets its past events."""
        trial.needs("compact")
        server, client = trial.open(), trial.open()
        name = trial.service()
        view = trial.resolver(client, name)
        before, after = trial.info(name), trial.info(name)
        server.register(before)
        trial.shows(view, [before])
        server.update(before, **trial.numbered(77))
        trial.under_test.compact()
        server.register(before)
        expect_right_again(trial, server, view, before, after)

    def test_V7_a_deletion_by_hand_is_seen(self, trial: Trial) -> None:
        """A record that somebody else deletes leaves the view, and comes back with its owner."""
        trial.needs("delete_record")
        backend, client = trial.backend(), trial.open()
        info = trial.info()
        view = trial.resolver(client, info.service_name)
        backend.register(info, CALL_S)
        trial.shows(view, [info])
        trial.under_test.delete_record(info)
        trial.shows(view, [])
        backend.register(info, CALL_S)
        trial.shows(view, [info])

    # --- V8 ------------------------------------------------------------------------------------

    def test_V8_an_emptied_server_does_not_empty_a_view(self, trial: Trial) -> None:
        """What a restarted server lacks is held for ttl and two intervals, and then dropped."""
        # Without a watch of its own the core asks now and then. What restarts in between is never
        # seen to fail, and what it lacks is reported gone as by any server that is well.
        trial.needs("restart", "watch")
        server, client, worker = trial.open(), trial.open(), trial.worker()
        name = trial.service()
        returns, never = trial.info(name), trial.info(name)
        server.register(returns)
        worker.register(never)
        view = trial.resolver(client, name)
        trial.check(set(view.instances) == {returns, never}, f"the view shows {view.instances!r}")
        # Its process stands still, so that nobody writes this one again.
        worker.freeze()
        trial.under_test.restart(wipe=True)
        back_at = time.monotonic()
        trial.stays(
            lambda: {returns, never} <= set(view.instances),
            trial.bounds.hold_s - trial.bounds.interval_s,
            "an instance was dropped before its server had the time to come back",
        )
        spent_s = time.monotonic() - back_at
        trial.wait(
            lambda: set(view.instances) == {returns},
            trial.bounds.hold_s - spent_s + trial.bounds.two_intervals_s,
            "an instance whose server did not come back was not dropped",
        )

    def test_V8_a_restart_ends_a_watch(self, trial: Trial) -> None:
        """The plugin's own watch fails, rather than go on with the list of an emptied server."""
        trial.needs("restart", "watch")
        server, backend = trial.backend(), trial.backend()
        info = trial.info()
        server.register(info, CALL_S)
        following = trial.following(backend, info.service_name)
        trial.under_test.restart(wipe=True)
        trial.wait(
            lambda: following.error is not None,
            trial.bounds.two_intervals_s,
            f"a watch whose server began anew raised nothing, and gave {following.lists!r}",
        )
        trial.check(
            all(instances == (info,) for instances in following.lists),
            f"lists that the watch gave: {following.lists!r}",
        )

    def test_V8_what_is_reported_gone_is_dropped_at_once(self, trial: Trial) -> None:
        """Nothing is held of what leaves while the watch is live."""
        server, client = trial.open(), trial.open()
        stays, leaves = trial.info(name := trial.service()), trial.info(name)
        server.register_all([stays, leaves])
        view = trial.resolver(client, name)
        server.deregister(leaves)
        trial.shows(view, [stays])

    # --- V9 ------------------------------------------------------------------------------------

    def test_V9_an_idle_watch_ends_at_once(self, trial: Trial) -> None:
        """A watch that waits for changes ends within 200 ms of being stopped."""
        backend = trial.backend()
        for _ in range(REPEATS):
            expect_prompt_end(trial, trial.following(backend, trial.service()))

    def test_V9_a_watch_of_a_frozen_server_ends_at_once(self, trial: Trial) -> None:
        """So does one whose server has stopped to answer, and one that never got an answer."""
        trial.needs("freeze")
        backend, fresh = trial.backend(), trial.backend()
        idle = trial.following(backend, trial.service())
        with trial.server_frozen():
            begun = [Following(backend, trial.service()), Following(fresh, trial.service())]
            trial.pass_time(trial.bounds.interval_s / 2)
            for following in (idle, *begun):
                expect_prompt_end(trial, following)
        trial.await_answer(trial.open())

    def test_V9_watches_leave_nothing(self, trial: Trial) -> None:
        """After many watches of one plugin object there is no more than after the first."""
        backend = trial.backend()
        watch_once(trial, backend)
        before = held()
        for _ in range(REPEATS):
            watch_once(trial, backend)
        trial.wait(
            lambda: not held_beyond(before),
            trial.bounds.margin_s,
            f"{REPEATS} watches have ended, and what they held was not let go: "
            f"{held_beyond(before)}",
        )

    def test_V9_watches_that_failed_leave_nothing(self, trial: Trial) -> None:
        """Watches that were cut off, or that found nobody, leave nothing of their own."""
        trial.needs("kill", "watch")
        backend = trial.backend()
        watch_once(trial, backend)
        before = held()
        cut_off = [trial.following(backend, trial.service()) for _ in range(REPEATS)]
        with trial.server_away():
            found_nobody = [Following(backend, trial.service()) for _ in range(REPEATS)]
            for following in (*cut_off, *found_nobody):
                trial.wait(
                    partial(has_failed, following),
                    trial.bounds.two_intervals_s,
                    "a watch whose server is away raised nothing",
                )
                following.end(CALL_S)
        trial.await_answer(trial.open())
        watch_once(trial, backend)

        def left_by_each() -> list[str]:
            # What is kept for the next connection is not one for each watch.
            return [kind for kind, count in (held() - before).items() if count >= REPEATS]

        trial.wait(
            lambda: not left_by_each(),
            trial.bounds.two_intervals_s,
            f"watches have failed, and each left something: {held_beyond(before)}",
        )

    def test_V9_a_closed_registry_leaves_nothing(self, trial: Trial) -> None:
        """After close no thread, socket or file is left of what a registry did."""
        use_once(trial)  # what a client library keeps for the whole process is there after this
        before = held()
        for _ in range(COUNT):
            use_once(trial)
        trial.wait(
            lambda: not held_beyond(before),
            trial.bounds.margin_s,
            f"{COUNT} registries were closed, and what they held was not let go: "
            f"{held_beyond(before)}",
        )

    def test_V9_closing_before_a_frozen_server_leaves_nothing(self, trial: Trial) -> None:
        """The same if the server does not answer while the registry is closed."""
        trial.needs("freeze")
        use_once(trial)
        before = held()
        registry = trial.open()
        info = trial.info()
        registry.register(info)
        view = registry.resolver(info.service_name)
        trial.wait(lambda: view.instances, trial.bounds.arrival_s, "nothing was seen")
        with trial.server_frozen():
            outcome = trial.in_time(registry.close, 2 * CALL_S)
            trial.check(outcome is None, f"close raised {outcome!r}")
        trial.wait(
            lambda: not held_beyond(before),
            trial.bounds.two_intervals_s,
            f"a registry was closed, and what it held was not let go: {held_beyond(before)}",
        )
        trial.await_answer(trial.open())


def expect_stale(trial: Trial, view: Resolver) -> None:
    """Fail unless a view is stale in time."""
    trial.wait(
        lambda: view.stale, trial.bounds.two_intervals_s, "an outage was not noticed: not stale"
    )


def expect_fresh(trial: Trial, view: Resolver) -> None:
    """Fail unless a view is fresh again in time, the backend being back."""
    trial.wait(
        lambda: not view.stale,
        trial.bounds.back_s(1) + trial.bounds.arrival_s,
        "after an outage the view was still stale",
    )


def expect_right_again(
    trial: Trial, server: Registry, view: Resolver, before: Info, after: Info
) -> None:
    """Fail unless a view shows what happens after a disturbance, and nothing else."""
    trial.await_answer(trial.open())
    server.register(after)

    def right() -> bool:
        snapshot = view.snapshot()
        return same(snapshot.instances, [before, after]) and not (snapshot.stale or snapshot.held)

    trial.wait(
        right,
        trial.bounds.back_s(1) + trial.bounds.arrival_s,
        "the view did not become right again",
    )
    # Now it has to be live, not only right once.
    server.deregister(before)
    trial.shows(view, [after])


def expect_prompt_end(trial: Trial, following: Following) -> None:
    """Fail unless a watch ends in its time."""
    most_s = STOP_S + trial.bounds.margin_s
    took_s = following.end(most_s)
    trial.check(took_s is not None, f"a watch had not ended {most_s:.2f} s after it was stopped")


def has_failed(following: Following) -> bool:
    """Return whether an error has ended a watch."""
    return following.error is not None


def watch_once(trial: Trial, backend: Backend) -> None:
    """Watch until the first list, and end."""
    following = trial.following(backend, trial.service())
    expect_prompt_end(trial, following)


def use_once(trial: Trial) -> None:
    """Open a registry, use all of it, and close it."""
    with trial.under_test.open() as registry:
        info = trial.info()
        registry.register(info)
        with registry.resolver(info.service_name) as view:
            trial.shows(view, [info])
        registry.resolve(info.service_name)
        registry.deregister(info)
