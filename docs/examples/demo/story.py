"""The demo: gRPC servers enlist themselves, one crashes, one leaves, one joins.

Run it with `python3 noxfile.py -s demo`, and `-- URL` for another registry than a fresh file.
Every step is checked: the exit status is 0 only if all of the story held. It takes a few seconds
where the registry notices a crash at once, and its time to live longer where it does not.
"""

import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import grpc

import enlist
from docs.examples.demo.client import Client

WITHIN_S = 60
START_S = 20
SEEN_WITHIN_S = 30
LOOK_EVERY_S = 0.5
CALLS = 200
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


class StoryError(Exception):
    """A step did not go as it was told."""


class Server:
    """A gRPC server that runs as a process of its own."""

    def __init__(self, folder: Path, registry: str, service: str, name: str) -> None:
        """Start it; its log goes into the folder."""
        self.name = name
        self.log = folder / f"{name}.log"
        program = Path(__file__).with_name("server.py")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - this demo's own program
                [sys.executable, str(program), registry, service, name],
                stdin=subprocess.PIPE,  # closed when this process ends, however it ends
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Ask it to stop, as a deployment does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end and return the exit status."""
        status = self.process.wait(START_S)
        self.close()
        return status

    def close(self) -> None:
        """Kill it with -9, if it still runs, and wait for it."""
        self.process.kill()
        self.process.communicate()


class Story:
    """The steps, in order, and what they share."""

    def __init__(self, registry: str, folder: Path) -> None:
        """Take the registry's URL and a folder for logs."""
        self.registry = registry
        self.folder = folder
        # A name of its own, so that nothing else in the registry is part of the story.
        self.service = f"greeter-{secrets.token_hex(3)}"
        self.servers: dict[str, Server] = {}
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """Tell what happens, and when."""
        print(f"[{time.monotonic() - self.began:6.2f} s] {text}", flush=True)

    def tell(self) -> None:
        """Tell the story from beginning to end."""
        self.say(f"The registry is {self.registry}; the service is called {self.service!r}.")
        with (
            enlist.open_registry(self.registry) as registry,
            registry.resolver(self.service) as resolver,
        ):
            self.enlist_three(resolver)
            with Client(resolver) as client:
                self.call_everyone(client)
                self.crash(client, "berta")
                self.leave(client, "anna")
                self.join(client, "dora")
            self.end(resolver)

    # --- the steps ---------------------------------------------------------------------------

    def enlist_three(self, resolver: enlist.Resolver) -> None:
        """Three servers enlist themselves, and the client sees them."""
        self.say("1. Three gRPC servers start, each a process of its own, and enlist themselves.")
        for name in ("anna", "berta", "carla"):
            self.start(name)
        took_s = self.see(resolver, "anna", "berta", "carla")
        for info in sorted(resolver.instances, key=name_of):
            pid = self.servers[name_of(info)].process.pid
            self.say(f"   {name_of(info)} is at {info.addr} (process {pid})")
        self.say(f"   A client that follows {self.service!r} sees all three after {took_s:.2f} s.")

    def call_everyone(self, client: Client) -> None:
        """The client calls each of them, then goes on calling."""
        self.say("2. The client calls each of them, by the address that it found.")
        for info in sorted(client.resolver.instances, key=name_of):
            self.say(f"   {client.call(info)!r}")
        count = client.wait_for_calls(CALLS, START_S)
        self.check(count.answered >= CALLS, f"calls failed: {client.last_error}")
        self.say(
            "   From now on it calls without a pause, whoever pick() gives, and repeats what fails."
        )

    def crash(self, client: Client, name: str) -> None:
        """A server is killed, and is gone from the client's view."""
        self.say(f"3. kill -9 {name}: a crash. Nobody says goodbye.")
        before = client.count
        self.servers.pop(name).close()
        took_s = self.see(client.resolver, *self.servers)
        count = client.count - before
        self.say(f"   {name} is gone from the client's view after {took_s:.2f} s.")
        self.say(f"   Until then {count.repeated} calls met it, and were repeated on another.")
        self.check(not count.failed, f"{count.failed} calls failed: {client.last_error}")
        count = client.wait_for_calls(CALLS, START_S)
        # The one call that was on its way to the dead when it left the view may still meet it.
        self.check(
            count.answered and count.repeated <= 1 and not count.failed,
            f"calls failed afterwards: {client.last_error}",
        )
        self.say(f"   The next {count.answered} calls were answered by the others.")

    def leave(self, client: Client, name: str) -> None:
        """A server is asked to stop, and not one call fails."""
        self.say(f"4. SIGTERM to {name}: a stop, as in every deployment.")
        server, before = self.servers[name], client.count
        server.stop()
        took_s = self.see(client.resolver, *(self.servers.keys() - {name}))
        self.say(f"   {name} has left the client's view after {took_s:.2f} s, and still serves.")
        status = server.wait()
        del self.servers[name]
        client.wait_for_calls(CALLS, START_S)
        count = client.count - before
        self.check(status == 0, f"{name} ended with status {status}")
        missed = count.repeated + count.failed
        self.check(count.answered and not missed, f"{missed} calls failed: {client.last_error}")
        self.say(f"   {name} has ended. Of {count.answered} calls meanwhile not one failed.")

    def join(self, client: Client, name: str) -> None:
        """A new server joins, and gets calls."""
        self.say(f"5. A new server, {name}, starts and enlists itself.")
        self.start(name)
        took_s = self.see(client.resolver, *self.servers)
        new = next(info for info in client.resolver.instances if name_of(info) == name)
        self.say(f"   The client sees it after {took_s:.2f} s and calls it: {client.call(new)!r}")

    def end(self, resolver: enlist.Resolver) -> None:
        """The rest leaves, and the registry is empty again."""
        self.say("6. SIGTERM to the rest.")
        for server in self.servers.values():
            server.stop()
        for name, server in self.servers.items():
            status = server.wait()
            self.check(status == 0, f"{name} ended with status {status}")
        self.servers.clear()
        self.see(resolver)
        self.say("   All have ended, and the registry is as it was before.")

    # --- what the steps need -----------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a server."""
        self.servers[name] = Server(self.folder, self.registry, self.service, name)

    def see(self, resolver: enlist.Resolver, *names: str) -> float:
        """Wait until the client's view is exactly these servers; return how long that took."""
        began = time.monotonic()
        wanted = sorted(names)
        changed = threading.Event()
        unsubscribe = resolver.on_change(lambda _: changed.set())
        while (seen := sorted(map(name_of, resolver.instances))) != wanted:
            dead = [name for name in names if self.servers[name].process.poll() is not None]
            self.check(not dead, f"{', '.join(dead)} ended by itself")
            left_s = began + SEEN_WITHIN_S - time.monotonic()
            self.check(left_s > 0, f"the client sees {seen or 'nobody'}, not {wanted or 'nobody'}")
            changed.wait(min(left_s, LOOK_EVERY_S))
            changed.clear()
        unsubscribe()
        return time.monotonic() - began

    def check(self, held: object, otherwise: str) -> None:
        """End the story if it does not hold."""
        if not held:
            raise StoryError(otherwise)

    def close(self) -> None:
        """Leave no process behind."""
        for server in self.servers.values():
            server.close()


def name_of(info: enlist.Info) -> str:
    """Return what the server calls itself."""
    return (info.tags or {}).get("name", str(info.addr))


def interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    """End the story in order when it takes too long, or somebody wants it to end."""
    late = number == signal.SIGALRM
    raise StoryError(f"it was not over within {WITHIN_S} s" if late else "it was interrupted")


def main(registry: str | None = None) -> int:
    """Tell the story; return 0 if all of it held."""
    for number in INTERRUPTS:
        signal.signal(number, interrupted)
    signal.alarm(WITHIN_S)
    with tempfile.TemporaryDirectory(prefix="enlist-demo-") as folder:
        story = Story(registry or f"local:{folder}/registry.db", Path(folder))
        try:
            story.tell()
        except (StoryError, enlist.EnlistError, grpc.RpcError, subprocess.TimeoutExpired) as exc:
            story.say(f"The story did NOT hold: {exc}")
            for log in sorted(Path(folder).glob("*.log")):
                print(f"--- {log.name}", log.read_text(errors="replace"), sep="\n", flush=True)
            return 1
        finally:
            for number in INTERRUPTS:  # nothing may keep the servers from being ended
                signal.signal(number, signal.SIG_IGN)
            story.close()
        story.say("The story held.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
