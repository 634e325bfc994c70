"""Writes objects inside of each kind of server, and looks whether they are whole.

    python -m tests.servers [NAME…]

Needs what `make servers` installs, and root for the sandbox. Prints a line for each kind.
"""

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.helpers import content, unfinished
from tests.servers.app import PIECE, PIECES
from tests.stores import KEY_ID, REGION, SECRET, Store, folder, free_port, program, running, seaweedfs

ROOT = Path(__file__).parents[2]
REQUESTS = 8
WHOLE = PIECE * PIECES

Case = Callable[[Store, dict[str, str], Path], None]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Makes a function the case of this name."""

    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


def check(store: Store, keys: list[str]) -> None:
    """SystemExit unless the objects are whole, and nothing else is there."""
    client = store.client()
    for key in keys:
        if content(client, key) != WHOLE:
            raise SystemExit(f"{key} is not what was written")
        if content(client, f"{key}/never") is not None:
            raise SystemExit(f"{key}/never was published")
    if left := unfinished(client):
        raise SystemExit(f"uploads were left: {left}")


def run(script: str, variables: dict[str, str], before: tuple[str, ...] = ()) -> None:
    """Run a script in a process of its own, or SystemExit."""
    ended = subprocess.run([*before, sys.executable, "-c", script], env=variables, timeout=120, check=False)
    if ended.returncode:
        raise SystemExit(f"exit status {ended.returncode}")


GREEN = """
{patch}
from tests.servers.app import write
{spawn}
"""


@case("gevent")
def gevent(store: Store, variables: dict[str, str], place: Path) -> None:
    """Eight greenlets at once."""
    spawn = "import gevent; gevent.joinall([gevent.spawn(write, f'gevent{n}') for n in range(8)], raise_error=True)"
    run(GREEN.format(patch="from gevent import monkey; monkey.patch_all()", spawn=spawn), variables)
    check(store, [f"gevent{number}" for number in range(8)])


@case("eventlet")
def eventlet(store: Store, variables: dict[str, str], place: Path) -> None:
    """Eight green threads at once."""
    spawn = "[each.wait() for each in [eventlet.spawn(write, f'eventlet{n}') for n in range(8)]]"
    run(GREEN.format(patch="import eventlet; eventlet.monkey_patch()", spawn=spawn), variables)
    check(store, [f"eventlet{number}" for number in range(8)])


def ask(port: int, prefix: str) -> None:
    """Eight requests at once, once the server listens."""

    def get(number: int) -> bytes:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{prefix}{number}", timeout=60) as answer:
                    return bytes(answer.read())
            except (ConnectionError, urllib.error.URLError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    with ThreadPoolExecutor(REQUESTS) as pool:
        list(pool.map(get, range(REQUESTS)))


@contextmanager
def serving(command: list[str], place: Path, **settings: str) -> Iterator[None]:
    """A server; what it has logged is shown if anything goes wrong."""
    try:
        with running(command, place, **settings):
            yield
    except BaseException:
        print((place / "log").read_text(errors="replace")[-3000:], file=sys.stderr)
        raise


def gunicorn(kind: str) -> Case:
    """Gunicorn, whose workers are forked from a master that has written before. With gevent the master must not: its
    workers patch what the master would have imported.
    """

    def serve(store: Store, variables: dict[str, str], place: Path) -> None:
        port, prefix = free_port(), f"gunicorn-{kind}"
        command = [program("gunicorn"), f"--bind=127.0.0.1:{port}", "--workers=2", "--threads=4"]
        preloaded = {} if kind == "gevent" else {"PRELOADED": "1"}
        command += ["--preload"] if preloaded else []
        command += [f"--worker-class={kind}", "--worker-connections=50", f"--chdir={ROOT}"]
        with serving([*command, "tests.servers.app:application"], place, **variables, **preloaded):
            ask(port, prefix)
        check(store, [f"{prefix}{number}" for number in range(REQUESTS)] + (["preloaded"] if preloaded else []))

    return serve


for _kind in ("sync", "gthread", "gevent"):
    CASES[f"gunicorn {_kind}"] = gunicorn(_kind)


def uwsgi(*options: str) -> Case:
    """uWSGI, whose workers are forked from a master that has imported the application."""

    def serve(store: Store, variables: dict[str, str], place: Path) -> None:
        port, prefix = free_port(), f"uwsgi{len(options)}-"
        command = [program("uwsgi"), f"--http-socket=127.0.0.1:{port}", "--master", "--processes=2", *options]
        command += [f"--home={sys.prefix}", f"--pythonpath={ROOT}", "--module=tests.servers.app:application"]
        with serving(command, place, **variables):
            ask(port, prefix)
        check(store, [f"{prefix}{number}" for number in range(REQUESTS)])

    return serve


CASES["uWSGI"] = uwsgi()
CASES["uWSGI with threads"] = uwsgi("--enable-threads", "--threads=4")


def celery(pool: str) -> Case:
    """A Celery worker."""

    def serve(store: Store, variables: dict[str, str], place: Path) -> None:
        for name in ("queue", "results", "control"):
            (place / name).mkdir()
        mine = {**variables, "CELERY_PLACE": str(place)}
        command = [program("celery"), "--app=tests.servers.tasks:celery", f"--workdir={ROOT}", "worker"]
        keys = [f"celery-{pool}{number}" for number in range(REQUESTS)]
        send = "from tests.servers.tasks import export; import sys; [each.get(timeout=90) for each in "
        send += f"[export.delay(key) for key in {keys!r}]]"
        with serving([*command, f"--pool={pool}", "--concurrency=3"], place, **mine):
            run(send, mine)
        check(store, keys)

    return serve


CASES["Celery prefork"] = celery("prefork")
CASES["Celery gevent"] = celery("gevent")


class Relay(socketserver.ThreadingTCPServer):
    """Passes connections on to a server, until they are cut."""

    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        self.sockets: list[socket.socket] = []
        relay = self

        class Pass(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(target) as other:
                    relay.sockets += [self.request, other]
                    back = threading.Thread(target=relay.copy, args=(other, self.request))
                    back.start()
                    relay.copy(self.request, other)
                    back.join()

        super().__init__(("127.0.0.1", 0), Pass)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        """All that comes, until one of them ends."""
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End all connections."""
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()


SANDBOX = """
import os, signal
from tests.servers.app import write
for place in ("/dev/shm", "/", "/var/tmp", os.path.expanduser("~")):
    try:
        open(os.path.join(place, "probe"), "w")
    except OSError:
        continue
    raise SystemExit(f"{place} can be written to")
write("frozen0")
os.kill(os.getpid(), signal.SIGSTOP)  # as between two invocations
write("frozen1")
"""
READ_ONLY = " && ".join(
    [
        "mount --make-rprivate /",
        "mount -t tmpfs -o size=16m tmpfs /tmp",
        "mount -t tmpfs -o ro tmpfs /dev/shm",
        "mount -o remount,ro,bind /",
        'exec "$@"',
    ]
)


@case("sandbox")
def sandbox(store: Store, variables: dict[str, str], place: Path) -> None:
    """A read-only file system, nothing in /dev/shm, and frozen until all connections have died."""
    host, _, port = str(store.endpoint).removeprefix("http://").partition(":")
    relay = Relay((host, int(port)))
    variables = {**variables, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{relay.server_address[1]}"}
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", sys.executable, "-c", SANDBOX]
    process = subprocess.Popen(command, env={**variables, "HOME": "/nowhere"})
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        if process.poll() is not None:
            raise SystemExit(f"exit status {process.returncode}")
        time.sleep(0.1)
    relay.cut()
    process.send_signal(signal.SIGCONT)
    if process.wait(120):
        raise SystemExit(f"exit status {process.returncode}")
    check(store, ["frozen0", "frozen1"])


def main(names: list[str]) -> None:
    """All of them, or those that are named."""
    with seaweedfs() as store:
        variables: dict[str, Any] = {
            **os.environ,
            "AWS_ENDPOINT_URL": str(store.endpoint),
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "PYTHONPATH": str(ROOT),
        }
        for name in names or CASES:
            began = time.monotonic()
            with folder() as place:
                CASES[name](store, variables, place)
            package = name.split()[0].lower()
            kind = name if package == "sandbox" else f"{name}, {version(package)}"
            print(f"{kind:30} whole objects, nothing left ({time.monotonic() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
