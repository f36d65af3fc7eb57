"""A Redis for the example plugin, which starts it by itself: `python -m tests.servers.redis`.

Prints what to put into the environment, as JSON: the program by the name that the example's tests
know, and the libraries that were unpacked with it.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Final

from tests.servers.debian import Package
from tests.servers.fetch import Kind, cache_folder, find

REDIS: Final = Kind(
    name="redis-server",
    variable="ENLIST_REDIS_BINARY",
    suite="bookworm",
    packages=(
        Package("redis-server", "5:7.0.15-1~deb12u7"),
        Package("redis-tools", "5:7.0.15-1~deb12u7"),
        Package("libatomic1", "12.2.0-14+deb12u1"),
        Package("libjemalloc2", "5.3.0-1"),
        Package("liblzf1", "3.6-3"),
    ),
    path="usr/bin/redis-server",
    oldest=(6, 2),
    version_arguments=("--version",),
)


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables with which the example's tests find and start Redis.

    Raises:
        ServerMissingError: If the program cannot be had.
    """
    program = find(REDIS, environ)
    variables = {REDIS.variable: str(program)}
    if program.is_relative_to(cache_folder(environ)):
        libraries = (program.parents[1] / "lib").glob("*-linux-gnu*")
        variables["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, libraries))
    return variables


if __name__ == "__main__":
    sys.stdout.write(json.dumps(environment()) + "\n")
