"""A folder for unix sockets; a plugin that the workspace's pyproject.toml loads.

The kernel takes no path of a socket beyond some hundred bytes. `tmp_path` is longer where the
repository lies deep, or `TMPDIR` does.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder of this test's own, with a short path wherever the tests run."""
    with tempfile.TemporaryDirectory(prefix="enlist-", dir="/tmp") as folder:
        yield Path(folder)
