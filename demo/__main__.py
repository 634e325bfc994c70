"""Streams a Django database to S3, reads it back and compares; then fails on purpose, and shows that nothing is left.

Without an environment it starts SeaweedFS, a real S3 server, on this machine. With ``S3WRITER_DEMO_BUCKET`` it does the
same against that bucket, with the credentials and the region of the environment. It removes what it made.
"""

import contextlib
import io
import itertools
import logging
import os
import resource
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError
from django.core import serializers
from tqdm import tqdm

from s3writer import MultipartUploadWriter
from tests.library.project import fill, set_up
from tests.stores import BUCKET, seaweedfs

MIB = 1024**2
BOOKS = 33_000
#: Django's formats, and how many rows of each: reading XML back takes it long.
ROWS = {"jsonl": None, "xml": 15_000}


class Halfway(Exception):  # noqa: N818 - it is no error, it is the show
    """Raised on purpose."""


def main() -> None:
    """The whole demonstration, in under a minute."""
    logging.getLogger("s3writer").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(prefix="s3writer-demo-") as folder, store() as (client, bucket, where):
        print(f"store    {where}")
        began = time.monotonic()
        set_up(Path(folder) / "library.sqlite3")
        fill(books=BOOKS, summary_length=200)
        count = sum(model.objects.count() for model in models())
        print(f"database {count:,} rows in SQLite, made in {time.monotonic() - began:.1f} s\n")
        prefix = f"s3writer-demo/{uuid.uuid4().hex}"
        try:
            for fmt in ROWS:
                stream_and_compare(client, bucket, f"{prefix}/library.{fmt}", fmt)
            fail_halfway(client, bucket, f"{prefix}/broken.jsonl")
        finally:
            clean_up(client, bucket, prefix)


@contextlib.contextmanager
def store() -> Iterator[tuple[Any, str, str]]:
    """A client, a bucket, and a word on where they are."""
    if bucket := os.environ.get("S3WRITER_DEMO_BUCKET"):
        client = boto3.client("s3")
        yield client, bucket, f"bucket {bucket} at {client.meta.endpoint_url}"
    else:
        with seaweedfs() as server:
            yield server.client(), BUCKET, f"SeaweedFS at {server.endpoint}, started for this demonstration"


def stream_and_compare(client: Any, bucket: str, key: str, fmt: str) -> None:
    """Serialize every row to S3, then read the object and compare it with the database."""
    began = time.monotonic()
    with (
        tqdm(desc=f"{fmt:8} to S3", unit="B", unit_scale=True, unit_divisor=1024, leave=False) as bar,
        MultipartUploadWriter(bucket, key, client=client, progress=bar.update) as stream,
    ):
        serializers.serialize(fmt, rows(ROWS[fmt]), stream=stream)
    seconds = time.monotonic() - began
    result = stream.result
    print(f"{fmt:8} {stream.name}")
    print(
        f"         {result.size / MIB:.1f} MiB in {result.parts} parts, {result.size / MIB / seconds:.1f} MiB/s", end=""
    )
    print(" (Django's serializer included)      [this writer's result, and a clock]")
    head = client.head_object(Bucket=bucket, Key=key)
    print(f"         ETag {head['ETag']}, {head['ContentLength']:,} bytes      [HeadObject]")
    print(f"         checksum {result.checksum}      [computed here, confirmed by the store when it published]")
    body = client.get_object(Bucket=bucket, Key=key)["Body"]
    same = 0
    loaded = serializers.deserialize(fmt, io.StringIO(body.read().decode()))
    for found, row in zip(loaded, rows(ROWS[fmt]), strict=True):
        if row_values(found.object) != row_values(row):
            raise SystemExit(f"{key}: {found.object!r} is not what the database holds")
        same += 1
    print(f"         {same:,} rows read back equal the database's      [GetObject, Django's deserializer]\n")


def fail_halfway(client: Any, bucket: str, key: str) -> None:
    """Raise in the middle of a text wrapper's with block, where others publish what they have."""
    print("failure  an exception after 12 MiB, inside `with io.TextIOWrapper(writer)`")
    writer = MultipartUploadWriter(bucket, key, client=client)
    try:
        with io.TextIOWrapper(writer, encoding="utf-8") as text:
            for number in range(10**9):
                text.write(f"row {number}\n")
                if writer.tell() > 12 * MIB:
                    raise Halfway
    except Halfway as error:
        print(f"         {error.__notes__[0]}      [the exception's own note]")
    show_nothing(client, bucket, key)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nmemory   {peak:.0f} MiB at its peak, Django and the objects read back included      [getrusage]")


def show_nothing(client: Any, bucket: str, key: str) -> None:
    """Show that there is no object, and no upload of it."""
    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        print(f"         object: {error.response['Error']['Code']}, it does not exist      [HeadObject]")
    else:
        raise SystemExit("a truncated object was published")
    left = [found for found in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) if found["Key"] == key]
    print(f"         unfinished uploads of it: {len(left)}      [ListMultipartUploads]")
    if left:
        raise SystemExit("an upload was left behind")


def clean_up(client: Any, bucket: str, prefix: str) -> None:
    """Remove the demonstration's objects."""
    for found in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        client.delete_object(Bucket=bucket, Key=found["Key"])


def models() -> list[Any]:
    """The tables."""
    from tests.library.models import Author, Book, Loan

    return [Author, Book, Loan]


def rows(count: int | None) -> Iterator[Any]:
    """The first ``count`` rows of all tables, or every row, a thousand at a time."""
    tables = (model.objects.order_by("pk").iterator(chunk_size=1000) for model in models())
    return itertools.islice(itertools.chain.from_iterable(tables), count)


def row_values(row: Any) -> list[Any]:
    """What a row holds, comparable."""
    values = [field.value_from_object(row) for field in row._meta.concrete_fields]
    return [bytes(value) if isinstance(value, memoryview) else value for value in values]


if __name__ == "__main__":
    main()
