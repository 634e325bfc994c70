"""Memory is bounded by max_memory, whatever the length of the stream, of one write, or the speed of the store."""

import subprocess
import sys
from pathlib import Path

import pytest

from s3writer._upload.plan import MIB
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store

#: What requests, threads and the allocator may take beside the parts.
ALLOWANCE = 24 * MIB

SCRIPT = """
import itertools, resource, sys, time
import boto3
from botocore.config import Config
from s3writer import MultipartUploadWriter

endpoint, key_id, secret, region, bucket, shape, max_memory = sys.argv[1:]
MIB = 1024 ** 2
client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret,
                      region_name=region, config=Config(s3={"addressing_style": "path"}))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

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
idle = peak()
with MultipartUploadWriter(bucket, shape, client=client, max_memory=int(max_memory)) as stream:
    for chunk in chunks:
        stream.write(chunk)
print(peak() - idle, stream.result.size)
"""


@pytest.mark.parametrize(
    ("shape", "max_memory"),
    [
        ("long stream", 16 * MIB),
        ("short writes, then long ones", 48 * MIB),
        ("one write", 64 * MIB),
        ("slow store", 16 * MIB),
    ],
)
def test_memory_stays_within_max_memory(store: Store, tmp_path: Path, shape: str, max_memory: int) -> None:
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
    used, size = map(int, output.split())
    assert size == 200 * MIB
    assert used <= max_memory + ALLOWANCE
