"""Ctrl-C while the interpreter's exit aborts what is open, and an exit at which no thread can be started."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

#: What runs first at exit is registered last. So the last look at the store comes before all else here.
SCRIPT = """
import atexit, json, os, signal, sys, threading

nth, refuses_threads = int(sys.argv[1]), sys.argv[2] == "refuses threads"
tried = []

def tell():
    for thread in threading.enumerate():
        if thread.name.startswith("s3writer"):
            thread.join(30)
    left = [upload["UploadId"] for upload in s3.client.list_multipart_uploads(Bucket="bucket").get("Uploads", [])]
    print(json.dumps({"begun": begun, "tried": tried, "left": left, "objects": list(s3.objects)}))

atexit.register(tell)

import s3writer
from s3writer.testing import MemoryS3

s3 = MemoryS3("bucket")
interrupted = threading.Event()

def handle(*_):
    interrupted.set()
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, handle)

def note(params, **_):
    tried.append(params["UploadId"])

def interrupt(**_):
    if 0 < nth <= len(tried) and not interrupted.is_set():
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait(10)

s3.client.meta.events.register("before-parameter-build.s3.AbortMultipartUpload", note)
s3.client.meta.events.register("before-send.s3.AbortMultipartUpload", interrupt)

def refuse(thread):
    raise RuntimeError("can't start new thread")

def refuse_threads():
    threading.Thread.start = refuse

streams = [s3writer.MultipartUploadWriter("bucket", name, client=s3.client) for name in ("one", "two", "three")]
for stream in streams:
    stream.write(bytes(5 * 1024**2 + 1))
    assert stream._upload.pipeline.beginning.wait(30)
begun = [upload["UploadId"] for upload in s3.client.list_multipart_uploads(Bucket="bucket")["Uploads"]]
if refuses_threads:
    atexit.register(refuse_threads)
"""


@dataclass(frozen=True)
class Exit:
    """What the script has told, and what was on standard error."""

    stderr: str
    begun: list[str]
    tried: list[str]
    left: list[str]
    objects: list[str]


def leave(folder: Path, threads: str, *, interrupted_abort: int = 0) -> Exit:
    """Run the script to its end; Ctrl-C comes during that abort, counted from 1, or not at all."""
    command = [sys.executable, "-c", SCRIPT, str(interrupted_abort), threads]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    told = Exit(ended.stderr, **json.loads(ended.stdout))
    assert len(told.begun) == 3
    assert told.objects == []
    return told


THREADS = pytest.mark.parametrize("threads", ["has threads", "refuses threads"])
INTERRUPTED = pytest.mark.parametrize("nth", [1, 2, 3])


@THREADS
def test_the_exit_aborts_all_open_uploads_whether_or_not_a_thread_can_be_started(tmp_path: Path, threads: str) -> None:
    told = leave(tmp_path, threads)
    assert told.left == []
    assert told.stderr.count("it is not published") == 3


@THREADS
@INTERRUPTED
@pytest.mark.traces_processes
def test_an_upload_that_a_ctrl_c_at_exit_leaves_is_named_on_standard_error(
    tmp_path: Path, threads: str, nth: int
) -> None:
    told = leave(tmp_path, threads, interrupted_abort=nth)
    assert [upload_id for upload_id in told.left if upload_id not in told.stderr] == [], told.stderr


@THREADS
@INTERRUPTED
@pytest.mark.traces_processes
def test_a_ctrl_c_at_exit_keeps_no_other_upload_from_being_aborted(tmp_path: Path, threads: str, nth: int) -> None:
    told = leave(tmp_path, threads, interrupted_abort=nth)
    assert set(told.tried) == set(told.begun), told.stderr
    assert len(told.left) <= 1


@THREADS
@INTERRUPTED
def test_a_ctrl_c_at_exit_does_not_keep_any_writer_from_being_told_unpublished(
    tmp_path: Path, threads: str, nth: int
) -> None:
    told = leave(tmp_path, threads, interrupted_abort=nth)
    for name in ("one", "two", "three"):
        assert f"s3://bucket/{name}" in told.stderr


#: Python runs this finaliser when it clears the main module. No thread can run any more.
LATE = """
import os, sys
import s3writer
from s3writer.testing import MemoryS3

class Keeper:
    def __init__(self):
        self.s3, self.write = MemoryS3("bucket"), os.write
        self.stream = s3writer.MultipartUploadWriter("bucket", "key", client=self.s3.client)
        self.stream.write(b"too late")

    def __del__(self):
        try:
            self.stream.close()
            self.write(1, b"closed")
        except Exception as error:
            self.write(1, type(error).__name__.encode())
        self.write(1, f" {list(self.s3.objects)}".encode())

keeper = Keeper()
"""


def test_a_close_while_the_interpreter_shuts_down_ends(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LATE], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    assert ended.stdout in {"ImportError []", "closed ['s3://bucket/key']"}, ended.stderr
