"""The rules of the Registry spec as data: what every backend promises together with the core.

This is the one place where they are worded. The conformance kit prints a rule's text under each
failure, the report lists the rules by number, and the documentation is made from them.

R is about registering, K about staying registered, V about the view that a client has. A1 is
about the test module itself: what it claims is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["RULES", "Rule", "RuleBrokenError", "rule_of"]

_TEST_NAME: Final = re.compile(r"test_([ARKV][1-9][0-9]*)_")


@dataclass(frozen=True, slots=True)
class Rule:
    """One promise.

    Attributes:
        id: a letter and a number, as in the names of tests.
        title: a few words.
        text: the whole promise.
    """

    id: str
    title: str
    text: str

    def __str__(self) -> str:
        """Return the rule as a failure shows it."""
        return f"{self.id} {self.title}\n{self.text}"


class RuleBrokenError(AssertionError):
    """A backend was seen to break a rule; the message has what was seen, and the rule."""

    def __init__(self, rule: Rule, seen: str) -> None:
        """Say what was seen.

        Args:
            rule: the rule that is broken.
            seen: one sentence or more.
        """
        super().__init__(f"{seen}\n\nThe rule that this breaks:\n{rule}")
        self.rule = rule


def rule_of(test_name: str) -> Rule | None:
    """Return the rule that a test is about, from the test's name; None for a test of no rule."""
    found = _TEST_NAME.match(test_name)
    return RULES.get(found.group(1)) if found else None


_ALL: Final = (
    Rule(
        "A1",
        "Claims are true",
        "Every ability that the test module claims is there: the plugin implements the hook, or\n"
        "the backend under test provides the disturbance. What is not there must not be claimed.\n"
        "Every hook that the plugin implements is claimed, so that it is tried.",
    ),
    Rule(
        "R1",
        "Visible on return",
        "Once register has returned, any other client that resolves the service is given the\n"
        "instance, as it was registered.",
    ),
    Rule(
        "R2",
        "Lossless or refused",
        "Every complete Info comes back equal to what was registered. The one alternative is that\n"
        "register refuses it, with InvalidInfoError, before anything is written, and the error\n"
        "names the field and the limit. Inside the limits that a backend declares it refuses\n"
        "nothing.",
    ),
    Rule(
        "R3",
        "Bound to life",
        "A record lives no longer than its process. After kill -9 no resolver shows it when one\n"
        "granted ttl, one interval and the declared granularity of the server have passed. While\n"
        "the process lives, the record is there without a gap.",
    ),
    Rule(
        "R4",
        "Registering again replaces in place",
        "Registering an identity a second time, from the same process or from another one that\n"
        "takes it over, leaves exactly one record, and at no moment none.",
    ),
    Rule(
        "R5",
        "A record has an owner",
        "An explicit register takes an identity over; nothing else does. Whoever lost it becomes\n"
        "superseded: it neither writes over nor removes the record of the new owner, also when it\n"
        "closes, and it writes its own again once a beat finds that no live record is there. A\n"
        "record that carries no owner belongs to somebody else.",
    ),
    Rule(
        "R6",
        "Gone on return",
        "Once deregister has returned, no client is given the instance. To deregister what is not\n"
        "there is not an error.",
    ),
    Rule(
        "R7",
        "Errors, time and secrets",
        "Whatever goes wrong, the caller gets an error of enlist.errors of the right kind within\n"
        "the timeout of the call: unavailable, timed out, rejected, unauthorised, unsupported,\n"
        "invalid or closed. No failure passes for success. No message, log line or repr shows a\n"
        "secret.",
    ),
    Rule(
        "R8",
        "Refused before it is sent",
        "An Info that is incomplete, or that the backend cannot carry, never reaches the server.\n"
        "The error names the field and says which rule it breaks.",
    ),
    Rule(
        "K1",
        "A short outage costs nothing",
        "A backend that keeps its data may be away for up to half a ttl, and no registration is\n"
        "missing when it answers again, nor afterwards.",
    ),
    Rule(
        "K2",
        "Back after any outage",
        "However long the backend was away, and whether or not it still has its data, every\n"
        "registration is there again within two intervals of its first answer, plus the time that\n"
        "the declared rate allows for their number. No number of failures ends the attempts.",
    ),
    Rule(
        "K3",
        "Back after a deletion",
        "A record that somebody deleted is written again within one interval, unchanged.",
    ),
    Rule(
        "K4",
        "Back after a lost lease",
        "When a lease is revoked or a session expires, everything that was bound to it is written\n"
        "again within one interval.",
    ),
    Rule(
        "K5",
        "Back after a long sleep",
        "A process that was stopped for longer than its ttl, so that its records are gone, has\n"
        "them written again within one interval of going on.",
    ),
    Rule(
        "K6",
        "What left stays away",
        "Nothing that was deregistered appears again: no beat, repair or retry writes it, and a\n"
        "write that the server carries out late is removed. A deregister that found no backend is\n"
        "made up for when the backend answers.",
    ),
    Rule(
        "K7",
        "A forked child is inert",
        "A child process sends nothing for its parent: neither its use of the registry nor its\n"
        "closing, exit or finalisers touch the parent's records or connections, and it does not\n"
        "keep them alive when the parent is dead. What the child itself registers is its own.",
    ),
    Rule(
        "K8",
        "Seen from outside",
        "The state of each registration, its last error and its last success can be read as\n"
        "values, are logged when they change, and are told to extensions.",
    ),
    Rule(
        "K9",
        "The keeper survives bugs",
        "An exception that nobody foresaw is logged with its traceback, is one failed beat,\n"
        "and the next beat comes. Nothing that a plugin or an extension raises ends the keeper.",
    ),
    Rule(
        "V1",
        "The whole list first",
        "A watch begins with everybody who is there. A service that nobody registered is an empty\n"
        "list and not an error.",
    ),
    Rule(
        "V2",
        "The newest list arrives",
        "After a change the list that has it arrives at the push speed that the backend declares,\n"
        "whatever the change was and however many came before. Lists in between may be left out.",
    ),
    Rule(
        "V3",
        "Never backwards",
        "Within a watch no list is older than the one before it, a new watch begins no earlier\n"
        "than the last one ended, and nothing is said while nothing changes.",
    ),
    Rule(
        "V4",
        "An error empties nothing",
        "While the backend is away the last list stays and is marked stale. Two intervals are\n"
        "enough to notice a backend that accepts connections and never answers.",
    ),
    Rule(
        "V5",
        "One bad record spoils nothing",
        "A record that cannot be read is left out, with one warning that names it. All others are\n"
        "returned.",
    ),
    Rule(
        "V6",
        "Exactly that name",
        "A service is found under its own name only: not under a longer one that begins with it,\n"
        "nor one of other case, nor one that is nested in it.",
    ),
    Rule(
        "V7",
        "Right again by itself",
        "After a restart, a compaction or an event that was lost, the view becomes right without\n"
        "anybody's help.",
    ),
    Rule(
        "V8",
        "Held while servers come back",
        "What the first lists after a failed watch lack is kept, marked stale, for a ttl and two\n"
        "intervals, and then dropped. What a live watch reports gone is dropped at once.",
    ),
    Rule(
        "V9",
        "A watch ends and leaves nothing",
        "A watch ends within 200 ms of being stopped, also when the server is frozen, and leaves\n"
        "no thread, socket or file open. Nor does a closed registry.",
    ),
)

RULES: Final[Mapping[str, Rule]] = MappingProxyType({rule.id: rule for rule in _ALL})
"""Every rule by its id, in the order in which they are reported."""
