"""What stays together, and what comes first, when the tests are shared out."""

import pytest

from tests.sharing import is_long, share_of

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
    """What waits for outages does not come last, when nothing else is left to do."""
    assert is_long(f"{CONFORMANCE}::TestEtcd::test_R1_found")
    assert not is_long("core/tests/test_info.py::test_name")
