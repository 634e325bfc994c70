"""Other platforms than the one of the tests: what only POSIX has is nowhere needed."""

import os
import select
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from s3writer import MultipartUploadWriter
from s3writer._file import room
from s3writer._file.room import NoRoom
from s3writer.cli import pipes
from s3writer.testing import MemoryS3
from tests.helpers import content, join_threads
from tests.servers.app import PIECE, PIECES
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store

#: Takes away what Windows does not have. What Python's own modules need of it they must have seen before.
WITHOUT_POSIX = """
import os, select, signal, subprocess, sys, tempfile, threading
import concurrent.futures, multiprocessing.managers
for module, names in {
    os: "fork forkpty register_at_fork readv writev preadv pread pwrite getuid geteuid setsid killpg getpgid mkfifo "
        "sched_getaffinity wait3 wait4 waitpid WNOHANG WIFEXITED chown fchown fchmod posix_spawn O_NONBLOCK",
    select: "poll epoll",
    signal: "SIGHUP SIGCHLD SIGKILL SIGALRM SIGUSR1 SIGUSR2 SIGQUIT SIGPIPE pthread_kill pthread_sigmask sigwait "
        "setitimer alarm set_wakeup_fd",
}.items():
    for name in names.split():
        if hasattr(module, name) and name not in KEPT:
            delattr(module, name)
for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
"""

LIBRARY = """
import gc, gzip, io, json, zipfile
from concurrent.futures import ThreadPoolExecutor
import s3writer
from s3writer import MultipartUploadWriter, PendingUpload, abort_uploads, list_uploads
from s3writer.segments import write_segments
from s3writer.testing import MemoryS3
import s3writer.unfinished, s3writer.pending

DATA = bytes(range(256)) * 45000  # 11 MiB

with MemoryS3("bucket") as s3:
    with MultipartUploadWriter("bucket", "large") as stream:
        stream.write(DATA)
    with s3writer.open("s3://bucket/text.gz", "w", newline="\\n") as text:
        text.write("n,square\\n7,49\\n")
    with MultipartUploadWriter("bucket", "zip") as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data", DATA)
    for wrap in (io.TextIOWrapper, io.BufferedWriter, lambda raw: gzip.GzipFile(fileobj=raw, mode="wb")):
        try:
            with MultipartUploadWriter("bucket", "never") as stream, wrap(stream) as wrapped:
                wrapped.write("x" * len(DATA) if wrap is io.TextIOWrapper else DATA)
                raise ArithmeticError
        except ArithmeticError:
            pass
    stream = MultipartUploadWriter("bucket", "aborted")
    stream.write(DATA)
    stream.abort()
    stream = MultipartUploadWriter("bucket", "prepared")
    stream.write(DATA)
    PendingUpload.from_json(stream.prepare().to_json()).commit()
    try:
        with MultipartUploadWriter("bucket", "resumed", on_error="keep") as stream:
            stream.write(DATA)
            raise ArithmeticError
    except ArithmeticError:
        (left,) = list_uploads("bucket", "resumed")
    with MultipartUploadWriter.resume("bucket", "resumed", left.upload_id, verify=io.BytesIO(DATA)) as stream:
        stream.write(DATA[stream.tell():])
    with ThreadPoolExecutor(2) as pool:
        write_segments("bucket", "segments", [lambda out: out.write(DATA)] * 3, executor=pool)
    s3.client.create_multipart_upload(Bucket="bucket", Key="left")
    assert [one.key for one in list_uploads("bucket")] == ["left"]
    import datetime
    abort_uploads("bucket", older_than=datetime.timedelta(0), dry_run=False)
    assert s3.unfinished == [], s3.unfinished
    objects = {url.rpartition("/")[2]: body for url, body in s3.objects.items()}
    assert objects.keys() == {"large", "text.gz", "zip", "prepared", "resumed", "segments"}, objects.keys()
    assert gzip.decompress(objects["text.gz"]) == b"n,square\\n7,49\\n"
    assert objects["large"] == objects["prepared"] == objects["resumed"] == DATA
    assert objects["segments"] == DATA * 3
    assert zipfile.ZipFile(io.BytesIO(objects["zip"])).read("data") == DATA
    dropped = MultipartUploadWriter("bucket", "dropped")
    dropped.write(DATA)
"""

COMMANDS = """
import io, pathlib
from s3writer.cli import run
from s3writer.testing import MemoryS3

def said(*arguments):
    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        return run(arguments), sys.stdout.getvalue()
    finally:
        sys.stdout = before

with tempfile.TemporaryDirectory() as place, MemoryS3("bucket") as s3:
    file = pathlib.Path(place) / "prepared.json"
    program = [sys.executable, "-c", "import sys; sys.stdout.write('x' * 11000000)"]
    assert said("put", "s3://bucket/program", "--", *program) == (0, "")
    assert said("put", "s3://bucket/never", "--", *program[:2], program[2] + "; sys.exit(3)") == (1, "")
    assert said("put", "s3://bucket/prepared", "--prepare", str(file), "--", *program) == (0, "")
    assert said("commit", str(file)) == (0, "")
    standard = tempfile.TemporaryFile("w+")
    standard.write("y" * 6000000)
    standard.seek(0)
    sys.stdin = standard
    assert said("put", "s3://bucket/standard", "--gzip") == (0, "")
    assert said("uploads", "s3://bucket/")[0] == 0
    assert s3.unfinished == []
    objects = {url.rpartition("/")[2]: body for url, body in s3.objects.items()}
    assert objects.keys() == {"program", "prepared", "standard"}, objects.keys()
    assert objects["program"] == objects["prepared"] == b"x" * 11000000
    assert sorted(path.name for path in pathlib.Path(place).iterdir()) == ["prepared.json"]
"""


def alone(script: str, kept: str = "") -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own."""
    whole = f"KEPT = {kept.split()!r}\n{WITHOUT_POSIX}\n{script}"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", whole], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.traces_processes
def test_the_library_does_everything_without_what_only_posix_has() -> None:
    ended = alone(LIBRARY, kept="O_NONBLOCK waitpid")  # which modules of Python's own name on Linux
    assert ended.returncode == 0, ended.stderr
    assert "s3://bucket/dropped was never closed: it is not published" in ended.stderr


@pytest.mark.traces_processes
def test_the_command_line_does_everything_without_what_only_posix_has() -> None:
    ended = alone(
        COMMANDS, kept="O_NONBLOCK posix_spawn waitpid WNOHANG WIFEXITED"
    )  # Python's subprocess, which has another way on Windows
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("s3writer: not published: ") == 1


GREEN = """
from gevent import monkey
monkey.patch_all()
import gevent
from tests.servers.app import write
gevent.joinall([gevent.spawn(write, f"{key}/{number}") for number in range(4)], raise_error=True)
"""


def test_green_threads_write_whole_objects_and_leave_nothing(store: Store, client: Any, key: str) -> None:
    variables = {
        **os.environ,
        "AWS_ENDPOINT_URL": str(store.endpoint),
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    script = f"key = {key!r}\n{GREEN}"
    ended = subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stderr
    for number in range(4):
        assert content(client, f"{key}/{number}") == PIECE * PIECES
        assert content(client, f"{key}/{number}/never") is None


def trace(*_: object) -> None:
    """A tracer that is written in Python, as debuggers are."""


class Watcher:
    """A tracer that is an object."""

    def __call__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("watch", [sys.settrace, sys.setprofile])
@pytest.mark.parametrize("trace", [trace, Watcher(), Watcher().__call__])
def test_where_a_tracer_runs_in_the_midst_of_a_write_the_write_takes_the_lock(
    watch: Callable[[Any], None], trace: Callable[..., None]
) -> None:
    rooms: list[int] = []

    def write() -> None:
        watch(trace)
        try:
            for _ in range(2):
                stream.write(b"bytes")
                rooms.append(stream._room)
        finally:
            watch(None)

    with MemoryS3(BUCKET) as s3:
        with MultipartUploadWriter(BUCKET, "key") as stream:
            stream.write(b"")
            thread = threading.Thread(target=write)
            stream._room = NoRoom.NEWS  # what the thread that makes a writer sees is not what others see
            thread.start()
            thread.join()
            assert rooms == [NoRoom.UNSAFE] * 2
            stream.write(b"bytes")
            assert stream._room > 0
        assert s3.objects == {f"s3://{BUCKET}/key": b"bytes" * 3}


def test_without_the_gil_each_write_takes_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_has_gil", lambda: False)
    records = [b"%d" % number * 1000 for number in range(8)]
    with MemoryS3(BUCKET) as s3:
        with MultipartUploadWriter(BUCKET, "key") as stream, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda record: [stream.write(record) for _ in range(1000)], records))
            assert stream._room == NoRoom.UNSAFE
        (body,) = s3.objects.values()
    found = Counter(body[start : start + 1000] for start in range(0, len(body), 1000))
    assert found == dict.fromkeys(records, 1000)


def test_a_pipe_whose_bytes_another_process_took_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_too_late(*_: object) -> int:
        monkeypatch.setattr(os, "readv", readv)
        os.read(reading, 7)
        raise BlockingIOError

    def write_late() -> None:
        seconds_without.append(1)
        if len(seconds_without) == 3:
            end.write(b"of us")

    readv = os.readv
    seconds_without: list[int] = []
    monkeypatch.setattr(pipes, "_IDLE_SECONDS", 0.01)

    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as end:
        source, target = pipes.PolledPipe(file), bytearray(7)
        end.write(b"of them")
        source.idle = write_late
        monkeypatch.setattr(os, "readv", read_too_late)
        assert source.readinto(target) == 5
    assert (bytes(target[:5]), source.size) == (b"of us", 5)


def test_where_pipes_can_not_be_polled_a_thread_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll", raising=False)
    monkeypatch.setattr(pipes, "_IDLE_SECONDS", 0.01)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as end:
        source, target, found = pipes.pipe(file), bytearray(7), b""
        assert isinstance(source, pipes.ThreadedPipe)

        def write_and_close() -> None:
            end.write(b"some bytes of a pipe")
            end.close()

        source.idle = write_and_close
        while count := source.readinto(target):
            found += target[:count]
    assert (found, source.size) == (b"some bytes of a pipe", 20)
    assert source.readinto(target) == 0


def test_a_thread_that_runs_out_of_memory_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object) -> bytes:
        raise MemoryError

    (tmp_path / "file").write_bytes(b"bytes")
    join_threads()  # an idle thread of a test that is not traced would not be traced here
    monkeypatch.setattr(os, "read", run_out)
    with (tmp_path / "file").open("rb") as file, pytest.raises(MemoryError):
        pipes.ThreadedPipe(file).readinto(bytearray(7))


def test_what_a_thread_can_not_read_is_raised_to_who_reads_the_pipe(tmp_path: Path) -> None:
    join_threads()  # see above
    with (tmp_path / "file").open("wb") as unreadable, pytest.raises(OSError, match="Bad file descriptor"):
        pipes.ThreadedPipe(unreadable).readinto(bytearray(7))
