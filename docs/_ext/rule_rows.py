"""The rules of the contract, each with its tests.

R, K and V are worded in :mod:`enlist.testing.rules`, and a test of the conformance kit is named
after its rule. S is about serving, which is no business of a plugin: it is worded here, and its
tests are those of the core.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from enlist.testing import RULES, ConformanceSuite

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RuleRow:
    """One rule as it is shown.

    Attributes:
        id: such as "K3".
        title: a few words.
        text: the promise, on one line.
        links: MyST links to the tests.
    """

    id: str
    title: str
    text: str
    links: tuple[str, ...]


@dataclass(frozen=True)
class ServingRule:
    """One rule about serving; its tests as "test_file::test_name" of core/tests."""

    id: str
    title: str
    text: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Test:
    """One test function of the core, found in its file."""

    place: str
    name: str

    @property
    def path(self) -> Path:
        """The file."""
        return ROOT / self.place

    @property
    def anchor(self) -> str:
        """Where it is shown."""
        return f"{self.path.stem}-{self.name}".replace("_", "-")

    @property
    def source(self) -> str:
        """The function, with its decorators.

        Raises:
            LookupError: the file has no such function.
        """
        text = self.path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name == self.name:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
        raise LookupError(f"{self.place} has no test {self.name}")


SERVING_RULES = (
    ServingRule(
        "S1",
        "Enlisted when it serves",
        "A server is registered only once its port accepts connections and, where told to ask, "
        "once the server says that it is ready.",
        (
            "test_serving::test_enlisted_waits_until_the_port_accepts",
            "test_serving::test_enlisted_waits_until_the_server_says_it_is_ready",
            "test_serving::test_enlisted_asks_for_readiness_only_after_the_port_accepts",
            "test_frameworks_asgi::test_aserve_enlists_after_the_lifespan_has_started",
            "test_frameworks_gunicorn::test_app_that_does_not_load_is_never_enlisted",
        ),
    ),
    ServingRule(
        "S2",
        "Leaves before it stops",
        "On a stop the server is deregistered first. It goes on serving until `drain` has passed "
        "since the stop began, and then its running calls have `grace`.",
        (
            "test_serving::test_stop_serves_on_until_the_drain_is_over",
            "test_serving::test_enlisted_drains_for_as_long_as_was_said",
            "test_serving::test_stop_counts_the_drain_from_when_it_was_asked_for",
            "test_lifecycle_web::test_rolling_restart_of_web_servers_loses_no_call",
            "test_frameworks_thrift::test_stop_lets_a_running_call_end_and_closes_idle_connections",
            "test_frameworks_grpc::test_health_is_told_while_enlisted_and_watches_end_with_the_drain",
            "test_lifecycle::test_rolling_restart_loses_no_call",
        ),
    ),
    ServingRule(
        "S3",
        "Signals",
        "SIGTERM and SIGINT do exactly that, and a second one skips the rest of the drain. Only "
        "`enlist run` and the functions called `serve` install handlers, and what was there "
        "before is called too. A framework that takes signals itself keeps them, and hears of one "
        "when the drain is over.",
        (
            "test_serving::test_serve_leaves_on_a_signal_and_serves_on",
            "test_frameworks_grpc::test_serve_skips_the_drain_on_a_second_signal",
            "test_frameworks_thrift::test_serve_skips_the_drain_on_a_second_signal",
            "test_signals::test_wait_hears_a_signal_that_another_thread_was_given",
            "test_serving::test_serve_calls_the_handler_that_was_there",
            "test_serving::test_serve_leaves_an_ignored_signal_ignored",
            "test_serving::test_serve_ends_on_a_signal_during_the_start",
            "test_frameworks_asgi::test_serve_skips_the_drain_on_a_second_signal",
            "test_frameworks_gunicorn::test_sigterm_has_the_workers_serve_on",
            "test_frameworks_gunicorn::test_quick_stop_leaves_without_a_drain",
        ),
    ),
    ServingRule(
        "S4",
        "A failed start leaves nothing",
        "When a start fails, no record, thread or open server is left behind.",
        (
            "test_serving::test_enlisted_without_readiness_leaves_nothing_behind",
            "test_serving::test_serve_that_fails_to_start_leaves_nothing_behind",
            "test_frameworks_grpc::test_enlisted_that_fails_stops_the_server",
            "test_frameworks_grpc::test_aenlisted_cancelled_during_the_start_leaves_nothing",
            "test_frameworks_asgi::test_aserve_that_cannot_enlist_stops_the_server",
            "test_frameworks_thrift::test_enlisted_that_fails_stops_the_server",
        ),
    ),
    ServingRule(
        "S5",
        "A registry that is down at the start",
        'It fails the start with a clear error. With `on_unavailable="retry"` the server runs '
        "and is enlisted when the registry can be reached.",
        (
            "test_serving::test_enlisted_raises_when_the_backend_is_down",
            "test_serving::test_enlisted_with_retry_enlists_when_the_backend_is_back",
            "test_frameworks_gunicorn::test_registry_that_is_away_fails_the_start",
        ),
    ),
)


def rows(letter: str) -> Sequence[RuleRow]:
    """Return the rules whose ids begin with the letter."""
    if letter == "S":
        return [_serving_row(rule) for rule in SERVING_RULES]
    return [
        RuleRow(rule.id, rule.title, " ".join(rule.text.split()), kit_links(rule.id))
        for rule in RULES.values()
        if rule.id.startswith(letter)
    ]


def kit_tests(rule_id: str) -> dict[str, str]:
    """Return the kit's tests of a rule: the name of each, and the class that has it."""
    found = {}
    for group in ConformanceSuite.__mro__:
        for name in vars(group):
            if re.match(rf"test_{rule_id}_", name):
                found[name] = f"{group.__module__}.{group.__qualname__}"
    return found


def kit_links(rule_id: str) -> tuple[str, ...]:
    """Return links to the kit's tests of a rule, each called by the words of its name."""
    return tuple(
        f"{{py:meth}}`{_words(name, rule_id)} <{group}.{name}>`"
        for name, group in kit_tests(rule_id).items()
    )


def serving_tests() -> Sequence[Test]:
    """Return the tests of all rules about serving, each once."""
    return list(dict.fromkeys(test for rule in SERVING_RULES for test in tests_of(rule)))


def tests_of(rule: ServingRule) -> Sequence[Test]:
    """Return the tests of one rule about serving."""
    named = (test.split("::") for test in rule.tests)
    return [Test(f"core/tests/{file}.py", name) for file, name in named]


def _serving_row(rule: ServingRule) -> RuleRow:
    links = tuple(
        f"[{_words(test.name, '')}](../reference/serving-tests.md#{test.anchor})"
        for test in tests_of(rule)
    )
    return RuleRow(rule.id, rule.title, rule.text, links)


def _words(name: str, rule_id: str) -> str:
    return name.removeprefix("test_").removeprefix(f"{rule_id}_").replace("_", " ")
