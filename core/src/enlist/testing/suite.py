"""The whole kit as one class: :class:`ConformanceSuite`.

A plugin's test module is this, with as many disturbances as its author can provide::

    import datetime as dt
    import pytest
    from enlist.testing import Abilities, BackendUnderTest, ConformanceSuite

    class Redis(BackendUnderTest):
        url = "redis://127.0.0.1:16379?ttl=2"
        abilities = Abilities(ttl=dt.timedelta(seconds=2), kill=True)

        def kill(self) -> None: ...
        def start(self) -> None: ...

    @pytest.fixture(scope="module")
    def under_test():
        return Redis()

    class TestRedis(ConformanceSuite):
        pass

Each test is named after its rule, as in ``test_K3_back_after_a_deletion_by_hand``, so
``pytest -k K3`` tries one rule. The rule is in the failure. A test whose ability is not claimed
is skipped with the reason "not claimed: ..." and stands so in the report, which comes at the end
of the run and, with ``--enlist-report=PATH``, as JSON. A test that is skipped for another reason,
expected to fail or left out stands there too, and its rule does not count as kept.
"""

from __future__ import annotations

from enlist.testing.error_rules import ErrorRules
from enlist.testing.keep_rules import KeepRules
from enlist.testing.outage_view_rules import OutageViewRules
from enlist.testing.owner_rules import OwnerRules
from enlist.testing.process_rules import ProcessRules
from enlist.testing.register_rules import RegisterRules
from enlist.testing.view_rules import ViewRules

__all__ = ["ConformanceSuite"]


class ConformanceSuite(  # pytest collects the tests of the last base first
    OutageViewRules,
    ViewRules,
    ProcessRules,
    KeepRules,
    ErrorRules,
    OwnerRules,
    RegisterRules,
):
    """Every rule of the Registry spec as tests; subclass it under a name that begins with Test.

    It asks for the fixture ``under_test``, a :class:`~enlist.testing.BackendUnderTest`, which
    the test module defines: with ``scope="module"``, so that one server serves all tests.
    """
