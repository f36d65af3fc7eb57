"""A plugin's options, from keywords, URL and environment, for all plugins in one way."""

from __future__ import annotations

import datetime as dt
import enum
import logging
import string
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Optional
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enlist.backend_options import (
    HostPort,
    Hosts,
    Secret,
    Target,
    option,
    options_of,
    read_options,
    target_from,
)
from enlist.errors import BackendError, BackendSpecError, InvalidOptionError

SECONDS = dt.timedelta(seconds=1)


class Mode(enum.Enum):
    FAST = "fast"
    SAFE = "safe"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """The options of a made-up backend with servers, one of each type."""

    endpoints: Hosts = option("127.0.0.1:2379", help="the servers", url="hosts", default_port=2379)
    prefix: str = option(
        "kitex", help="before every key", url="path", aliases_env=("OLD_PREFIX", "OLDER_PREFIX")
    )
    ttl: dt.timedelta = option(15 * SECONDS, help="life without a beat", aliases_env=("OLD_TTL",))
    retries: int = option(3, help="a count")
    ratio: float = option(0.5, help="a share")
    tls: bool = option(False, help="whether to encrypt")
    ca_file: Path | None = option(None, help="the authority")
    username: str = option("", help="the user")
    password: Secret = option(Secret(), help="the user's password")
    password_file: Path | None = option(None, help="a file with it")
    token: Secret | None = option(None, help="a token")
    zones: tuple[str, ...] = option((), help="where")
    mode: Mode = option(Mode.SAFE, help="how")
    level: Literal["low", "high"] = option("low", help="how much")


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderOptions:
    """The options of a made-up backend without servers."""

    folder: Path = option(Path("/run/enlist"), help="where it keeps its files", url="path")


@dataclass(frozen=True, kw_only=True, slots=True)
class NeedyOptions:
    """An option that must be given, and one that the class itself checks."""

    cluster: str = option(help="which cluster")
    size: int = 1

    def __post_init__(self) -> None:
        """Refuse by a rule of its own, and have a bug."""
        if self.size < 1:
            raise InvalidOptionError("size", self.size, "must be at least 1")
        if self.size == 13:
            raise ZeroDivisionError("a bug")


def read(
    registry: str = "etcd", environ: Mapping[str, str] | None = None, /, **keywords: object
) -> ServerOptions:
    return read_options(ServerOptions, Target.parse(registry), keywords, environ or {})


def refusal(
    registry: str = "etcd", environ: Mapping[str, str] | None = None, /, **keywords: object
) -> str:
    with pytest.raises(InvalidOptionError) as caught:
        read(registry, environ, **keywords)
    return str(caught.value)


def test_read_without_anything_gives_the_defaults() -> None:
    """Every option has the value that the plugin declared."""
    assert read() == ServerOptions()
    assert read().endpoints == (HostPort("127.0.0.1", 2379),)


@pytest.mark.parametrize(
    "name, given_value, expected",
    [
        ("endpoints", "a,b:1,[::1]:2,[::1]", ("a:2379", "b:1", "[::1]:2", "[::1]:2379")),
        ("endpoints", ["a", HostPort("b", 1)], ("a:2379", "b:1")),
        ("endpoints", HostPort("b", 1), ("b:1",)),
        ("prefix", "", ""),
        ("ttl", "30", 30 * SECONDS),
        ("ttl", "500ms", SECONDS / 2),
        ("ttl", 20 * SECONDS, 20 * SECONDS),
        ("retries", "-7", -7),
        ("retries", 9, 9),
        ("ratio", "1e-2", 0.01),
        ("ratio", 2, 2.0),
        ("tls", "Yes", True),
        ("tls", "off", False),
        ("tls", True, True),
        ("ca_file", "/etc/a b.pem", Path("/etc/a b.pem")),
        ("ca_file", None, None),
        ("ca_file", Path("x"), Path("x")),
        ("password", "hunter2", Secret("hunter2")),
        ("password", Secret("hunter2"), Secret("hunter2")),
        ("token", "hunter2", Secret("hunter2")),
        ("token", None, None),
        ("zones", "a, b,", ("a", "b")),
        ("zones", ["a", "b"], ("a", "b")),
        ("mode", "fast", Mode.FAST),
        ("mode", Mode.FAST, Mode.FAST),
        ("level", "high", "high"),
    ],
)
def test_read_of_a_keyword_converts_text_and_takes_native_values(
    name: str, given_value: object, expected: object
) -> None:
    """A keyword may be a value of the option's type, or its text."""
    value = getattr(read(**{name: given_value}), name)

    assert (tuple(map(str, value)) if name == "endpoints" else value) == expected
    assert type(value) is not str or isinstance(expected, str)


@pytest.mark.parametrize(
    "name, given_value, rule",
    [
        ("endpoints", 7, "must be one or more servers such as 'host:2379'"),
        ("endpoints", "a:0", "its port must be a whole number from 1 to 65535"),
        ("endpoints", "a:70000", "its port must be a whole number from 1 to 65535"),
        ("endpoints", "", "must name at least one host"),
        ("endpoints", [3], "must list text such as 'host:port'"),
        ("prefix", 3, "must be text"),
        ("ttl", "soon", "must be a duration such as '15s', '500ms' or '2m'"),
        ("ttl", "-3s", "must be a duration"),
        ("ttl", "1_000", "must be a duration"),
        ("ttl", 3, "must be a timedelta such as timedelta(seconds=15), or text such as '15s'"),
        ("ttl", -SECONDS, "must not be negative"),
        ("retries", "1.5", "must be a whole number such as '3'"),
        ("retries", True, "must be a whole number such as '3'"),
        ("retries", "9" * 5000, "must be a whole number"),
        ("retries", "\u0663", "must be a whole number"),
        ("ratio", "nan", "must be a number such as '0.5'"),
        ("ratio", "much", "must be a number such as '0.5'"),
        ("ratio", False, "must be a number"),
        ("ratio", 10**400, "must be a number"),
        ("tls", "maybe", "must be 'true' or 'false'"),
        ("tls", 1, "must be 'true' or 'false'"),
        ("ca_file", "", "must be a path such as"),
        ("ca_file", "a\0b", "must be a path such as"),
        ("ca_file", 3, "must be a path such as"),
        ("ca_file", "~nobody-of-that-name/x", "begins with '~' and that user has no home"),
        ("password", 3, "must be text or a Secret"),
        ("password", None, "must be text or a Secret"),
        ("zones", 3, "must be text with commas, as in 'a,b'"),
        ("zones", [3], "must be text with commas"),
        ("mode", "slow", "must be one of 'fast', 'safe'"),
        ("level", "middle", "must be one of 'low', 'high'"),
    ],
)
def test_read_of_a_wrong_type_says_the_form_with_an_example(
    name: str, given_value: object, rule: str
) -> None:
    """A value that does not fit names the option, the value and the form that fits."""
    text = refusal(**{name: given_value})

    assert text.startswith(f"{name}=")
    assert rule in text


def test_read_of_a_wrong_secret_does_not_show_it() -> None:
    """Also a secret of the wrong type stays out of the message."""
    text = refusal(password=b"hunter2")

    assert text == "password='***': must be text or a Secret"


@pytest.mark.parametrize(
    "registry, environ, where",
    [
        ("etcd?ttl=soon", {}, "(from the registry URL)"),
        ("etcd", {"ENLIST_OPT_ETCD_TTL": "soon"}, "(from ENLIST_OPT_ETCD_TTL)"),
        ("etcd", {"OLD_TTL": "soon"}, "(from OLD_TTL)"),
    ],
)
def test_read_of_a_wrong_value_says_where_it_came_from(
    registry: str, environ: dict[str, str], where: str
) -> None:
    """Whoever set the wrong value is told which place to look at."""
    text = refusal(registry, environ)

    assert text.startswith("ttl='soon': ")
    assert text.endswith(where)


def test_read_takes_the_strongest_of_all_that_is_given() -> None:
    """Keyword, URL, our variable, the first other variable, the second, default: in this order."""
    environ = {
        "ENLIST_OPT_ETCD_PREFIX": "ours",
        "OLD_PREFIX": "older",
        "OLDER_PREFIX": "oldest",
    }
    url = "etcd://h/url"

    assert read(url, environ, prefix="keyword").prefix == "keyword"
    assert read(url, environ).prefix == "url"
    assert read("etcd", environ).prefix == "ours"
    del environ["ENLIST_OPT_ETCD_PREFIX"]
    assert read("etcd", environ).prefix == "older"
    del environ["OLD_PREFIX"]
    assert read("etcd", environ).prefix == "oldest"
    del environ["OLDER_PREFIX"]
    assert read("etcd", environ).prefix == "kitex"


def test_read_counts_an_empty_variable_as_not_set() -> None:
    """A compose file that passes on an unset variable sets it to nothing."""
    environ = {"ENLIST_OPT_ETCD_TTL": "", "OLD_TTL": "7"}

    assert read("etcd", environ).ttl == 7 * SECONDS


def test_read_ignores_the_variables_that_kubernetes_injects() -> None:
    """A Service named enlist-etcd puts its port into the environment, which is no option."""
    environ = {"ENLIST_ETCD_PORT": "tcp://10.0.0.1:2379", "ENLIST_OPT_CONSUL_TTL": "soon"}

    assert read("etcd", environ) == ServerOptions()


def test_read_of_an_unknown_variable_warns_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """An operator's misspelt variable is logged with a suggestion, without its value."""
    with caplog.at_level(logging.WARNING, logger="enlist.backend_options"):
        options = read("etcd", {"ENLIST_OPT_ETCD_PASWORD": "hunter2"})

    assert options == ServerOptions()
    assert caplog.messages == [
        (
            "ENLIST_OPT_ETCD_PASWORD is ignored: backend 'etcd' has no option 'pasword'. "
            "Did you mean 'password'?"
        )
    ]


@pytest.mark.parametrize("registry, keywords", [("etcd?tll=30", {}), ("etcd", {"tll": "30"})])
def test_read_of_an_unknown_option_suggests_and_lists_all(
    registry: str, keywords: dict[str, object]
) -> None:
    """An unknown option in URL or keywords is refused, with all options and what they are for."""
    text = refusal(registry, None, **keywords)

    assert text.startswith("tll='***': backend 'etcd' has no such option. Did you mean 'ttl'?")
    assert "Its options: endpoints (the servers); prefix (before every key); ttl (life" in text
    assert all(f"{field.name} (" in text for field in fields(ServerOptions))


def test_read_of_an_unknown_option_of_a_backend_without_options_says_none() -> None:
    """A backend may have nothing to choose."""

    @dataclass(frozen=True)
    class NoOptions: ...

    with pytest.raises(InvalidOptionError, match="Its options: none"):
        read_options(NoOptions, Target.parse("bare?x=1"), {}, {})


@pytest.mark.parametrize(
    "registry, name",
    [
        ("etcd?ttl=1&ttl=2", "ttl"),
        ("etcd://h?endpoints=g", "endpoints"),
        ("etcd://h/a?prefix=b", "prefix"),
        ("etcd://me@h?username=you", "username"),
    ],
)
def test_read_of_an_option_twice_in_the_url_is_refused(registry: str, name: str) -> None:
    """None of two contradicting values in one URL wins silently."""
    assert refusal(registry).startswith(f"{name}=")
    assert refusal(registry).endswith("is given twice in the registry URL")


def test_read_of_a_url_takes_hosts_path_user_and_options() -> None:
    """All parts of a URL reach their options, with percent-encoding undone."""
    options = read("etcd://m%40e@h1:1,[FE80::1%25eth0],h2/a%2Fb/c%20d?zones=x%26y,z%3D&level=high")

    assert list(map(str, options.endpoints)) == ["h1:1", "[fe80::1%eth0]:2379", "h2:2379"]
    assert options.username == "m@e"
    assert options.prefix == "a/b/c d"
    assert options.zones == ("x&y", "z=")
    assert options.level == "high"


@pytest.mark.parametrize("registry", ["etcd://", "etcd:///", "etcd:", "etcd?", "etcd?&"])
def test_read_of_an_empty_part_leaves_the_default(registry: str) -> None:
    """A part of the URL that says nothing decides nothing."""
    assert read(registry) == ServerOptions()


def test_read_of_a_plus_sign_keeps_it() -> None:
    """A registry URL is no web form: a plus sign is no space."""
    assert read("etcd?prefix=a+b").prefix == "a+b"


@pytest.mark.parametrize(
    "registry",
    ["etcd://u:hunter2@h", "etcd://u:hunter2%40h@h/p?ttl=3", "etcd://:hunter2@h", "etcd://u:@h"],
)
def test_read_of_a_url_with_a_password_names_the_other_ways(registry: str) -> None:
    """The error says what to use in place of a password in a URL, and does not repeat it."""
    assert refusal(registry) == (
        "registry='etcd:***': a password must not stand in a URL, which ends up in logs; use "
        "password_file or ENLIST_OPT_ETCD_PASSWORD or ENLIST_OPT_ETCD_TOKEN"
    )


@pytest.mark.parametrize("name", ["password", "token"])
def test_read_of_a_secret_option_in_a_url_names_the_other_ways(name: str) -> None:
    """A secret does not stand in the options of a URL either."""
    text = refusal(f"etcd?{name}=hunter2")

    assert text.startswith(f"{name}='***': a password must not stand in a URL")
    assert "password_file" in text


def test_read_of_a_password_for_a_backend_without_one_says_so() -> None:
    """A backend that knows no secret has no other way to name."""
    with pytest.raises(InvalidOptionError, match="must not hold a password; backend 'local' has"):
        read_options(FolderOptions, Target.parse("local://u:hunter2@h"), {}, {})


def test_read_of_a_user_for_a_backend_without_one_is_refused() -> None:
    """What stands before "@" may be a token: it is refused and not shown."""
    with pytest.raises(InvalidOptionError, match="names a user before '@'") as caught:
        read_options(FolderOptions, Target.parse("local://hunter2@"), {}, {})

    assert "hunter2" not in str(caught.value)


def test_read_of_a_secret_and_its_file_is_refused() -> None:
    """Neither of the two wins silently."""
    text = refusal(password="hunter2", password_file="/run/p")

    assert text == "password_file='/run/p': password is given too; give one of the two"
    assert read(password_file="/run/p").password_file == Path("/run/p")


@pytest.mark.parametrize(
    "registry, path",
    [
        ("local:/abs/with space", "/abs/with space"),
        ("local:/abs/a%20b%25", "/abs/a b%"),
        ("local:relative", "relative"),
        ("local:///abs", "/abs"),
        ("local:/a#b@c:d", "/a#b@c:d"),
        ("local", "/run/enlist"),
        ("local?folder=/x", "/x"),
    ],
)
def test_read_of_a_path_works_in_every_form(registry: str, path: str) -> None:
    """A backend without servers takes a path, absolute or not, with spaces or encoded."""
    assert read_options(FolderOptions, Target.parse(registry), {}, {}).folder == Path(path)


def test_read_of_a_path_with_a_tilde_means_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A path that begins with ~ is under the user's home folder, as text and as a Path."""
    monkeypatch.setenv("HOME", str(tmp_path))
    target = Target.parse("local:~/r")

    assert read_options(FolderOptions, target, {}, {}).folder == tmp_path / "r"
    assert read(ca_file=Path("~/ca.pem")).ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    "options_class, registry, said",
    [
        (ServerOptions, "etcd:h:2379", "must be written 'etcd://HOST:PORT/PREFIX'"),
        (
            FolderOptions,
            "local://h/x",
            "names hosts, and backend 'local' has none; write 'local:FO",
        ),
        (NeedyOptions, "needy:x", "must be written 'needy'"),
        (NeedyOptions, "needy://h", "names hosts, and backend 'needy' has none; write 'needy'"),
    ],
)
def test_read_of_the_wrong_form_says_the_right_one(
    options_class: type[Any], registry: str, said: str
) -> None:
    """A URL for a path, or a path for a URL, is answered with the form of that backend."""
    with pytest.raises(InvalidOptionError) as caught:
        read_options(options_class, Target.parse(registry), {"cluster": "c"}, {})

    assert said in str(caught.value)


def test_read_without_a_required_option_says_how_to_set_it() -> None:
    """An option without a default is asked for by keyword and variable."""
    with pytest.raises(InvalidOptionError) as caught:
        read_options(NeedyOptions, Target.parse("needy"), {}, {})

    assert "cluster=None: is required: text" in str(caught.value)
    assert "ENLIST_OPT_NEEDY_CLUSTER" in str(caught.value)


def test_read_passes_on_what_the_plugin_itself_refuses() -> None:
    """A plugin's own check speaks for itself."""
    with pytest.raises(InvalidOptionError, match="size=0: must be at least 1"):
        read_options(NeedyOptions, Target.parse("needy"), {"cluster": "c", "size": 0}, {})


def test_read_reports_a_bug_in_the_plugins_options() -> None:
    """Any other exception of the options class is the plugin's fault, with its cause."""
    with pytest.raises(BackendSpecError, match="NeedyOptions of backend 'needy' raised") as caught:
        read_options(NeedyOptions, Target.parse("needy"), {"cluster": "c", "size": 13}, {})

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_options_of_describes_each_option() -> None:
    """Documentation and command line get what the plugin declared, and never a secret."""
    described = {one.name: one for one in options_of(ServerOptions)}

    assert list(described) == [field.name for field in fields(ServerOptions)]
    assert described["endpoints"].default == "127.0.0.1:2379"
    assert described["ttl"].default == "15s"
    assert described["tls"].default == "false"
    assert described["mode"].default == "safe"
    assert described["ca_file"].default == described["token"].default == ""
    assert described["ttl"].variable("etcd") == "ENLIST_OPT_ETCD_TTL"
    assert described["password"].secret
    assert described["token"].secret
    assert not described["password_file"].secret
    assert options_of(NeedyOptions)[0].required
    assert options_of(NeedyOptions)[1].default == "1"


def test_options_of_an_old_style_optional_is_understood() -> None:
    """Optional[X] and X | None are the same."""

    @dataclass(frozen=True)
    class Old:
        ca_file: Optional[Path] = None  # noqa: UP045 - the old spelling is what is tested

    assert options_of(Old)[0].form.startswith("a path")


def test_options_of_a_union_of_two_types_is_refused() -> None:
    """Text cannot tell which of two types is meant."""

    @dataclass(frozen=True)
    class Ambiguous:
        size: int | str = 0

    with pytest.raises(BackendSpecError, match=r"Option 'size' has the type int | str"):
        options_of(Ambiguous)


def test_option_with_a_default_that_lists_no_servers_is_refused() -> None:
    """A plugin author's wrong default shows when the module is imported."""
    with pytest.raises(InvalidOptionError, match="its port must be"):
        option("h:0", help="the servers", default_port=1)


@pytest.mark.parametrize(
    "text",
    ["", " etcd", "/etcd", "//u:hunter2@h", "u:hunter2@h?x", "@h", "etcd/x", "e d", "#", ":"],
)
def test_parse_of_a_text_without_a_form_shows_the_forms(text: str) -> None:
    """What is no registry is answered with examples, and not repeated."""
    if text.startswith("u:"):  # has the form NAME:PATH; what follows is judged by the backend
        assert Target.parse("u:x@h").name == "u"
        text = text[2:]
    with pytest.raises(InvalidOptionError, match="must be a name such as 'etcd'") as caught:
        Target.parse(text)

    assert str(caught.value).startswith("registry='***': ")


@pytest.mark.parametrize(
    "text, rule",
    [
        ("etcd://u:hun/ter2@h", "must not contain '@' after the hosts"),
        ("etcd://u:hun?ter2@h", "must not contain '@' after the hosts"),
        ("etcd://u:hun#ter2@h", "must not contain '#'"),
        ("etcd://h?a=1#b", "must not contain '#'"),
        ("etcd://h?hunter2", "must write each option after '?' as option=value"),
        ("etcd://h?=hunter2", "must write each option"),
        ("etcd://h?A=hunter2", "must write each option"),
        ("etcd://h/%ff", "must percent-encode UTF-8"),
        ("etcd://h?ttl=%ff", "must percent-encode UTF-8"),
        ("etcd:%ff", "must percent-encode UTF-8"),
    ],
)
def test_parse_of_an_ambiguous_text_says_the_rule_and_hides_the_rest(text: str, rule: str) -> None:
    """Where a password may have been cut in two, nothing of it is repeated."""
    with pytest.raises(InvalidOptionError, match=r"registry='etcd:.*") as caught:
        Target.parse(text)

    assert rule in str(caught.value)
    assert "ter2" not in str(caught.value)


def test_parse_of_no_text_is_refused() -> None:
    """A registry that is not text is refused by its type."""
    with pytest.raises(InvalidOptionError, match="registry='int': must be a name"):
        Target.parse(7)  # type: ignore[arg-type]  # the wrong type is what is tested


@pytest.mark.parametrize(
    "text, logged",
    [
        ("etcd://me@h1:1,h2/p?token=hunter2", "etcd://h1:1,h2/p"),
        ("etcd://u:hunter2@h", "etcd://h"),
        ("local:/srv", "local:/srv"),
        ("local?x=hunter2", "local"),
    ],
)
def test_str_of_a_target_is_fit_for_logs(text: str, logged: str) -> None:
    """Neither user, password nor options of a URL are in its text or repr."""
    assert str(Target.parse(text)) == logged
    assert "hunter2" not in repr(Target.parse(text))


def test_target_from_takes_the_argument_then_the_environment_then_local() -> None:
    """Who names no registry gets ENLIST_REGISTRY, else the local one."""
    environ = {"ENLIST_REGISTRY": "etcd://h"}

    assert target_from("consul", environ).name == "consul"
    assert target_from(None, environ).hosts == "h"
    assert target_from(None, {"ENLIST_REGISTRY": ""}).name == "local"
    assert target_from(None, {}).name == "local"


def test_target_from_a_wrong_variable_names_the_variable() -> None:
    """An error about what the environment says is not about an argument."""
    with pytest.raises(InvalidOptionError, match=r"^ENLIST_REGISTRY="):
        target_from(None, {"ENLIST_REGISTRY": "/x"})
    with pytest.raises(InvalidOptionError, match=r"^ENLIST_REGISTRY="):
        read_options(ServerOptions, target_from(None, {"ENLIST_REGISTRY": "etcd:x"}), {}, {})


def everything_said(error: BaseException) -> str:
    """Give all that a log, a debugger or an error collector may show of an error."""
    seen: list[str] = []
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is None:
            continue
        seen += [str(one), repr(one), repr(one.args), repr(vars(one))]
        chain += [one.__cause__, one.__context__]
    return "\n".join([*seen, *traceback.format_exception(error)])


FIRST, LAST = "KQZXSECRETA", "KQZXSECRETB"
_hostile = st.text(
    st.sampled_from("ab1%@:/?#[]&=,+ \\\"'~;!\t\n\0é\ud800") | st.characters(), max_size=12
)
_passwords = _hostile.map(lambda middle: f"{FIRST}{middle}{LAST}")


@given(password=_passwords, quoted=st.booleans(), user=_hostile, rest=_hostile)
@example(password=f"{FIRST}/{LAST}", quoted=False, user="u", rest="")
@example(password=f"{FIRST}@{LAST}%40", quoted=False, user="u", rest=":1")
@example(password=f"{FIRST}%ff{LAST}", quoted=False, user="%ff", rest="")
def test_read_of_a_hostile_url_never_shows_its_password(
    password: str, *, quoted: bool, user: str, rest: str
) -> None:
    """Whatever a password is made of, no part of it is in any error, chained ones included."""
    written = quote(password, errors="surrogatepass") if quoted else password
    quoted_user = quote(user, safe="", errors="surrogatepass")
    for url in (
        f"etcd://{quoted_user}:{written}@h:2379{rest}",
        f"etcd://{quoted_user}:{written}",
        f"etcd://h?password={written}{rest}",
        f"etcd://h?pasword={written}",
        f"etcd:{quoted_user}:{written}@h",
    ):
        with pytest.raises((InvalidOptionError, BackendError)) as caught:
            read(url)
        said = everything_said(caught.value)
        # The test's own source lines are in a traceback, the made-up password is not.
        assert FIRST not in said
        assert LAST not in said


@given(text=_hostile, after=st.sampled_from(["", "etcd:", "etcd://", "etcd://h/", "etcd?ttl="]))
def test_read_of_any_text_raises_nothing_but_its_own_errors(text: str, after: str) -> None:
    """No text, however strange, ends in an exception that is not ours."""
    try:
        read(after + text)
    except (InvalidOptionError, BackendError) as error:
        said = str(error)
    else:
        said = "read"
    assert said


@given(
    prefix=st.text(st.characters(exclude_categories=["Cs"])),
    user=st.text(string.printable, min_size=1),
    ttl=st.integers(0, 10**9 - 1),
)
def test_read_of_an_encoded_url_gives_back_what_was_encoded(
    prefix: str, user: str, ttl: int
) -> None:
    """Any prefix and user can be written in a URL with percent-encoding."""
    url = f"etcd://{quote(user, safe='')}@h/{quote(prefix, safe='')}?ttl={ttl}"

    options = read(url)

    assert (options.username, options.ttl) == (user, ttl * SECONDS)
    assert options.prefix == (prefix or "kitex")
