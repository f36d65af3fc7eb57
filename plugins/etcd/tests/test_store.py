"""What the plugin writes, removes and reports, seen from both sides on a real etcd."""

import base64
from collections.abc import Sequence

import pytest

from enlist.errors import UnavailableError
from enlist.hookspecs import Lost, Why
from enlist_etcd.deadline import Deadline
from enlist_etcd.messages import PUT
from enlist_etcd.plugin import EtcdRegistry
from plugins.etcd.tests.making import CALL_S, PREFIX, MakeInfo, MakePlugin, key_of, lease_of
from tests.bench.raw_etcd import calls_so_far
from tests.servers.etcd import EtcdServer

KITEX = '{"address":"10.0.0.1:80"}'


@pytest.fixture
def ours(make_plugin: MakePlugin, etcd_server: EtcdServer) -> EtcdRegistry:
    return make_plugin(etcd_server.endpoint)


@pytest.fixture
def theirs(make_plugin: MakePlugin, etcd_server: EtcdServer) -> EtcdRegistry:
    return make_plugin(etcd_server.endpoint)


def whys(lost: Sequence[Lost]) -> dict[str, Why]:
    return {str(one.info.addr): one.why for one in lost}


def test_all_records_hang_on_one_lease(
    ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """However many records a process has, it costs etcd one lease."""
    before = set(etcd_server.leases())
    infos = [make_info() for _ in range(3)]
    ours.register(infos[0], CALL_S)
    assert ours.restore(infos[1:], CALL_S) == []
    (lease,) = set(etcd_server.leases()) - before
    assert {lease_of(etcd_server, info) for info in infos} == {lease}


def test_register_under_an_ended_lease_has_a_new_one_granted(
    ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """An explicit call does not fail because the process slept past its ttl."""
    first, second = make_info(), make_info()
    ours.register(first, CALL_S)
    etcd_server.revoke(lease_of(etcd_server, first))
    ours.register(second, CALL_S)
    assert ours.resolve(first.service_name, CALL_S) == [second]
    assert whys(ours.keep_alive([first, second], CALL_S).lost) == {str(first.addr): Why.GONE}


def test_restore_under_an_ended_lease_has_a_new_one_granted(
    ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """The same for the keeper's repair."""
    info = make_info()
    ours.register(info, CALL_S)
    etcd_server.revoke(lease_of(etcd_server, info))
    assert ours.restore([info], CALL_S) == []
    assert ours.keep_alive([info], CALL_S).lost == []


def test_keep_alive_tells_gone_superseded_and_alive_apart(
    ours: EtcdRegistry, theirs: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """One beat finds out about every record, whatever happened to it."""
    _alive, deleted, taken, kitex, copied = infos = [make_info() for _ in range(5)]
    ours.restore(infos, CALL_S)
    value = etcd_server.get(key_of(copied))
    etcd_server.delete(key_of(deleted))
    theirs.register(taken, CALL_S)
    etcd_server.put(key_of(kitex), "{}")
    etcd_server.put(key_of(copied), value or "")  # ours, and no longer on our lease
    beat = ours.keep_alive(infos, CALL_S)
    assert beat.valid_for_s == 15
    assert whys(beat.lost) == {
        str(deleted.addr): Why.GONE,
        str(taken.addr): Why.SUPERSEDED,
        str(kitex.addr): Why.SUPERSEDED,
        str(copied.addr): Why.GONE,
    }


def test_keep_alive_is_two_calls_however_many_records_there_are(
    ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """The renewal and the list of the lease's keys, by etcd's own count, and nothing else."""
    infos = [make_info() for _ in range(1_000)]
    ours.restore(infos, 20.0)
    before = calls_so_far(etcd_server.port)
    assert ours.keep_alive(infos, CALL_S).lost == []
    taken = calls_so_far(etcd_server.port) - before
    assert taken == {"LeaseKeepAlive": 1, "LeaseTimeToLive": 1}


def test_keep_alive_takes_an_answer_above_grpcs_usual_limit(
    ours: EtcdRegistry, make_info: MakeInfo
) -> None:
    """Tens of thousands of long keys are more than the 4 MiB that gRPC takes by default."""
    info = make_info()
    ours.register(info, CALL_S)
    parts = ours._open()
    lease = parts.lease.id_if_granted()
    assert lease is not None
    for number in range(5):
        key = f"{PREFIX}/{number}".encode().ljust(1_000_000, b"k")
        parts.client.call(PUT, parts.operations.plain_put(key, b"", lease), Deadline(20.0))
    assert ours.keep_alive([info], 20.0).lost == []
    parts.lease.revoke(Deadline(20.0))


def test_keep_alive_after_the_lease_ended_reports_all_gone(
    ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """A lease that is gone took every record with it, and the next beat has a new one."""
    infos = [make_info() for _ in range(2)]
    ours.restore(infos, CALL_S)
    etcd_server.revoke(lease_of(etcd_server, infos[0]))
    for _ in range(2):
        beat = ours.keep_alive(infos, CALL_S)
        assert {one.why for one in beat.lost} == {Why.GONE}
        assert len(beat.lost) == 2


def test_restore_writes_what_is_absent_or_ours_and_nothing_else(
    ours: EtcdRegistry, theirs: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """In one mixed batch another owner's record, Kitex's and a broken one stay as they are."""
    absent, mine, taken, kitex, broken, copied = infos = [make_info() for _ in range(6)]
    ours.restore([mine, copied], CALL_S)
    value = etcd_server.get(key_of(copied))
    etcd_server.put(key_of(copied), value or "")
    theirs.register(taken, CALL_S)
    others = {key_of(kitex): '{"weight":1}', key_of(broken): "}{"}
    for key, text in others.items():
        etcd_server.put(key, text)
    before = etcd_server.get(key_of(taken))
    lost = ours.restore(infos, CALL_S)
    assert whys(lost) == dict.fromkeys(
        map(str, (taken.addr, kitex.addr, broken.addr)), Why.SUPERSEDED
    )
    assert etcd_server.get(key_of(taken)) == before
    assert {key: etcd_server.get(key) for key in others} == others
    assert whys(ours.keep_alive([absent, mine, copied], CALL_S).lost) == {}


def test_restore_of_hundreds_with_some_taken_writes_the_others(
    ours: EtcdRegistry, theirs: EtcdRegistry, make_info: MakeInfo
) -> None:
    """More records than a transaction takes, in every batch one of another owner."""
    infos = [make_info() for _ in range(300)]
    taken = infos[::100]
    theirs.restore(taken, CALL_S)
    lost = ours.restore(infos, 10.0)
    assert whys(lost) == {str(info.addr): Why.SUPERSEDED for info in taken}
    assert len(ours.resolve(infos[0].service_name, CALL_S)) == 300


def test_restore_of_large_records_stays_below_the_limit_of_a_request(
    ours: EtcdRegistry, make_info: MakeInfo
) -> None:
    """128 records with all the tags that an Info may have are more than etcd takes at once."""
    tags = {f"{number}": "\x01" * 1_000 for number in range(8)}  # six bytes each as JSON
    infos = [make_info(tags=tags) for _ in range(128)]
    assert ours.restore(infos, 20.0) == []
    assert len(ours.resolve(infos[0].service_name, CALL_S)) == 128


def test_restore_follows_the_limit_of_operations_that_was_set(
    make_plugin: MakePlugin, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """With the lowest limit every way of writing still works."""
    plugin, other = (
        make_plugin(etcd_server.endpoint, max_txn_ops=2),
        make_plugin(etcd_server.endpoint),
    )
    infos = [make_info() for _ in range(5)]
    other.register(infos[0], CALL_S)
    assert whys(plugin.restore(infos, CALL_S)) == {str(infos[0].addr): Why.SUPERSEDED}
    assert whys(plugin.keep_alive(infos, CALL_S).lost) == {str(infos[0].addr): Why.SUPERSEDED}
    assert plugin.withdraw(infos, CALL_S) == []
    assert plugin.resolve(infos[0].service_name, CALL_S) == [infos[0]]


def test_restore_without_an_etcd_raises(make_plugin: MakePlugin, make_info: MakeInfo) -> None:
    """Nothing was written, and the keeper is told so."""
    plugin = make_plugin("127.0.0.1:1")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        plugin.restore([make_info() for _ in range(300)], CALL_S)


def test_deregister_removes_ours_under_any_lease(
    ours: EtcdRegistry, theirs: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """What counts is the owner; absent records and those of others are no error and stay."""
    mine, copied, taken, absent = [make_info() for _ in range(4)]
    ours.restore([mine, copied], CALL_S)
    etcd_server.put(key_of(copied), etcd_server.get(key_of(copied)) or "")
    theirs.register(taken, CALL_S)
    for info in (mine, copied, taken, absent):
        ours.deregister(info, CALL_S)
    assert ours.resolve(mine.service_name, CALL_S) == [taken]


def test_deregister_without_a_lease_leaves_a_record_without_a_lease(
    ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """A process that never registered has no record to remove, not even one with lease 0."""
    info = make_info()
    etcd_server.put(key_of(info), "{}")
    ours.deregister(info, CALL_S)
    assert etcd_server.get(key_of(info)) == "{}"


def test_withdraw_of_all_revokes_the_lease(
    ours: EtcdRegistry, theirs: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """Whatever the number, leaving takes two calls, and others' records stay."""
    infos = [make_info() for _ in range(200)]
    ours.restore(infos, CALL_S)
    lease = lease_of(etcd_server, infos[0])
    theirs.register(infos[7], CALL_S)
    assert ours.withdraw(infos, CALL_S) == []
    assert lease not in etcd_server.leases()
    assert ours.resolve(infos[0].service_name, CALL_S) == [infos[7]]


def test_withdraw_of_some_leaves_the_others(ours: EtcdRegistry, make_info: MakeInfo) -> None:
    """The lease is revoked only if nothing else hangs on it."""
    infos = [make_info() for _ in range(200)]
    ours.restore(infos, CALL_S)
    assert ours.withdraw(infos[1:], CALL_S) == []
    assert ours.keep_alive(infos[:1], CALL_S).lost == []
    assert ours.resolve(infos[0].service_name, CALL_S) == infos[:1]


def test_services_have_a_readable_record(
    ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo, name: str
) -> None:
    """Names with nothing but broken records, nested ones, and what is no name are not listed."""
    ours.register(make_info(), CALL_S)
    etcd_server.put(f"{PREFIX}/{name}-broken/10.0.0.1:80", "{}")
    etcd_server.put(f"{PREFIX}/{name}-nested/x/10.0.0.1:80", KITEX)
    etcd_server.put(f"{PREFIX}//10.0.0.1:80", KITEX)
    key = base64.b64encode(f"{PREFIX}/{name}".encode() + b"\xff/10.0.0.1:80").decode()
    etcd_server.call("kv/put", {"key": key, "value": base64.b64encode(KITEX.encode()).decode()})
    names = ours.services(CALL_S)
    assert [found for found in names if found.startswith(name)] == [name]
    assert "" not in names


def test_close_removes_what_is_left_of_ours(
    make_plugin: MakePlugin, ours: EtcdRegistry, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """Without a deregister before it too; and a second close does nothing."""
    leaving = make_plugin(etcd_server.endpoint)
    info = make_info()
    leaving.register(info, CALL_S)
    leaving.close(CALL_S)
    assert ours.resolve(info.service_name, CALL_S) == []
    leaving.close(CALL_S)
    with pytest.raises(UnavailableError, match="closed"):
        leaving.register(info, CALL_S)
