"""A process that is killed at any moment: no truncated object, and nothing left that a listing does not find."""

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from s3writer import MultipartUploadWriter, list_uploads
from tests.helpers import content, data, uploads
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store

SCRIPT = """
import sys, time
import boto3
from botocore.config import Config
import s3writer
from tests.helpers import data

endpoint, key_id, secret, region, bucket, key = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret,
                      region_name=region, config=Config(s3={"addressing_style": "path"}))
payload = data(20 * 1024 ** 2)
with s3writer.MultipartUploadWriter(bucket, key, client=client, equal_parts=True) as stream:
    print("open", flush=True)
    for start in range(0, len(payload), 1024 ** 2):
        stream.write(payload[start:start + 1024 ** 2])
        time.sleep(0.01)
print("published", flush=True)
"""
WHOLE = data(20 * 1024**2)
SEED = int(os.environ.get("KILL_SEED", "1"))
#: Coverage has a lock that an exception out of a signal handler may leave locked for ever.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
#: A run takes about so long from the first word on.
RUN_SECONDS = 0.8


def run_and_send(store: Store, key: str, which: signal.Signals, after: float, folder: Path) -> tuple[str, str]:
    """The child's output and errors; it gets the signal so many seconds after it opened its writer."""
    command = [sys.executable, "-c", SCRIPT, str(store.endpoint), KEY_ID, SECRET, REGION, BUCKET, key]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(after)
    child.send_signal(which)
    out, err = child.communicate(timeout=90)
    return first + out, err


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda which: which.name)
def test_no_object_is_truncated_whenever_a_signal_comes(
    server: Store, key: str, tmp_path: Path, which: signal.Signals, number: int
) -> None:
    after = random.Random(f"{SEED} {which} {number}").uniform(0, RUN_SECONDS)
    client = server.client()
    out, err = run_and_send(server, key, which, after, tmp_path)
    left = uploads(client, key)
    for upload_id in left:
        with contextlib.suppress(client.exceptions.ClientError):  # a commit that was on its way has arrived
            client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)
    now = content(client, key)
    assert now in (None, WHOLE), f"{which.name} after {after:.3f} s, seed {SEED}"
    if "published" in out:
        assert (now, left) == (WHOLE, [])
    elif which is signal.SIGINT:
        assert "KeyboardInterrupt" in err
        assert all(upload_id in err for upload_id in left)


def test_a_program_that_turns_sigterm_into_an_exception_leaves_nothing(
    store: Store, client: Any, key: str, tmp_path: Path
) -> None:
    command = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n" + SCRIPT
    arguments = [str(store.endpoint), KEY_ID, SECRET, REGION, BUCKET, key]
    program = [sys.executable, "-c", command, *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.2)
        child.terminate()
    assert child.returncode == 143
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_an_upload_whose_process_was_killed_goes_on_from_what_the_store_has(server: Store, key: str) -> None:
    client = server.client()
    waiting = "stream._upload.pipeline.collect(0); print('sent', flush=True); time.sleep(60)"
    stalling = SCRIPT.replace("time.sleep(0.01)", f"if start > 11 * 1024 ** 2: {waiting}")
    command = [sys.executable, "-c", stalling, str(server.endpoint), KEY_ID, SECRET, REGION, BUCKET, key]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(2)] == ["open\n", "sent\n"]
    child.kill()
    child.communicate()
    [left] = list_uploads(BUCKET, key, client=client)
    source = io.BytesIO(WHOLE)
    with MultipartUploadWriter.resume(BUCKET, key, left.upload_id, client=client, verify=source) as stream:
        assert stream.tell() == source.tell() == 10 * 1024**2
        stream.write(source.read())
    assert content(client, key) == WHOLE
    assert uploads(client, key) == []
