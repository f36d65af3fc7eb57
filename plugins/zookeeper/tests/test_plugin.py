"""The hooks, one by one, on a real ZooKeeper."""

import datetime as dt
import logging
from collections.abc import Callable

import pytest

from enlist.errors import RejectedError, TimedOutError, UnavailableError
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.link import _GetEphemerals
from enlist_zookeeper.plugin import ZooKeeperRegistry
from plugins.zookeeper.tests.making import (
    CALL_S,
    Admin,
    MakeInfo,
    MakePlugin,
    path_of,
    session_of,
)
from tests.following import Follower
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually


@pytest.fixture
def plugin(make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer) -> ZooKeeperRegistry:
    return make_plugin(zookeeper_server.endpoint)


@pytest.fixture
def other(make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer) -> ZooKeeperRegistry:
    """Another process, as far as the server can tell."""
    return make_plugin(zookeeper_server.endpoint)


def whys(lost: list[Lost]) -> dict[Info, Why]:
    return {one.info: one.why for one in lost}


def requests_of(server: ZooKeeperServer, plugin: ZooKeeperRegistry) -> int:
    """Count the packets that the server has had from the plugin's connection, pings included."""
    wanted = f"sid={session_of(plugin)[0]:#x}"
    (line,) = (line for line in server.four_letters("cons").splitlines() if wanted in line)
    return int(line.partition("recved=")[2].partition(",")[0])


def test_register_makes_kitex_s_node(
    plugin: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo, name: str
) -> None:
    """The node is ephemeral, its folder persistent, empty and open to all, as Kitex makes them."""
    info = make_info(tags={"zone": "a"})

    plugin.register(info, CALL_S)

    data, stat = admin.get(path_of(info))
    assert data.startswith(b'{"Weight":10,"Tags":{"zone":"a"},"enlist":{"v":1,"owner":"')
    assert stat.ephemeralOwner == session_of(plugin)[0]
    folder, folder_stat = admin.get(f"/{name}")
    assert (folder, folder_stat.ephemeralOwner) == (b"", 0)
    for path in (f"/{name}", path_of(info)):
        acls, _ = admin.kazoo.get_acls(path)
        assert [(acl.perms, acl.id.scheme, acl.id.id) for acl in acls] == [(31, "world", "anyone")]


def test_register_is_one_request(
    plugin: ZooKeeperRegistry, zookeeper_server: ZooKeeperServer, make_info: MakeInfo
) -> None:
    """Once the folder is there, so many registrations are so many requests, but for pings."""
    plugin.register(make_info(), CALL_S)
    before = requests_of(zookeeper_server, plugin)

    for _ in range(40):
        plugin.register(make_info(), CALL_S)

    assert 40 <= requests_of(zookeeper_server, plugin) - before <= 44


def test_keep_alive_is_one_request(
    plugin: ZooKeeperRegistry, zookeeper_server: ZooKeeperServer, make_info: MakeInfo
) -> None:
    """However many are kept, a beat is a single request and tells the granted session timeout."""
    infos = [make_info() for _ in range(300)]
    assert plugin.restore(infos, CALL_S) == []
    before = requests_of(zookeeper_server, plugin)

    beats = [plugin.keep_alive(infos, CALL_S) for _ in range(20)]

    assert [(list(beat.lost), beat.valid_for_s) for beat in beats] == [([], 15.0)] * 20
    assert 20 <= requests_of(zookeeper_server, plugin) - before <= 24


@pytest.mark.parametrize("asked, granted", [(61, 60.0), (1, 1.0)])
def test_keep_alive_tells_what_the_server_granted(
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    asked: int,
    granted: float,
) -> None:
    """The server brings the session timeout between its limits, and the beat says to what."""
    plugin = make_plugin(zookeeper_server.endpoint, ttl=dt.timedelta(seconds=asked))
    info = make_info()
    plugin.register(info, CALL_S)

    assert plugin.keep_alive([info], CALL_S).valid_for_s == granted


def test_register_takes_over_without_a_moment_of_absence(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """Each take-over creates the node in the transaction that deletes it, and changes its version.

    Whoever had read the node before can then not remove it by the version that it had.
    """
    info = make_info()
    other.probe(CALL_S)
    assert not admin.has(path_of(info))
    plugin.register(info, CALL_S)
    stats = [admin.get(path_of(info))[1]]
    for taker in (other, plugin, other):
        taker.register(info, CALL_S)
        stats.append(admin.get(path_of(info))[1])
        assert stats[-1].ephemeralOwner == session_of(taker)[0]

    assert [stat.version for stat in stats] == [0, 1, 0, 1]
    # The server numbers what it is asked to write: a create, which is refused, and a transaction.
    first = stats[0].czxid
    assert [stat.czxid - first for stat in stats] == [0, 2, 4, 6]


def test_register_replaces_what_a_crash_left(
    plugin: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """A node of a session that still lingers, or of nobody's, is no obstacle."""
    info = make_info(weight=3)
    for ephemeral in (True, False):
        admin.put(path_of(info), b'{"Weight":1,"Tags":null}', ephemeral=ephemeral)
        plugin.register(info, CALL_S)
        assert admin.get(path_of(info))[1].ephemeralOwner == session_of(plugin)[0]

    assert list(plugin.resolve(info.service_name, CALL_S)) == [info]


def test_register_is_rejected_where_a_folder_stands(
    plugin: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """A node with children is no record, and nothing in it is touched."""
    info = make_info()
    admin.put(f"{path_of(info)}/child", b"precious", ephemeral=False)

    with pytest.raises(RejectedError, match="no record"):
        plugin.register(info, CALL_S)

    assert admin.get(f"{path_of(info)}/child")[0] == b"precious"


def test_register_makes_folders_but_not_the_chroot(
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    admin: Admin,
    make_info: MakeInfo,
    name: str,
) -> None:
    """A chroot that is not there is a mistake in the options; a prefix is made."""
    info = make_info()
    plugin = make_plugin(zookeeper_server.endpoint, chroot=f"{name}-root", prefix="a/b")

    with pytest.raises(RejectedError, match=f"chroot /{name}-root does not exist"):
        plugin.register(info, CALL_S)
    assert list(plugin.resolve(info.service_name, CALL_S)) == []
    admin.put(f"/{name}-root", b"", ephemeral=False)
    plugin.register(info, CALL_S)

    assert admin.has(f"/{name}-root/a/b{path_of(info)}")
    assert list(plugin.resolve(info.service_name, CALL_S)) == [info]
    assert list(plugin.services(CALL_S)) == [info.service_name]
    assert plugin.keep_alive([info], CALL_S).lost == []


def test_deregister_leaves_what_is_not_ours(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """Another owner's record, and one without an owner, stay."""
    taken, foreign, own = make_info(), make_info(), make_info()
    for info in (taken, own):
        plugin.register(info, CALL_S)
    other.register(taken, CALL_S)
    admin.put(path_of(foreign), b'{"Weight":1,"Tags":null}')

    for info in (taken, foreign, own):
        plugin.deregister(info, CALL_S)
        plugin.deregister(info, CALL_S)

    assert [admin.has(path_of(info)) for info in (taken, foreign, own)] == [True, True, False]


def test_keep_alive_tells_gone_from_superseded(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """Each of many is told apart, in folders of a few and of many that are missing."""
    crowd = [make_info() for _ in range(30)]
    few = [make_info(service_name=f"{crowd[0].service_name}-few") for _ in range(3)]
    assert plugin.restore(crowd + few, CALL_S) == []
    for info in (*crowd[:10], few[0]):
        admin.delete(path_of(info))
    for info in (*crowd[10:20], few[1]):
        other.register(info, CALL_S)

    beat = plugin.keep_alive(crowd + few, CALL_S)

    gone = dict.fromkeys((*crowd[:10], few[0]), Why.GONE)
    assert whys(list(beat.lost)) == gone | dict.fromkeys((*crowd[10:20], few[1]), Why.SUPERSEDED)


@pytest.fixture
def slow_line(make_proxy: Callable[[str], Proxy], zookeeper_server: ZooKeeperServer) -> Proxy:
    """A line on which hundreds of answers, one after another, take longer than a call may."""
    proxy = make_proxy(zookeeper_server.endpoint)
    proxy.delay(0.05)
    return proxy


def test_many_services_cost_few_round_trips(
    make_plugin: MakePlugin, slow_line: Proxy, admin: Admin, make_info: MakeInfo, name: str
) -> None:
    """Hundreds of services with a record each are restored, looked at and listed in a few waits."""
    plugin = make_plugin(slow_line.endpoint, prefix=f"{name}/in")
    infos = [make_info(service_name=f"{name}-{number}") for number in range(300)]
    paths = [f"/{name}/in{path_of(info)}" for info in infos]

    assert plugin.restore(infos, CALL_S) == []
    for path in paths[:200]:
        admin.delete(path)
    for path in paths[100:200]:
        admin.put(path, b'{"Weight":1,"Tags":null}')
    beat = plugin.keep_alive(infos, CALL_S)
    admin.put(f"{paths[0].rpartition('/')[0]}/10.0.0.9:80", b"broken")
    services = plugin.services(CALL_S)

    gone = dict.fromkeys(infos[:100], Why.GONE)
    assert whys(list(beat.lost)) == gone | dict.fromkeys(infos[100:200], Why.SUPERSEDED)
    assert set(services) == {info.service_name for info in infos[100:]}


def test_keep_alive_tells_what_it_learnt_before_nobody_answered(
    plugin: ZooKeeperRegistry, make_info: MakeInfo, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known to be gone is told as that, and of the others nothing more is asked."""
    infos = [make_info(service_name=f"{name}-{number}") for number in range(30)]
    monkeypatch.setattr("enlist_zookeeper.reading._AT_ONCE", 10)
    wait, asked = plugin._client.wait, []

    def wait_until_tired(result: object, deadline: Deadline, what: str) -> object:
        if what.startswith("reading"):
            asked.append(what)
        if len(asked) > 15:
            raise TimedOutError("made up")
        return wait(result, deadline, what)

    monkeypatch.setattr(plugin._client, "wait", wait_until_tired)

    beat = plugin.keep_alive(infos, CALL_S)

    gone, failed = dict.fromkeys(infos[:15], Why.GONE), dict.fromkeys(infos[15:], Why.FAILED)
    assert whys(list(beat.lost)) == gone | failed
    assert len(asked) == 16


@pytest.fixture
def _old_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server asked for something that it does not know, as one before 3.6 would be."""
    monkeypatch.setattr(_GetEphemerals, "type", 999)


@pytest.mark.usefixtures("_old_server")
def test_keep_alive_looks_at_each_record_on_an_old_server(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """A server without the request for a session's nodes costs one failed beat, and no more."""
    kept, gone, taken = infos = [make_info() for _ in range(3)]
    for info in infos:
        plugin.register(info, CALL_S)
    admin.delete(path_of(gone))
    other.register(taken, CALL_S)

    with pytest.raises(UnavailableError, match="too old"):
        plugin.keep_alive(infos, CALL_S)
    eventually(lambda: _probes(plugin), why="the connection is back")

    beat = plugin.keep_alive(infos, CALL_S)
    assert whys(list(beat.lost)) == {gone: Why.GONE, taken: Why.SUPERSEDED}
    assert admin.has(path_of(kept))


def _probes(plugin: ZooKeeperRegistry) -> bool:
    try:
        plugin.probe(CALL_S)
    except UnavailableError:
        return False
    return True


def test_restore_writes_over_nothing_and_over_ours_alone(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """In batches in which every kind is mixed, each gets what is due to it."""
    infos = [make_info(weight=2) for _ in range(250)]
    theirs, foreign, ours = infos[3::50], infos[7::50], infos[9::10]
    for info in theirs:
        other.register(info, CALL_S)
    for info in foreign:
        admin.put(path_of(info), b'{"Weight":1,"Tags":null}')
    for info in ours:
        plugin.register(Info(service_name=info.service_name, addr=info.addr, weight=9), CALL_S)

    lost = plugin.restore(infos, CALL_S)

    assert whys(list(lost)) == dict.fromkeys((*theirs, *foreign), Why.SUPERSEDED)
    found = {info.addr: info.weight for info in plugin.resolve(infos[0].service_name, CALL_S)}
    assert found == {info.addr: 1 if info in foreign else 2 for info in infos}


def test_restore_replaces_what_our_older_session_left(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, admin: Admin, make_info: MakeInfo
) -> None:
    """A node with our owner is ours, although it hangs on a session that we have no more."""
    plugin = make_plugin(zookeeper_server.endpoint)
    info = make_info()
    plugin.register(info, CALL_S)
    left = admin.get(path_of(info))[0]
    admin.put(path_of(info), left)

    assert whys(list(plugin.keep_alive([info], CALL_S).lost)) == {info: Why.GONE}
    assert plugin.restore([info], CALL_S) == []

    assert admin.get(path_of(info))[1].ephemeralOwner == session_of(plugin)[0]
    assert plugin.keep_alive([info], CALL_S).lost == []


def test_restore_cuts_large_records_into_small_transactions(
    plugin: ZooKeeperRegistry, make_info: MakeInfo, name: str
) -> None:
    """No request comes near the server's limit of 1 MiB, however large the records are."""
    tags = {str(number): "\x01" * 1_000 for number in range(8)}  # six bytes each in JSON
    infos = [make_info(tags=tags) for _ in range(60)]

    assert plugin.restore(infos, CALL_S) == []

    assert len(plugin.resolve(name, CALL_S)) == len(infos)


def test_withdraw_removes_ours_and_leaves_the_rest(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """Records of every kind in one batch: ours go, also those that we had taken over."""
    infos = [make_info() for _ in range(230)]
    assert plugin.restore(infos, CALL_S) == []
    for info in infos[:5]:
        other.register(info, CALL_S)
    for info in infos[2:5]:
        plugin.register(info, CALL_S)
    admin.delete(path_of(infos[120]))

    assert list(plugin.withdraw(infos, CALL_S)) == []

    assert set(plugin.resolve(infos[0].service_name, CALL_S)) == set(infos[:2])


def test_resolve_passes_over_folders_and_warns_of_malformed_records(
    plugin: ZooKeeperRegistry,
    admin: Admin,
    make_info: MakeInfo,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A nested service of another program is no record; one that cannot be read is named."""
    info = make_info()
    plugin.register(info, CALL_S)
    admin.put(f"/{name}/nested/10.0.0.1:80", b'{"Weight":1}')
    admin.put(f"/{name}/10.0.0.9:80", b"broken")
    admin.put(f"/{name}/stray", b"data")

    assert list(plugin.resolve(name, CALL_S)) == [info]

    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [f"/{name}/10.0.0.9:80" in warned[0], f"/{name}/stray" in warned[1]] == [True, True]
    assert len(warned) == 2


def test_services_are_folders_with_a_readable_record(
    plugin: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo, name: str
) -> None:
    """Empty folders, other programs' nodes and ZooKeeper's own are none; one record is enough."""
    from kazoo.security import make_digest_acl

    plugin.register(make_info(), CALL_S)
    for number in range(1, 20):
        admin.put(f"/{name}/10.0.9.{number}:80", b"broken")
    admin.put(f"/{name}-empty", b"", ephemeral=False)
    admin.put(f"/{name}-broken/10.0.0.1:80", b"broken")
    admin.put(f"/{name}-other/leader", b"{}", ephemeral=False)
    admin.kazoo.create(f"/{name}-secret", b"", acl=[make_digest_acl("a", "b", all=True)])

    found = [one for one in plugin.services(CALL_S) if one.startswith(name)]

    assert found == [name]
    assert "zookeeper" not in plugin.services(CALL_S)


def test_unix_addresses_are_carried_where_kitex_does_not_read(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, name: str
) -> None:
    """With kitex_compatible=false a socket's path is one node, and comes back as it was."""
    plugin = make_plugin(zookeeper_server.endpoint, kitex_compatible=False)
    info = Info(service_name=name, addr="unix:/run/a b/é.sock")
    plugin.validate(info)
    follower = Follower(plugin, name)
    assert list(follower.next()) == []

    plugin.register(info, CALL_S)
    follower.until([info])

    assert list(plugin.resolve(name, CALL_S)) == [info]
    assert list(plugin.services(CALL_S)).count(name) == 1
    assert plugin.keep_alive([info], CALL_S).lost == []
    plugin.deregister(info, CALL_S)
    follower.until([])
    follower.end()


ALLOWED = ["\u00a0", "\ud7ff", "\uf900", "\uffef", "%2F", "a b", "é", "e\u0301"]
REFUSED = ["\ue000", "\uf8ff", "\ufff0", "\uffff", "\U00010000", "\U0001f388"]


@pytest.mark.parametrize("text", ALLOWED)
def test_names_within_the_limits_are_carried(
    plugin: ZooKeeperRegistry, make_info: MakeInfo, name: str, text: str
) -> None:
    """What validate lets pass the server takes and gives back, up to the edges of the limit."""
    info = make_info(service_name=f"{name}{text}x")
    plugin.validate(info)

    plugin.register(info, CALL_S)

    assert list(plugin.resolve(info.service_name, CALL_S)) == [info]
    assert list(plugin.resolve(name, CALL_S)) == []


@pytest.mark.parametrize("text", REFUSED)
def test_names_beyond_the_limits_are_refused_by_the_server(
    plugin: ZooKeeperRegistry, make_info: MakeInfo, name: str, text: str
) -> None:
    """The limit is the server's own: what validate refuses it would refuse too."""
    with pytest.raises(RejectedError, match="BadArguments"):
        plugin.register(make_info(service_name=f"{name}{text}x"), CALL_S)


def test_kazoo_s_log_is_lowered(
    plugin: ZooKeeperRegistry, make_info: MakeInfo, caplog: pytest.LogCaptureFixture
) -> None:
    """What kazoo says of its connections comes out at DEBUG, and requests not at all."""
    caplog.set_level(5)

    plugin.register(make_info(), CALL_S)

    of_kazoo = [record for record in caplog.records if "kazoo" in record.name]
    assert of_kazoo
    assert {record.levelno for record in of_kazoo} == {logging.DEBUG}
    assert "Sending request" not in caplog.text
