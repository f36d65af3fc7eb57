"""Backends are found in the metadata of installed distributions, real folders of which lie here."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy
import pytest

from enlist.choosing.plugin_checks import check_class
from enlist.choosing.plugins import (
    EXTENSIONS,
    GROUP,
    InstalledPlugin,
    installed,
    load,
    load_extension,
)
from enlist.errors import (
    BackendConflictError,
    BackendError,
    BackendLoadError,
    BackendSpecError,
    UnknownBackendError,
)
from enlist.hookspecs import hookimpl

PLUGIN = """\
from dataclasses import dataclass

from enlist.backend_options import option
from enlist.hookspecs import hookimpl


@dataclass(frozen=True, kw_only=True, slots=True)
class AcmeOptions:
    prefix: str = option("", help="before every key")


class Registry:
    spec_version = 1
    Options = AcmeOptions

    def __init__(self, options, owner):
        raise AssertionError("made while it was only looked at")

    @hookimpl
    def register(self, info):
        pass

    @hookimpl
    def deregister(self, info, timeout_s):
        pass
"""
SUBPROCESS_LIMIT_S = 50


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A distribution with one entry point; `code` None leaves its module out."""

    distribution: str
    version: str
    name: str = "acme"
    module: str = "enlist_acme"
    attribute: str = "Registry"
    code: str | None = PLUGIN
    folder: str = ""
    group: str = GROUP

    def lay_into(self, site: Path) -> Path:
        """Write it as an installer does, and give the folder of its metadata."""
        stem = self.distribution.replace("-", "_")
        path = site / (self.folder or f"{stem}-{self.version}.dist-info")
        path.mkdir()
        metadata_name = "PKG-INFO" if path.suffix == ".egg-info" else "METADATA"
        (path / metadata_name).write_text(
            f"Metadata-Version: 2.1\nName: {self.distribution}\nVersion: {self.version}\n",
            encoding="utf-8",
        )
        (path / "entry_points.txt").write_text(
            f"[{self.group}]\n{self.name} = {self.module}:{self.attribute}\n", encoding="utf-8"
        )
        if self.code is not None:
            (site / f"{self.module}.py").write_text(self.code, encoding="utf-8")
        return path


class Site:
    """A folder on sys.path into which distributions are laid as an installer leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        distribution: str = "enlist-acme",
        version: str = "1.4.0",
        **changes: Any,  # noqa: ANN401 - each is a field of Wheel, with its type
    ) -> Path:
        path = Wheel(distribution=distribution, version=version, **changes).lay_into(self.folder)
        importlib.invalidate_caches()
        return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give an empty site folder, and hide the one in which the tests themselves are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    standard_library = Path(os.__file__).parent
    kept = [entry for entry in sys.path if _is_standard(entry, standard_library)]
    monkeypatch.setattr(sys, "path", [str(folder), *kept])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Site(folder)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def _is_standard(entry: str, standard_library: Path) -> bool:
    path = Path(entry)
    return path in {standard_library, standard_library / "lib-dynload"} or path.suffix == ".zip"


def changed(old: str, new: str) -> str:
    """Give the good plugin with one change, which must take place."""
    assert old in PLUGIN
    return PLUGIN.replace(old, new)


def refusal(error: type[BackendError], name: str = "acme") -> str:
    """Load a backend that must be refused with exactly this error, and give its text."""
    with pytest.raises(error) as caught:
        load(name)
    assert type(caught.value) is error
    return str(caught.value)


def test_installed_lists_name_distribution_and_version_without_an_import(site: Site) -> None:
    """What is installed is told from metadata alone, sorted by name."""
    site.install("enlist-zebra", "0.2", name="zebra", module="enlist_zebra", code="boom(")
    site.install()

    assert installed() == (
        InstalledPlugin("acme", "enlist-acme", "1.4.0"),
        InstalledPlugin("zebra", "enlist-zebra", "0.2"),
    )
    assert not {"enlist_acme", "enlist_zebra"} & sys.modules.keys()


def test_load_gives_the_class_with_its_distribution(site: Site) -> None:
    """A good plugin is imported and returned without an object of it being made."""
    site.install()

    loaded = load("acme")

    assert (loaded.name, loaded.distribution, loaded.version) == ("acme", "enlist-acme", "1.4.0")
    assert loaded.cls is sys.modules["enlist_acme"].Registry
    assert load("acme") == loaded


def test_load_works_beside_a_broken_plugin_and_a_conflict(site: Site) -> None:
    """The faults of plugins that were not chosen are nobody's business."""
    site.install()
    site.install("broken", name="broken", module="broken_plugin", code="import no_such_module")
    site.install("first", name="twice", module="first_plugin")
    site.install("second", name="twice", module="second_plugin")

    assert load("acme").distribution == "enlist-acme"
    assert not {"broken_plugin", "first_plugin", "second_plugin"} & sys.modules.keys()


def test_load_of_an_unknown_name_lists_what_is_installed(site: Site) -> None:
    """A name nobody provides is answered with what there is, and with no guessed install line."""
    site.install()

    text = refusal(UnknownBackendError, "nacos")

    assert text == (
        "No backend 'nacos'. Installed: acme (enlist-acme 1.4.0). "
        "Install the distribution that provides it."
    )


def test_load_of_a_misspelt_name_suggests_the_installed_one(site: Site) -> None:
    """A name close to an installed one is answered with that one."""
    site.install()

    assert refusal(UnknownBackendError, "amce").endswith("Did you mean 'acme'?")


@pytest.mark.parametrize("name", ["consul", "etcd", "zookeeper"])
def test_load_of_our_own_missing_plugin_says_how_to_install_it(site: Site, name: str) -> None:
    """Our own three plugins, and only these, have an install line."""
    expected = f"No backend {name!r}. Installed: none. Install it: pip install enlist-{name}"

    assert refusal(UnknownBackendError, name) == expected


def test_load_of_our_own_misspelt_missing_plugin_says_both(site: Site) -> None:
    """A misspelt name of a missing plugin of ours is guessed and its install line is given."""
    text = refusal(UnknownBackendError, "etdc")

    assert text.endswith("Did you mean 'etcd'? Install it: pip install enlist-etcd")


def test_load_of_a_misspelt_installed_plugin_of_ours_does_not_say_install(site: Site) -> None:
    """What is installed already is not to be installed."""
    site.install("enlist-etcd", "1.0", name="etcd", module="enlist_etcd_double")

    text = refusal(UnknownBackendError, "etdc")

    assert text.endswith("Did you mean 'etcd'?")


@pytest.mark.parametrize("name", ["Acme", "acme ", "ac-me", "1acme", "ac_me", "", "äcme"])
def test_load_of_another_spelling_is_refused_with_the_rule(site: Site, name: str) -> None:
    """A name is never made lower case or stripped for the caller."""
    site.install()

    text = refusal(UnknownBackendError, name)

    assert "a lower-case letter, then lower-case letters and digits" in text


def test_load_of_an_ill_named_entry_point_names_its_distribution(site: Site) -> None:
    """A plugin whose own entry point is ill-named is refused, and its author is named."""
    site.install(name="Acme-DB")

    text = refusal(BackendSpecError, "Acme-DB")

    assert "'Acme-DB' (enlist-acme 1.4.0) has a name that is not allowed" in text
    assert "Ask the author of enlist-acme to rename" in text


@pytest.mark.parametrize(
    "code, cause",
    [
        ("import no_such_module", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("def (", SyntaxError),
        ("raise SystemExit(3)", SystemExit),
        ("Other = 1", AttributeError),
        (None, ModuleNotFoundError),
    ],
)
def test_load_of_a_plugin_that_fails_to_import_chains_the_cause(
    site: Site, code: str | None, cause: type[BaseException]
) -> None:
    """Whatever a plugin raises at import is reported with its distribution and kept."""
    site.install(code=code)

    with pytest.raises(BackendLoadError, match=r"'acme' \(enlist-acme 1\.4\.0\) failed") as caught:
        load("acme")

    assert type(caught.value.__cause__) is cause
    assert isinstance(caught.value, ImportError)
    assert f"import: {cause.__name__}: " in str(caught.value)
    assert "Reinstall enlist-acme" in str(caught.value)


def test_load_of_a_malformed_entry_point_is_a_load_error(site: Site) -> None:
    """An entry point that is no 'module:Class' is the distribution's fault and named so."""
    site.install(module="no module")

    assert "(enlist-acme 1.4.0)" in refusal(BackendLoadError)


def test_load_leaves_a_keyboard_interrupt_alone(site: Site) -> None:
    """A user who interrupts a slow import is not told that the plugin is broken."""
    site.install(code="raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        load("acme")


def test_load_of_a_name_claimed_twice_names_both(site: Site) -> None:
    """Where two distributions claim a name, neither is imported."""
    site.install()
    site.install("acme-registry", "0.3", module="acme_registry")

    text = refusal(BackendConflictError)

    assert text == (
        "Backend 'acme' is claimed by acme-registry 0.3 (acme_registry:Registry) and by "
        "enlist-acme 1.4.0 (enlist_acme:Registry). Neither is used. "
        "Uninstall the one that you do not want."
    )
    assert not {"enlist_acme", "acme_registry"} & sys.modules.keys()


def test_load_of_one_distribution_found_twice_is_no_conflict(site: Site, tmp_path: Path) -> None:
    """An editable install leaves an egg-info beside the dist-info of the same distribution."""
    site.install()
    sources = tmp_path / "sources"
    sources.mkdir()
    sys.path.append(str(sources))
    Site(sources).install("Enlist_Acme", folder="enlist_acme.egg-info")

    assert load("acme").distribution == "enlist-acme"
    assert len(installed()) == 1


def test_load_of_one_distribution_under_another_folder_name_is_no_conflict(site: Site) -> None:
    """Two metadata folders that name one distribution and one class are one plugin."""
    site.install()
    site.install("Enlist.Acme", folder="leftover-1.4.0.dist-info")

    assert load("acme").version == "1.4.0"


def test_load_without_name_and_version_in_the_metadata_says_unknown(site: Site) -> None:
    """An interrupted uninstall leaves metadata without a name, which does not break the lookup."""
    path = site.install(code="1 / 0")
    (path / "METADATA").unlink()

    assert installed() == (InstalledPlugin("acme", "unknown", "unknown"),)
    assert "'acme' (unknown unknown) failed to import" in refusal(BackendLoadError)


def test_load_with_an_unreadable_distribution_names_it(site: Site) -> None:
    """Metadata that the standard library cannot parse is reported as what it is."""
    path = site.install("other", "9.9", name="other", module="other_plugin")
    (path / "entry_points.txt").write_bytes(b"[enlist.registries]\n\xff = x:y\n")

    text = refusal(BackendLoadError)

    assert "cannot be read" in text
    assert text.endswith("Reinstall or remove other 9.9.")


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("class Registry:", "Registry = 3\nclass Other:", "names int 3, not a class"),
        ("    spec_version = 1\n", "", "spec_version is None. Its class needs spec_version = 1"),
        ("spec_version = 1", "spec_version = '1'", "spec_version is '1'"),
        ("spec_version = 1", "spec_version = True", "spec_version is True"),
        (
            "spec_version = 1",
            "spec_version = 2",
            (
                "is made for version 2 of the Registry spec; this enlist has version 1. "
                "Upgrade enlist: pip install --upgrade enlist"
            ),
        ),
        (
            "spec_version = 1",
            "spec_version = 0",
            (
                "is made for version 0 of the Registry spec; this enlist has version 1. "
                "Upgrade enlist-acme to a release that is made for it."
            ),
        ),
        ("    Options = AcmeOptions\n", "", "has no Options"),
        ("Options = AcmeOptions", "Options = dict", "Options must be a dataclass"),
        ("prefix: str", "prefix: bytes", "Option 'prefix' has the type <class 'bytes'>"),
        ("prefix: str", "prefix: 'Missing'", "name 'Missing' is not defined"),
        ("__init__(self, options, owner)", "__init__(self)", "__init__(self, options, owner)"),
        (
            "__init__(self, options, owner)",
            "__init__(self, options, owner, timeout)",
            "missing a required argument: 'timeout'",
        ),
        (
            "    @hookimpl\n    def register(",
            "    def register(",
            "does not implement the hook 'register'",
        ),
        (
            "    @hookimpl\n    def deregister(",
            "    def deregister(",
            "does not implement the hook 'deregister'",
        ),
        (
            "def __init__",
            "@property\n    def client(self):\n        1 / 0\n\n    def __init__",
            "has the property 'client'. pluggy reads every attribute",
        ),
        (
            "def __init__",
            (
                "@__import__('functools').cached_property\n    def _client(self):\n"
                "        1 / 0\n\n    def __init__"
            ),
            "has the property '_client'",
        ),
        (
            "def register(self, info)",
            "def register(self, infos)",
            (
                "the hook 'register' with the argument 'infos', which the hook does not have. "
                "Did you mean 'info'? Its arguments: info, timeout_s."
            ),
        ),
        (
            "def deregister(self, info, timeout_s)",
            "def deregister(self, info, timeout_s=3.0)",
            "the hook 'deregister' with a default for 'timeout_s'",
        ),
        (
            "def deregister(self, info, timeout_s)",
            "def deregister(self, info, *, timeout_s)",
            "the hook 'deregister' with 'timeout_s', which pluggy never passes",
        ),
        (
            "def register(self, info)",
            "def register(self, **arguments)",
            "the hook 'register' with '**arguments', which pluggy never passes",
        ),
        (
            "def __init__",
            "@hookimpl\n    def keepalive(self, infos):\n        pass\n\n    def __init__",
            (
                "implements the hook 'keepalive', which version 1 of the Registry spec does not "
                "have. Did you mean 'keep_alive'?"
            ),
        ),
        (
            "def __init__",
            "@hookimpl\n    def enrich(self, info):\n        pass\n\n    def __init__",
            "implements the hook 'enrich', which version 1",
        ),
        (
            "@hookimpl\n    def register(",
            "@hookimpl(wrapper=True)\n    def register(",
            "implements the hook 'register' as a wrapper. Only extensions wrap",
        ),
        (
            "def register(self, info):\n        pass",
            "def register(self, info):\n        yield",
            "implements the hook 'register' with 'yield'",
        ),
        (
            "    def register(",
            "    async def register(",
            "implements the hook 'register' as 'async def'",
        ),
    ],
)
def test_load_of_a_class_that_breaks_the_spec_says_how(
    site: Site, old: str, new: str, said: str
) -> None:
    """Each way not to fit the Registry spec has its sentence, with distribution and version."""
    site.install(code=changed(old, new))

    text = refusal(BackendSpecError)

    assert text.startswith("Backend 'acme' (enlist-acme 1.4.0) ")
    assert said in text


@pytest.mark.parametrize(
    "old, new",
    [
        ("def register(self, info)", "def register(this, info)"),
        ("def register(self, info)", "def register(self)"),
        (
            "@hookimpl\n    def register(self, info)",
            "@staticmethod\n    @hookimpl\n    def register(info)",
        ),
        ("@hookimpl\n    def register(self", "@classmethod\n    @hookimpl\n    def register(cls"),
        ("@hookimpl\n    def register(", "@hookimpl(specname='register')\n    def _write("),
        (
            "def __init__",
            (
                "@hookimpl(optionalhook=True)\n    def of_a_later_spec(self, x):\n        pass\n\n"
                "    def __init__"
            ),
        ),
        (
            "def __init__",
            "@hookimpl\n    def watch(self, stop):\n        yield []\n\n    def __init__",
        ),
        ("class Registry:", "class Base:\n    __slots__ = ('client',)\n\nclass Registry(Base):"),
    ],
)
def test_load_of_an_unusual_class_that_fits_is_accepted(site: Site, old: str, new: str) -> None:
    """What the Registry spec allows is not refused because it is rare."""
    site.install(code=changed(old, new))

    assert load("acme").cls.__name__ == "Registry"


def test_check_class_of_a_plugin_without_a_distribution_says_whom_to_ask() -> None:
    """A class that a caller passes is checked alike, and named as the caller names it."""

    class Old:
        spec_version = 0

    with pytest.raises(BackendSpecError) as caught:
        check_class(Old, "Plugin Old")

    assert str(caught.value).startswith("Plugin Old is made for version 0")
    assert "Upgrade the plugin" in str(caught.value)


def test_check_class_reports_what_only_pluggy_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that a newer pluggy adds is an error of ours too, with its cause."""

    @dataclass
    class NoOptions: ...

    class Plugin:
        spec_version = 1
        Options = NoOptions

        def __init__(self, options: object, owner: str) -> None: ...

        @hookimpl
        def register(self, info: object) -> None: ...

        @hookimpl
        def deregister(self, info: object) -> None: ...

    def refuse(self: pluggy.PluginManager, plugin: object, name: str | None = None) -> None:
        raise pluggy.PluginValidationError(plugin, "a new rule")

    assert check_class(Plugin, "Plugin 'x'") is Plugin
    monkeypatch.setattr(pluggy.PluginManager, "register", refuse)

    with pytest.raises(BackendSpecError, match="Plugin 'x' was refused by pluggy: a new") as caught:
        check_class(Plugin, "Plugin 'x'")

    assert isinstance(caught.value.__cause__, pluggy.PluginValidationError)


EXTENSION = """\
class Registry:
    pass


tool = Registry()
"""


def test_load_extension_of_a_class_makes_an_object_each_time(site: Site) -> None:
    """Two registries do not share the object of one extension."""
    site.install(code=EXTENSION, group=EXTENSIONS)

    first, second = load_extension("acme"), load_extension("acme")

    assert type(first) is sys.modules["enlist_acme"].Registry
    assert first is not second


def test_load_extension_of_an_object_returns_it(site: Site) -> None:
    """An entry point may name an object that is ready."""
    site.install(code=EXTENSION, group=EXTENSIONS, attribute="tool")

    assert load_extension("acme") is sys.modules["enlist_acme"].tool


def test_load_extension_of_an_unknown_name_lists_the_extensions(site: Site) -> None:
    """A backend is no extension: the two groups do not mix."""
    site.install()
    site.install("probe", name="probe", module="probe_x", group=EXTENSIONS)

    with pytest.raises(UnknownBackendError) as caught:
        load_extension("acme")

    assert str(caught.value) == (
        "No extension 'acme'. Installed: probe (probe 1.4.0). "
        "Install the distribution that provides it, or pass it as an object."
    )
    assert [plugin.name for plugin in installed()] == ["acme"]


def test_load_extension_of_our_backends_name_has_no_install_line(site: Site) -> None:
    """The distribution of a backend is no answer to somebody who wants an extension."""
    with pytest.raises(UnknownBackendError) as caught:
        load_extension("etcd")

    assert "pip install" not in str(caught.value)


def test_load_extension_that_cannot_be_made_chains_the_cause(site: Site) -> None:
    """A class that needs arguments is passed as an object instead."""
    site.install(group=EXTENSIONS)

    with pytest.raises(BackendLoadError, match=r"Extension 'acme' .* cannot be made") as caught:
        load_extension("acme")

    assert isinstance(caught.value.__cause__, TypeError)
    assert "pass an object of it" in str(caught.value)


def test_import_and_load_import_no_other_backend(tmp_path: Path) -> None:
    """In a fresh process, enlist imports no backend, and choosing one imports that one alone."""
    site = Site(tmp_path)
    site.install()
    site.install("enlist-bystander", name="bystander", module="enlist_bystander")
    script = (
        "import sys\n"
        "import enlist\n"
        "import enlist.choosing.plugins\n"
        "strangers = {'grpc', 'google.protobuf', 'kazoo', 'urllib3', 'click', 'rich'}\n"
        "def backends():\n"
        "    return sorted(n for n in sys.modules if n.startswith('enlist_') or n in strangers)\n"
        "print(backends())\n"
        "enlist.choosing.plugins.installed()\n"
        "print(backends())\n"
        "enlist.choosing.plugins.load('acme')\n"
        "print(backends())\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=SUBPROCESS_LIMIT_S,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "[]", "['enlist_acme']"]
