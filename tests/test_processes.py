"""What the end of a process, an unhandled exception and a fork do to a writer that is still open."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import content, uploads
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store

HEAD = """
import gc, io, os, sys, threading, warnings
import boto3
from botocore.config import Config
import s3writer

def fork():
    # coverage has a lock that a thread may hold just now, and that its child would wait for
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a thread that was joined may yet be there for the system
        return os.fork()

endpoint, key_id, secret, region, bucket, key = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret,
                      region_name=region, config=Config(s3={"addressing_style": "path"}))
stream = s3writer.MultipartUploadWriter(bucket, key, client=client)
stream.write(bytes(6 * 1024 ** 2))
"""


def run(store: Store, key: str, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HEAD + script, str(store.endpoint), KEY_ID, SECRET, REGION, BUCKET, key]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("", 0),
        ("text = io.TextIOWrapper(stream); text.write('x')", 0),
        ("raise RuntimeError('unhandled')", 1),
        ("sys.exit(3)", 3),
        ("del stream", 0),
        ("cycle = [stream]; cycle.append(cycle); del cycle, stream", 0),
        ("threading.Thread(target=lambda kept: None, args=(stream,)).start()", 0),
    ],
    ids=["still open", "in a wrapper", "unhandled exception", "sys.exit", "dropped", "in a cycle", "in a thread"],
)
def test_the_end_of_the_process_aborts_what_is_open(
    store: Store, client: Any, key: str, tmp_path: Path, script: str, code: int
) -> None:
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == code, ended.stderr
    assert "not published" in ended.stderr
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_the_end_of_the_process_needs_nothing_for_a_writer_that_has_sent_nothing(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
stream.abort()
keep = s3writer.MultipartUploadWriter(bucket, key, client=client)
keep.write(b"x")
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "not published" in ended.stderr
    assert content(client, key) is None


@pytest.mark.parametrize("on_error", ["abort", "keep"])
def test_the_end_of_the_process_looks_after_an_upload_that_was_resumed(
    store: Store, client: Any, key: str, tmp_path: Path, on_error: str
) -> None:
    script = f"""
stream.abort()
resume = s3writer.MultipartUploadWriter.resume
left = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
again = resume(bucket, key, left, client=client, on_error={on_error!r})
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    left = uploads(client, key)
    assert len(left) == (0 if on_error == "abort" else 1)
    assert not left or f"upload {left[0]} to s3://{BUCKET}/{key} was kept: go on" in ended.stderr
    for upload_id in left:
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


@pytest.mark.parametrize("lines", [10, 8000], ids=["short", "long"])
def test_a_log_handler_into_s3_that_only_the_end_of_the_process_closes_publishes_all_that_was_logged(
    store: Store, client: Any, key: str, tmp_path: Path, lines: int
) -> None:
    script = f"""
import logging

class ToS3(logging.StreamHandler):
    def close(self):
        self.stream.close()
        super().close()

stream.abort()
log = logging.getLogger("app")
log.propagate = False
log.addHandler(ToS3(s3writer.open(f"s3://{{bucket}}/{{key}}", "w", client=client)))
for _ in range({lines}):
    log.warning("%s", "x" * 1000)
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert content(client, key) == (b"x" * 1000 + b"\n") * lines
    assert uploads(client, key) == []


def test_what_is_aborted_at_exit_is_told_though_the_log_s_handler_takes_nothing_once_it_is_closed(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import logging, logging.handlers
logging.getLogger().addHandler(logging.handlers.MemoryHandler(1000, target=logging.FileHandler("log")))
"""
    ended = run(store, key, script, tmp_path)
    assert f"s3://{BUCKET}/{key} was never closed: it is not published" in ended.stderr
    assert uploads(client, key) == []


@pytest.mark.traces_processes
def test_a_log_handler_whose_close_is_interrupted_at_exit_keeps_no_upload_from_being_aborted(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import logging

class Interrupted(logging.Handler):
    def close(self):
        raise KeyboardInterrupt

logging.getLogger("app").addHandler(Interrupted())
"""
    ended = run(store, key, script, tmp_path)
    assert "KeyboardInterrupt" in ended.stderr
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_the_end_of_the_process_waits_for_what_a_finaliser_aborts(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import time
client.meta.events.register("before-send.s3.AbortMultipartUpload", lambda **_: time.sleep(1))
del stream
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "not published" in ended.stderr
    assert uploads(client, key) == []


def test_the_end_of_the_process_waits_until_it_is_told_how_to_go_on_with_what_a_finaliser_keeps(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import time
stream.abort()
client.meta.events.register("before-send.s3.UploadPart", lambda **_: time.sleep(1))
stream = s3writer.MultipartUploadWriter(bucket, key, client=client, on_error="keep")
stream.write(bytes(6 * 1024 ** 2))
del stream
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    [upload_id] = uploads(client, key)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)
    assert f"upload {upload_id} to s3://{BUCKET}/{key} was kept: go on" in ended.stderr


def test_the_end_of_the_process_waits_for_an_abort_that_was_not_waited_for_any_longer(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import time
s3writer._upload.cleanup.ABORT_SECONDS = 0.2
client.meta.events.register("before-send.s3.AbortMultipartUpload", lambda **_: time.sleep(1))
try:
    stream.abort()
except s3writer.NotCommittedError as error:
    print(error)
"""
    ended = run(store, key, script, tmp_path)
    assert "it took more than" in ended.stdout, ended.stderr
    assert uploads(client, key) == []


def test_the_end_of_the_process_does_not_wait_for_ever_for_what_a_finaliser_aborts(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
s3writer._upload.at_exit.EXIT_SECONDS = 0.5
client.meta.events.register("before-send.s3.AbortMultipartUpload", lambda **_: threading.Event().wait())
del stream
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    for upload_id in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


@pytest.mark.traces_processes
def test_ctrl_c_while_the_end_of_the_process_waits_for_a_finaliser_leaves_no_other_upload(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import atexit, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
aborts, ends = [], threading.Event()
def abort_slowly(**_):
    aborts.append("first")
    if len(aborts) == 1:
        time.sleep(3)
client.meta.events.register("before-send.s3.AbortMultipartUpload", abort_slowly)
def press():
    ends.wait()
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
other = s3writer.MultipartUploadWriter(bucket, key + " other", client=client)
other.write(bytes(6 * 1024 ** 2))
del stream
while not aborts:
    time.sleep(0.01)
threading.Thread(target=press, daemon=True).start()
atexit.register(ends.set)
"""
    ended = run(store, key, script, tmp_path)
    assert "KeyboardInterrupt" in ended.stderr
    assert uploads(client, f"{key} other") == []
    for upload_id in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_writer_closed_at_exit_still_publishes(store: Store, client: Any, key: str, tmp_path: Path) -> None:
    ended = run(store, key, "import atexit; atexit.register(stream.close)", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert content(client, key) == bytes(6 * 1024**2)


def test_a_writer_made_after_the_last_chance_to_abort_does_not_hang_the_exit(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    late = "import atexit\ndef late():\n    global stream\n    stream = make()\natexit.register(late)\n"
    script = (
        late
        + HEAD.replace("stream = ", "def make():\n  stream = ").replace("stream.write", "  stream.write")
        + "  return stream\n"
    )
    command = [sys.executable, "-c", script, str(store.endpoint), KEY_ID, SECRET, REGION, BUCKET, key]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert content(client, key) is None
    for upload_id in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


@pytest.mark.traces_processes
def test_a_thread_that_commits_while_the_process_ends_is_no_writer_that_was_never_closed(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import threading, time
sent, ended = threading.Event(), threading.Event()
def commit_slowly(**_):
    sent.set()
    ended.wait(30)
client.meta.events.register("before-send.s3.CompleteMultipartUpload", commit_slowly)
threading.Thread(target=stream.close, daemon=True).start()
sent.wait(30)
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "is not known: it was interrupted" in ended.stderr
    assert "never closed" not in ended.stderr
    for upload_id in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


@pytest.mark.traces_processes
def test_a_server_that_hangs_holds_up_the_exit_once_and_not_for_each_upload(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
import time
s3writer._upload.at_exit.EXIT_SECONDS = s3writer._upload.cleanup.ABORT_SECONDS = 0.5
client.meta.events.register("before-send.s3.AbortMultipartUpload", lambda **_: time.sleep(1))
more = [s3writer.MultipartUploadWriter(bucket, key, client=client) for _ in range(3)]
for other in more:
    other.write(bytes(6 * 1024 ** 2))
"""
    ended = run(store, key, script, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("there was no time left for it") == 3
    assert content(client, key) is None
    for upload_id in uploads(client, key):
        assert upload_id in ended.stderr
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_forked_child_that_frees_its_copy_changes_nothing(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
child = fork()
if child == 0:
    del stream
    gc.collect()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
stream.write(b"the parent goes on")
stream.close()
"""
    ended = run(store, key, script, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert content(client, key) == bytes(6 * 1024**2) + b"the parent goes on"


def test_a_wrapper_that_dies_in_a_forked_child_changes_nothing(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
wrapper = io.BufferedWriter(stream)
pid = fork()
if pid == 0:
    del wrapper
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
wrapper.write(b"x")
wrapper.close()
"""
    ended = run(store, key, script, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert content(client, key) == bytes(6 * 1024**2) + b"x"


@pytest.mark.traces_processes
def test_a_forked_child_can_neither_publish_nor_abort(store: Store, client: Any, key: str, tmp_path: Path) -> None:
    script = """
stream._one_call.lock.acquire()  # as if another thread were writing while this one forks
child = fork()
if child == 0:
    refused = 0
    for use in (lambda: stream.write(b"small"), stream.commit, stream.close):
        try:
            use()
        except io.UnsupportedOperation as error:
            assert "only that process" in str(error)
            refused += 1
        except ValueError:
            refused += 1
    stream.abort()
    os._exit(refused)
stream._one_call.lock.release()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
with stream:
    stream.write(b"the parent goes on")
"""
    ended = run(store, key, script, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert content(client, key) == bytes(6 * 1024**2) + b"the parent goes on"


@pytest.mark.traces_processes
def test_a_forked_child_can_leave_the_with_block_by_an_exception(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
with stream:
    child = fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    ended = run(store, key, script, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert content(client, key) == bytes(6 * 1024**2)


def test_the_default_client_is_one_a_process_and_a_forked_child_makes_its_own(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    script = """
os.environ.update(AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID=key_id, AWS_SECRET_ACCESS_KEY=secret, AWS_REGION=region)
stream.abort()
from s3writer._s3.client import default_client
boto3.DEFAULT_SESSION = None
found = set()
threads = [threading.Thread(target=lambda: found.add(id(default_client()))) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 1
def publish(payload):
    with s3writer.MultipartUploadWriter(bucket, key) as own:
        own.write(payload)
    assert own.result.checksum is not None
publish(b"parent")
ours = default_client()
child = fork()
if child == 0:
    assert default_client() is not ours
    publish(b"child")
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    ended = run(store, key, script, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert content(client, key) == b"child"
