"""What the groups of tests share: the trial that each test gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enlist.testing.rules import rule_of
from enlist.testing.trial import Trial
from enlist.testing.under_test import BackendUnderTest

__all__ = ["KitTests"]


class KitTests:
    """The base of each group of tests; see :class:`enlist.testing.suite.ConformanceSuite`."""

    @pytest.fixture
    def trial(
        self, request: pytest.FixtureRequest, under_test: BackendUnderTest
    ) -> Iterator[Trial]:
        """Give what a test of a rule works with, and take all of it down afterwards."""
        name = request.function.__name__
        rule = rule_of(name)
        if rule is None:
            pytest.fail(
                f"{name} is named after no rule; its name begins like test_R1_", pytrace=False
            )
        trial = Trial(rule, under_test)
        try:
            yield trial
        finally:
            trial.end()
