"""Windows' own CPython, under wine, does what it shall on Windows: `make test-wine`. Needs Debian's wine64.

Wine is not Windows: what runs here may still fail there, and what wine can't do is named below. As root it runs as
``nobody``, since wine wants a user and a folder of its own.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers import content, unfinished
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store, folder, seaweedfs
from tests.test_platforms import COMMANDS, LIBRARY

WINDOWS = Path(__file__).parents[1] / ".wine"
SIZE = 12_000_000

EXIT = """
from s3writer import MultipartUploadWriter
stream = MultipartUploadWriter("test-bucket", "dropped")
stream.write(bytes(12_000_000))
"""

CTRL_C = """
import _thread, threading
from s3writer import MultipartUploadWriter
try:
    with MultipartUploadWriter("test-bucket", "interrupted") as stream:
        stream.write(bytes(12_000_000))
        threading.Timer(1, _thread.interrupt_main).start()
        while True:
            stream.write(bytes(1_000_000))
except KeyboardInterrupt as interrupt:
    print(interrupt.__notes__)
"""

SEGMENTS = """
from concurrent.futures import ProcessPoolExecutor
from s3writer.segments import write_segments

def produce(stream):
    stream.write(bytes(12_000_000))

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print(write_segments("test-bucket", "segments", [produce] * 2, executor=pool).size)
"""

#: Without a console wine sends no event to another process, so the signal comes from within.
CTRL_BREAK = """
import signal, sys, threading
from s3writer.cli import run
producer = "import sys, time; sys.stdout.write('x' * 12000000); sys.stdout.flush(); time.sleep(100)"
threading.Timer(6, signal.raise_signal, [signal.SIGBREAK]).start()
print("status", run(["put", "s3://test-bucket/broken", "--", sys.executable, "-c", producer]))
"""


class Machine:
    """Windows' Python in a wine of its own, that knows where the store is."""

    def __init__(self, home: Path, store: Store) -> None:
        self._home = home
        self._user = "nobody" if os.geteuid() == 0 else None
        self._python = home / "python" / "python.exe"
        shutil.copytree(WINDOWS / "python", home / "python")
        if self._user:
            subprocess.run(["chown", "-R", self._user, str(home)], check=True)
        home.chmod(0o755)
        self._variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "WINEPREFIX": str(home / "prefix"),
            "WINEDEBUG": "-all",
            "WINEARCH": "win64",
            "DISPLAY": "",
            "AWS_ENDPOINT_URL": str(store.endpoint),
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
        }

    def wine(self, *command: str, given: bytes = b"", timeout: float = 300) -> subprocess.CompletedProcess[bytes]:
        """Run a program of Windows'."""
        return subprocess.run(
            [shutil.which("wine64") or "/usr/lib/wine/wine64", *command],
            env=self._variables,
            user=self._user,
            cwd=self._home,
            input=given,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def python(self, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run Python."""
        return self.wine(str(self._python), *arguments, given=given)

    def script(self, text: str) -> subprocess.CompletedProcess[bytes]:
        """Run a script, from a file."""
        file = self._home / "script.py"
        file.write_text(text)
        file.chmod(0o644)
        return self.python(str(file))


def said(ended: subprocess.CompletedProcess[bytes]) -> str:
    return (ended.stdout + ended.stderr).decode(errors="replace")


def expect(is_so: bool, ended: subprocess.CompletedProcess[bytes]) -> None:
    if not is_so:
        raise AssertionError(f"exit status {ended.returncode}: {textwrap.shorten(said(ended), 2000)}")


def library(machine: Machine, store: Store) -> None:
    ended = machine.script(LIBRARY)
    expect(ended.returncode == 0 and "dropped was never closed" in said(ended), ended)


def commands(machine: Machine, store: Store) -> None:
    ended = machine.script(f"import sys, tempfile\n{COMMANDS}")
    expect(ended.returncode == 0, ended)


def command_line(machine: Machine, store: Store) -> None:
    payload = os.urandom(SIZE)
    ended = machine.python("-m", "s3writer", "put", f"s3://{BUCKET}/stdin", given=payload)
    expect(ended.returncode == 0 and content(store.client(), "stdin") == payload, ended)


def at_exit(machine: Machine, store: Store) -> None:
    ended = machine.script(EXIT)
    expect("dropped was never closed: it is not published" in said(ended), ended)


def ctrl_c(machine: Machine, store: Store) -> None:
    ended = machine.script(CTRL_C)
    expect(ended.returncode == 0 and "was not published" in said(ended), ended)


def ctrl_break(machine: Machine, store: Store) -> None:
    ended = machine.script(CTRL_BREAK)
    expect("status 143" in said(ended), ended)


def processes(machine: Machine, store: Store) -> None:
    ended = machine.script(SEGMENTS)
    expect("24000000" in said(ended) and content(store.client(), "segments") == bytes(24_000_000), ended)


TRIED: dict[str, Callable[[Machine, Store], None]] = {
    "the library, on a store in memory": library,
    "the command line, on a store in memory": commands,
    "standard input to a real server": command_line,
    "a writer that nobody has closed at exit": at_exit,
    "Ctrl-C": ctrl_c,
    "Ctrl-Break ends the command line": ctrl_break,
    "segments from processes": processes,
}


def main(names: list[str]) -> None:
    """All of it; SystemExit if anything failed."""
    failed = 0
    with seaweedfs() as store, folder() as home:
        machine = Machine(home, store)
        machine.wine("winecfg", "-v", "win10")
        print(said(machine.python("-VV")).strip(), "under", said(machine.wine("--version")).strip())
        for name, try_it in TRIED.items():
            if names and not any(word in name for word in names):
                continue
            began = time.monotonic()
            try:
                try_it(machine, store)
                left = unfinished(store.client())
                print(
                    f"{'left: ' + str(left) if left else 'ok':6} {name} ({time.monotonic() - began:.0f} s)", flush=True
                )
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAILED {name}: {error}", flush=True)
    raise SystemExit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
