"""Another etcd library in the same process; run by the session ``beside``, which installs them.

Each registers etcd's messages in protobuf's common pool, where a second one of them fails to
import. So each has a process of its own here, together with this plugin.
"""

import subprocess
import sys
from typing import Final

import pytest

from plugins.etcd.tests.making import MakeInfo, key_of
from tests.servers.etcd import EtcdServer

OURS: Final = """
import sys
from enlist import Info, open_registry
endpoint, service_name, addr, key = sys.argv[1:]
info = Info(service_name=service_name, addr=addr)
registry = open_registry(f"etcd://{endpoint}")
registry.register(info)
"""
AETCD: Final = """
import aetcd, asyncio
async def read(endpoint, key):
    host, port = endpoint.split(":")
    async with aetcd.Client(host, int(port)) as client:
        return (await client.get(key.encode())).value
"""
ETCD3AIO: Final = """
import asyncio, etcd3aio
async def read(endpoint, key):
    async with etcd3aio.Etcd3Client([endpoint]) as client:
        return (await client.kv.get(key)).kvs[0].value
"""
READ: Final = """
with registry, registry.resolver(service_name) as resolver:
    assert resolver.wait_for(1) == (info,)
    print(asyncio.run(read(endpoint, key)).decode())
"""


@pytest.mark.parametrize("library", [AETCD, ETCD3AIO], ids=["aetcd", "etcd3aio"])
@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "ours second"])
def test_plugin_works_beside_another_etcd_library(
    etcd_server: EtcdServer, make_info: MakeInfo, library: str, *, ours_first: bool
) -> None:
    """Both are used in one process, whichever is imported first, and read the same record."""
    info = make_info()
    parts = [OURS, library] if ours_first else [f"import sys{library}", OURS]
    program = "\n".join([*parts, READ])
    arguments = [etcd_server.endpoint, info.service_name, str(info.addr), key_of(info)]
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert f'"address":"{info.addr}"' in result.stdout


def test_others_clash_with_each_other() -> None:
    """What this plugin is spared is real: two of the others cannot be imported together."""
    result = subprocess.run(
        [sys.executable, "-c", "import aetcd, etcd3aio"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "mvccpb.KeyValue" in result.stderr
