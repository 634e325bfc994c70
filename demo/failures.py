"""Five failures, each with three ways of writing to S3, and what is in the bucket afterwards.

The code of a failure is the same for all three: it gets a file, and writes lines to it.
"""

import base64
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import smart_open
from botocore.exceptions import ClientError

from s3writer import MultipartUploadWriter

MIB = 1024**2
COPY = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"


@dataclass(frozen=True)
class Place:
    """Where the objects go."""

    make_client: Callable[[], Any]
    bucket: str


class DatabaseGoneError(Exception):
    """What the producer raises in the middle."""


@dataclass(frozen=True)
class Dump:
    """The bytes that are to become an object: Django's rows, a line each."""

    path: Path
    lines: list[bytes]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.lines))

    def failing_lines(self) -> Iterator[bytes]:
        """The first half, and then an exception."""
        half, given = self.size // 2, 0
        for number, line in enumerate(self.lines):
            if given >= half:
                raise DatabaseGoneError(f"the database went away after row {number:,}")
            yield line
            given += len(line)


@contextmanager
def boto3_and_a_pipe(client: Any, bucket: str, key: str) -> Iterator[Any]:
    """boto3 reads from a file; a pipe and a thread make a file to write to out of it."""
    end, begin = os.pipe()

    def send() -> None:
        with os.fdopen(end, "rb") as reader:  # closed, so that a writer does not wait for ever if this fails
            client.upload_fileobj(reader, bucket, key)

    upload = threading.Thread(target=send)
    upload.start()
    try:
        yield os.fdopen(begin, "wb")
    finally:
        upload.join()


@contextmanager
def with_smart_open(client: Any, bucket: str, key: str) -> Iterator[Any]:
    """smart_open's file. Its parts are 50 MiB by default, which would make one of this dump."""
    yield smart_open.open(f"s3://{bucket}/{key}", "wb", transport_params={"client": client, "min_part_size": 5 * MIB})


@contextmanager
def with_s3writer(client: Any, bucket: str, key: str) -> Iterator[Any]:
    """s3writer's file."""
    yield MultipartUploadWriter(bucket, key, client=client)


Way = Callable[[Any, str, str], AbstractContextManager[Any]]
BOTO3, SMART_OPEN, S3WRITER = "boto3 + pipe", "smart_open", "s3writer"
WAYS: dict[str, Way] = {BOTO3: boto3_and_a_pipe, SMART_OPEN: with_smart_open, S3WRITER: with_s3writer}


def fail_in_with(stream: Any, dump: Dump) -> None:
    """The plain case."""
    with stream:
        for line in dump.failing_lines():
            stream.write(line)


def fail_before_finally(stream: Any, dump: Dump) -> None:
    """``close`` is called by hand."""
    try:
        for line in dump.failing_lines():
            stream.write(line)
    finally:
        stream.close()


def fail_in_a_text_wrapper(stream: Any, dump: Dump) -> None:
    """The standard library's wrapper closes the file."""
    with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
        for line in dump.failing_lines():
            text.write(line.decode())


def kill_the_producer(stream: Any, dump: Dump) -> None:
    """Another process makes the bytes, and is killed. Its exit status is looked at, as it should be."""
    command = [sys.executable, "-c", COPY, str(dump.path)]
    with stream, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as producer:
        assert producer.stdout is not None
        copied = 0
        while chunk := producer.stdout.read(MIB // 16):
            copied += stream.write(chunk)
            if copied >= dump.size // 2:
                producer.kill()
        if producer.wait():
            raise subprocess.CalledProcessError(producer.returncode, "the producer")


def write_all(stream: Any, dump: Dump) -> None:
    """All lines; it is a part that fails."""
    with stream:
        for line in dump.lines:
            stream.write(line)


def damage_part_two(params: dict[str, Any], **_: Any) -> None:
    """Give part 2 the MD5 of other bytes, as if it had been damaged on its way. The store refuses it: BadDigest."""
    if str(params["query_string"].get("partNumber")) == "2":
        params["headers"]["Content-MD5"] = base64.b64encode(bytes(16)).decode()


IN_WRAPPER, REFUSED = "raise in text wrapper", "S3 refuses a part"
FAILURES: dict[str, Callable[[Any, Dump], None]] = {
    "raise in `with`": fail_in_with,
    "raise, then `finally`": fail_before_finally,
    IN_WRAPPER: fail_in_a_text_wrapper,
    "producer killed": kill_the_producer,
    REFUSED: write_all,
}


@dataclass(frozen=True)
class Found:
    """What a failure left in the bucket, and the exception that the program got."""

    size: int | None
    uploads: int
    error: Exception | None

    @property
    def is_right(self) -> bool:
        """Nothing is in the bucket, and the program knows."""
        return self.size is None and not self.uploads and self.error is not None

    def __str__(self) -> str:
        if self.size is not None:
            return f"{self.size:,} B"
        if self.uploads:
            return "upload left"
        return "nothing" if self.error else "no exception"


def fail(failure: str, way: str, place: Place, key: str, dump: Dump) -> Found:
    """Let one failure happen with one way of writing, and look into the bucket."""
    client = place.make_client()
    if failure == REFUSED:
        client.meta.events.register("before-call.s3.UploadPart", damage_part_two)
    error = None
    with quiet_threads():
        try:
            with WAYS[way](client, place.bucket, key) as stream:
                FAILURES[failure](stream, dump)
        except (DatabaseGoneError, subprocess.CalledProcessError, OSError, ClientError) as caught:
            error = caught
    return Found(object_size(client, place.bucket, key), len(unfinished(client, place.bucket, key)), error)


@contextmanager
def quiet_threads() -> Iterator[None]:
    """A thread that fails prints its traceback; what counts here is what the main thread gets."""
    hook = threading.excepthook
    threading.excepthook = lambda _: None
    try:
        yield
    finally:
        threading.excepthook = hook


def object_size(client: Any, bucket: str, key: str) -> int | None:
    """The bytes of an object, None if there is no such object."""
    found = client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
    return next((one["Size"] for one in found if one["Key"] == key), None)


def unfinished(client: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """The uploads that are neither published nor aborted."""
    found = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
    return [one for one in found if one["Key"].startswith(prefix)]


def clean_up(client: Any, bucket: str, prefix: str) -> None:
    """Remove every object and every upload whose key begins so."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=found["Key"])
    for upload in unfinished(client, bucket, prefix):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
