"""The tests of V1 to V3, V5 and V6: what a client sees while the backend is well."""

from __future__ import annotations

import logging
import statistics
from dataclasses import replace
from functools import partial

import pytest

from enlist.info import Info
from enlist.testing.base import KitTests
from enlist.testing.making import NAME_PREFIX
from enlist.testing.trial import CALL_S, Trial

__all__ = ["ViewRules"]

CHANGES = 20
RACES = 15


class ViewRules(KitTests):
    """V1 to V3, V5 and V6."""

    # --- V1 ------------------------------------------------------------------------------------

    def test_V1_the_first_list_is_whole(self, trial: Trial) -> None:
        """A watch begins with everybody who is there, in one list."""
        server, backend = trial.open(), trial.backend()
        name = trial.service()
        infos = [trial.info(name) for _ in range(CHANGES)]
        server.register_all(infos)
        first = trial.following(backend, name).lists[0]
        trial.check(
            len(first) == len(infos) and set(first) == set(infos),
            f"the first list had {len(first)} of {len(infos)} instances: {first!r}",
        )

    def test_V1_nobody_is_an_empty_list(self, trial: Trial) -> None:
        """A service that nobody registered is an empty list, from resolve and from a watch."""
        client, backend = trial.open(), trial.backend()
        name = trial.service()
        found: list[object] = []
        outcome = trial.in_time(lambda: found.append(client.resolve(name)), CALL_S)
        trial.check(outcome is None and found == [()], f"resolve: {outcome!r}, {found!r}")
        first = trial.following(backend, name).lists[0]
        trial.check(first == (), f"the first list was {first!r}")

    def test_V1_a_resolver_of_nobody_is_empty_and_fresh(self, trial: Trial) -> None:
        """A client that follows a service without instances knows that there are none."""
        view = trial.resolver(trial.open(), trial.service())
        trial.check(view.instances == (), f"it shows {view.instances!r}")

    # --- V2 ------------------------------------------------------------------------------------

    def test_V2_each_change_arrives_at_push_speed(self, trial: Trial) -> None:
        """New, changed and leaving instances are seen as fast as is declared; the median counts."""
        server, client = trial.open(), trial.open()
        info = trial.info(**trial.numbered(1))
        view = trial.resolver(client, info.service_name)
        took = []
        for number in range(1, CHANGES + 1):
            info = replace(info, **trial.numbered(number))
            server.register(info)
            took.append(trial.shows(view, (info,)))
            if number % 5 == 0:
                server.deregister(info)
                took.append(trial.shows(view, ()))
        most_s = trial.bounds.push_s + trial.bounds.margin_s / 4
        median_s = statistics.median(took)
        trial.check(
            median_s <= most_s,
            f"declared is {trial.bounds.push_s:g} s; the median was {median_s:.3f} s",
        )

    def test_V2_a_change_right_after_the_first_list_arrives(self, trial: Trial) -> None:
        """What happens between the first list and the next look is not missed."""
        server, backend = trial.open(), trial.backend()
        name = trial.service()
        for _ in range(3):
            following = trial.following(backend, name, paused=True)
            info = trial.info(name)
            server.register(info)
            following.go_on()
            trial.wait(
                partial(following.has_shown, info),
                trial.bounds.arrival_s,
                "a change that came while the first list was being read did not arrive",
            )
            following.end(CALL_S)

    def test_V2_a_change_while_a_watch_begins_arrives(self, trial: Trial) -> None:
        """What happens while a watch is being set up is in one of its lists."""
        server, client = trial.open(), trial.open()
        for _ in range(RACES):
            info = trial.info()
            registered = trial.concurrently(partial(server.register, info))
            with client.resolver(info.service_name) as view:
                registered()
                trial.shows(view, (info,))

    def test_V2_the_last_of_many_changes_arrives(self, trial: Trial) -> None:
        """After a burst of changes the view is what was registered last."""
        server, client = trial.open(), trial.open()
        name = trial.service()
        view = trial.resolver(client, name)
        infos = [trial.info(name) for _ in range(CHANGES)]
        for number in range(1, 4):
            infos = [replace(info, **trial.numbered(number)) for info in infos]
            for info in infos:
                server.register(info)
        for info in infos[:5]:
            server.deregister(info)
        trial.shows(view, infos[5:])

    def test_V2_a_change_by_another_process_arrives(self, trial: Trial) -> None:
        """What another process registers and removes is seen as fast as what this one does."""
        client, worker = trial.open(), trial.worker()
        info = trial.info()
        view = trial.resolver(client, info.service_name)
        worker.register(info)
        trial.shows(view, [info])
        worker.deregister(info)
        trial.shows(view, [])

    # --- V3 ------------------------------------------------------------------------------------

    def test_V3_no_list_is_older_than_the_one_before(self, trial: Trial) -> None:
        """While one instance is updated again and again, each list is newer than the last."""
        server, backend = trial.open(), trial.backend()
        info = trial.info(**trial.numbered(1))
        server.register(info)
        following = trial.following(backend, info.service_name)
        order = {info: 1}
        for number in range(2, 4 * CHANGES):
            info = replace(info, **trial.numbered(number))
            order[info] = number
            server.register(info)
        trial.wait(
            lambda: following.newest == (info,), trial.bounds.arrival_s, "the last did not arrive"
        )
        seen = [order.get(one, 0) for instances in following.lists for one in instances]
        trial.check(seen == sorted(seen), f"the order in which the updates came: {seen}")

    def test_V3_a_new_watch_begins_no_earlier(self, trial: Trial) -> None:
        """The first list of a new watch is no older than what is registered."""
        server, backend = trial.open(), trial.backend()
        info = trial.info(**trial.numbered(1))
        for number in range(1, CHANGES // 2):
            info = replace(info, **trial.numbered(number))
            server.register(info)
            following = trial.following(backend, info.service_name)
            first = following.lists[0]
            trial.check(first == (info,), f"after {info!r} a new watch began with {first!r}")
            following.end(CALL_S)

    def test_V3_nothing_is_said_while_nothing_changes(self, trial: Trial) -> None:
        """Signs of life, and changes of other services, yield no list."""
        server, backend = trial.open(), trial.backend()
        info = trial.info()
        server.register(info)
        following = trial.following(backend, info.service_name)
        server.register(trial.info())
        trial.stays(
            lambda: len(following.lists) == 1,
            trial.bounds.beats_s,
            "a list came although nothing had changed",
        )

    # --- V5 ------------------------------------------------------------------------------------

    def test_V5_a_malformed_record_spoils_nothing(
        self, trial: Trial, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Resolve leaves it out with one warning that names it, and returns all others."""
        trial.needs("malformed_records")
        server, client = trial.open(), trial.open()
        name = trial.service()
        infos = [trial.info(name), trial.info(name)]
        server.register_all(infos)
        key = trial.under_test.put_malformed(name)
        outcome = trial.in_time(lambda: client.resolve(name), CALL_S)
        trial.check(outcome is None, f"one malformed record made resolve raise {outcome!r}")
        expect_one_warning(trial, caplog, key)
        trial.found(client, infos)

    def test_V5_a_malformed_record_spoils_no_watch(
        self, trial: Trial, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A watch leaves it out with one warning that names it, and goes on."""
        trial.needs("malformed_records")
        server, backend = trial.open(), trial.backend()
        name = trial.service()
        infos = [trial.info(name)]
        server.register(infos[0])
        following = trial.following(backend, name)
        key = trial.under_test.put_malformed(name)
        for _ in range(3):
            infos.append(trial.info(name))
            server.register(infos[-1])
            trial.wait(
                lambda: set(following.newest or ()) == set(infos),
                trial.bounds.arrival_s,
                f"a watch that met a malformed record ({following.error!r}) did not go on",
            )
        expect_one_warning(trial, caplog, key)

    def test_V5_a_malformed_record_spoils_no_listing(self, trial: Trial) -> None:
        """The names are listed, although one of them has a malformed record beside another."""
        trial.needs("malformed_records", "services")
        server, client = trial.open(), trial.open()
        info = trial.info()
        server.register(info)
        trial.under_test.put_malformed(info.service_name)
        listed: list[str] = []
        outcome = trial.in_time(lambda: listed.extend(client.services()), CALL_S)
        trial.check(outcome is None, f"one malformed record made services raise {outcome!r}")
        trial.check(
            info.service_name in listed, f"services gave {listed!r}, not {info.service_name!r}"
        )

    def test_V5_a_malformed_record_can_be_replaced(self, trial: Trial) -> None:
        """A service that only has a malformed record is empty, and can be registered."""
        trial.needs("malformed_records")
        server, client = trial.open(), trial.open()
        info = trial.info()
        trial.under_test.put_malformed(info.service_name)
        trial.check(not client.resolve(info.service_name), "a malformed record was returned")
        server.register(info)
        trial.found(client, [info])

    # --- V6 ------------------------------------------------------------------------------------

    def test_V6_resolve_finds_exactly_that_name(self, trial: Trial) -> None:
        """Names that begin alike, or differ in case, are other services."""
        server, client = trial.open(), trial.open()
        infos = alike(trial)
        server.register_all(infos)
        for info in infos:
            trial.found(client, [info])
        server.deregister(infos[0])
        trial.check(
            not client.resolve(infos[0].service_name), "a name was found under another's record"
        )

    def test_V6_a_watch_sees_exactly_that_name(self, trial: Trial) -> None:
        """A watch of one name shows no instance of one that is alike."""
        server, client = trial.open(), trial.open()
        infos = alike(trial)
        view = trial.resolver(client, infos[0].service_name)
        for info in infos[1:]:
            server.register(info)
        trial.stays(
            lambda: view.instances == (), trial.bounds.interval_s, "a watch saw another service"
        )
        server.register(infos[0])
        trial.shows(view, infos[:1])

    def test_V6_services_lists_each_name_exactly(self, trial: Trial) -> None:
        """The names that are listed are those that were registered, each once."""
        trial.needs("services")
        server, client = trial.open(), trial.open()
        infos = alike(trial)
        server.register_all(infos)
        due = sorted(info.service_name for info in infos)
        listed = [
            name for name in client.services() if name.lower().startswith(due[0].lower()[:20])
        ]
        trial.check(sorted(listed) == due, f"services gave {listed!r}; registered were {due!r}")

    def test_V6_a_nested_name_is_another_service(self, trial: Trial) -> None:
        """A foreign record of "echo/x" is no instance of "echo"."""
        trial.needs("nested_names")
        server, client = trial.open(), trial.open()
        info = trial.info()
        server.register(info)
        nested = trial.info(info.service_name)
        trial.under_test.put_foreign(nested, service_name=f"{info.service_name}/x")
        trial.found(client, [info])
        trial.check(
            trial.resolver(client, info.service_name).instances == (info,),
            "a watch showed what is nested in the name",
        )


def alike(trial: Trial) -> list[Info]:
    """Return instances of services whose names are alike; the first is the shortest."""
    name = trial.service("-echo")
    endings = ("", "-v2", "2", ".x", ":x", "-", "%", " x")
    names = [name + ending for ending in endings]
    names.append(name.upper().replace(NAME_PREFIX.upper(), NAME_PREFIX))
    return [info for one in names if trial.carries(info := trial.info(one))]


def expect_one_warning(trial: Trial, caplog: pytest.LogCaptureFixture, key: str) -> None:
    """Fail unless exactly one warning names the record."""
    warnings = [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ]
    naming = [message for message in warnings if key in message]
    trial.check(len(naming) == 1, f"warnings that name {key!r}: {naming!r}; all: {warnings!r}")
