"""What stays together, and what comes first, when the tests are shared out."""

import pytest

from tests.sharing import rank_of, share_of

CONFORMANCE = "plugins/etcd/tests/test_conformance_etcd.py"


@pytest.mark.parametrize(
    "nodeid,share",
    [
        ("core/tests/test_info.py::test_K1_name[a::test_V2]", "core/tests/test_info.py"),
        ("core/tests/test_aio.py::TestTwins::test_all", "core/tests/test_aio.py"),
        (f"{CONFORMANCE}::TestEtcd::test_R1_found[x]", f"{CONFORMANCE} R"),
        (f"{CONFORMANCE}::TestEtcd::test_V8_held", f"{CONFORMANCE} V"),
        (f"{CONFORMANCE}::test_of_its_own", CONFORMANCE),
    ],
)
def test_files_stay_whole_but_for_conformance(nodeid: str, share: str) -> None:
    """Only the longest files are divided, by the kind of rule."""
    assert share_of(nodeid) == share


def test_long_files_are_begun_with() -> None:
    """What takes minutes is not left for the end, and what has one try not for the busiest time."""
    order = [
        "core/tests/test_kit_catches_broken_plugins.py::test_correct_plugin_keeps_every_rule",
        f"{CONFORMANCE}::TestEtcd::test_R1_found",
        "plugins/etcd/tests/test_outages.py::test_outage",
        "core/tests/test_lifecycle_web.py::test_rolling_restart_loses_no_call[wsgi]",
        "core/tests/test_address.py::test_parse",
    ]
    begun = order[::-1]
    begun.sort(key=rank_of)
    assert begun == order
