"""A process whose threads do not run is refused with a sentence, not found out by an outage."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def told(program: str, tmp_path: Path) -> str:
    """Run a program in a process of its own; return what it says in the end."""
    source = tmp_path / "program.py"
    source.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(source), f"local:{tmp_path / 'registry'}"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]


@pytest.mark.parametrize(
    "library,patch",
    [
        ("gevent", "import gevent.monkey; gevent.monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_refuses_threads_that_are_greenlets(library: str, patch: str, tmp_path: Path) -> None:
    """The real library, the way that its users patch."""
    program = f"""
        {patch}
        import sys, enlist
        enlist.open_registry(sys.argv[1])
    """
    last = told(program, tmp_path)

    assert f"UnsupportedError: {library} has replaced threads by greenlets" in last
    assert "enlist run" in last


def test_works_beside_gevent_that_has_replaced_nothing(tmp_path: Path) -> None:
    """Having it imported is no offence."""
    program = """
        import gevent.monkey
        import sys, enlist
        with enlist.open_registry(sys.argv[1]) as registry:
            registry.register(enlist.Info(service_name="echo", addr="10.0.0.1:80"))
            print(len(registry.resolve("echo")))
    """
    assert told(program, tmp_path) == "1"


@pytest.mark.parametrize(
    "shown,last",
    [
        ("has_threads=0", "UnsupportedError: uWSGI runs no threads in this process"),
        ("has_threads=1", "opened"),
        ("application=print", "opened"),  # the module of an application, as Django's may be
    ],
)
def test_refuses_uwsgi_without_threads(shown: str, last: str, tmp_path: Path) -> None:
    """Only uWSGI can make the module that shows what it runs, so one is put in its place."""
    program = f"""
        import sys, types
        sys.modules["uwsgi"] = types.SimpleNamespace({shown})
        import enlist
        enlist.open_registry(sys.argv[1]).close()
        print("opened")
    """
    assert last in told(program, tmp_path)


INSIDE = """
import enlist
try:
    with enlist.open_registry({url!r}) as registry:
        registry.register(enlist.Info(service_name="echo", addr="10.0.0.1:80"))
except Exception as exc:
    print(type(exc).__name__ + ": " + str(exc), flush=True)
else:
    print("registered", flush=True)
"""

SUBINTERPRETER = f"""
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    interpreter = interpreters.create()
    interpreters.run_string(interpreter, {INSIDE!r}.format(url=sys.argv[1]))
    interpreters.destroy(interpreter)
"""


def test_works_in_a_subinterpreter_or_says_why_not(tmp_path: Path) -> None:
    """Either the registration is kept, or one sentence tells where to open the registry."""
    last = told(SUBINTERPRETER, tmp_path)

    assert last == "registered" or last.startswith("UnsupportedError: ")
