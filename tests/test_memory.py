"""Memory is bounded by max_memory, whatever the length of the stream, of one write, or the speed of the store."""

import gc
import json
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from s3writer import AccessDeniedError, MultipartUploadWriter, NotCommittedError
from s3writer._upload import heap
from s3writer._upload.plan import MIB
from tests.helpers import content, data, uploads, writer
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store
from tests.wire import Wire, refuse

#: What requests, threads and the allocator may take beside the parts.
ALLOWANCE = 24 * MIB

SCRIPT = """
import itertools, json, resource, sys, time
import boto3
from botocore.config import Config
from s3writer import MultipartUploadWriter

endpoint, key_id, secret, region, bucket, shape, max_memory = sys.argv[1:]
MIB = 1024 ** 2
client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret,
                      region_name=region, config=Config(s3={"addressing_style": "path"}))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def resident():
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * resource.getpagesize()

def slow(request, **_):
    time.sleep(0.3)

def fresh(size, count):
    block = bytes(size)
    return (bytes(memoryview(block)) for _ in range(count))

chunks = {
    "long stream": fresh(MIB, 200),
    "short writes, then long ones": itertools.chain(fresh(MIB // 16, 1600), fresh(MIB, 100)),
    "slow store": fresh(MIB, 200),
    "one write": fresh(200 * MIB, 1),
}[shape]
if shape == "one write":
    chunks = list(chunks)
with MultipartUploadWriter(bucket, "warm up", client=client) as stream:
    stream.write(bytes(6 * MIB))
if shape == "slow store":
    client.meta.events.register("before-send.s3.UploadPart", slow)
idle, at_rest = peak(), resident()
with MultipartUploadWriter(bucket, shape, client=client, max_memory=int(max_memory)) as stream:
    for chunk in chunks:
        stream.write(chunk)
used, deadline = peak() - idle, time.monotonic() + 30
del chunks, chunk
while (kept := resident() - at_rest) > 24 * MIB and time.monotonic() < deadline:
    time.sleep(0.1)
print(json.dumps({"used": used, "kept": kept, "size": stream.result.size}))
"""


@pytest.mark.parametrize(
    ("shape", "max_memory"),
    [
        ("long stream", 16 * MIB),
        ("short writes, then long ones", 48 * MIB),
        ("one write", 64 * MIB),
        ("slow store", 16 * MIB),
        ("slow store", 128 * MIB),
    ],
)
def test_memory_stays_within_max_memory_and_goes_back_afterwards(
    store: Store, tmp_path: Path, shape: str, max_memory: int
) -> None:
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(store.endpoint),
        KEY_ID,
        SECRET,
        REGION,
        BUCKET,
        shape,
        str(max_memory),
    ]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100).stdout
    found = json.loads(output)
    assert found["size"] == 200 * MIB
    assert found["used"] <= max_memory + ALLOWANCE
    assert found["kept"] <= ALLOWANCE


@contextmanager
def traced() -> Iterator[Callable[[], tuple[int, int]]]:
    """Tells how many bytes of Python's have come to be held meanwhile, and how many there were at most."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: (tracemalloc.get_traced_memory()[0] - before, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def fail(stream: MultipartUploadWriter, wire: Wire) -> None:
    wire.on("UploadPart", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError):
        stream.close()


def abort_when_parts_have_arrived(stream: MultipartUploadWriter, _: Wire) -> None:
    for thread in threading.enumerate():
        if thread.name == "s3writer-part":
            thread.join(30)
    stream.abort()


def abort_in_vain(stream: MultipartUploadWriter, wire: Wire) -> None:
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(NotCommittedError):
        abort_when_parts_have_arrived(stream, wire)
    wire.on("AbortMultipartUpload", lambda _: None)


ENDS: list[Callable[[MultipartUploadWriter, Wire], object]] = [
    lambda stream, _: stream.close(),
    lambda stream, _: stream.prepare(),
    fail,
    lambda stream, _: stream.abort(),
    abort_when_parts_have_arrived,
    abort_in_vain,
]


@pytest.mark.parametrize("end", ENDS, ids=["close", "prepare", "fail", "abort", "abort later", "abort in vain"])
def test_a_writer_that_has_ended_holds_none_of_its_bytes(client: Any, key: str, end: Any) -> None:
    wire, payload = Wire(client), data(300 * 1024)
    with writer(client, key) as warm:
        warm.write(data(6 * MIB))
    with traced() as memory:
        stream = writer(client, key)
        for _ in range(50):
            stream.write(payload)
        end(stream, wire)
        wire.requests.clear()
        for _ in range(100):
            gc.collect()
            held, _ = memory()
            if held < MIB:
                break
            time.sleep(0.05)  # a thread that has sent a part may not have returned yet
    assert stream.closed
    assert held < MIB
    for upload_id in uploads(client, key):
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_writer_of_little_takes_little_memory(client: Any, key: str) -> None:
    payload = data(300 * 1024)
    with writer(client, key) as stream, traced() as memory:
        stream.write(payload)
        held, most = memory()
    assert held <= most < MIB
    assert content(client, key) == payload


def test_a_part_that_fills_by_small_writes_takes_little_more_than_its_own_length(client: Any, key: str) -> None:
    payload = data(100 * 1024)
    with writer(client, key) as stream, traced() as memory:
        for _ in range(51):
            stream.write(payload)
        held, most = memory()
    assert held <= most < 7 * MIB
    assert content(client, key) == payload * 51


def test_large_writes_of_ever_other_lengths_are_not_held_but_for_the_first(client: Any, key: str) -> None:
    payloads = [data(MIB + length) for length in range(8)]
    before = [sys.getrefcount(payload) for payload in payloads]
    with writer(client, key, part_size=20 * MIB) as stream:
        for payload in payloads:
            stream.write(payload)
        del payload
        held = [sys.getrefcount(payload) for payload in payloads]
        assert [now > then for now, then in zip(held, before, strict=True)] == [True] + 7 * [False]
    assert content(client, key) == b"".join(payloads)


def test_where_the_c_library_keeps_no_memory_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert heap._find_malloc_trim() is None
