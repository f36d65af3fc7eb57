"""The conformance kit: what a plugin's author runs to see that a backend keeps its promises.

Comes with the extra ``enlist[testing]``. See :mod:`enlist.testing.suite` for a whole test
module, :class:`BackendUnderTest` for what it says about the backend, and
:mod:`enlist.testing.rules` for what is tried.
"""

from enlist.testing.abilities import Abilities, Limits
from enlist.testing.rules import RULES, Rule, RuleBrokenError
from enlist.testing.suite import ConformanceSuite
from enlist.testing.under_test import BackendUnderTest, NotProvidedError

__all__ = [
    "RULES",
    "Abilities",
    "BackendUnderTest",
    "ConformanceSuite",
    "Limits",
    "NotProvidedError",
    "Rule",
    "RuleBrokenError",
]
