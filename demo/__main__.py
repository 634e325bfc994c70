"""Streams a Django database to S3, reads it back and compares; then lets five things go wrong, with three libraries.

Without an environment it starts SeaweedFS, a real S3 server, on this machine. With ``S3WRITER_DEMO_BUCKET`` it does the
same in that bucket, with the credentials and the region of the environment. It removes what it made.
"""

import io
import itertools
import logging
import os
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from django.core import serializers
from rich import box
from rich.table import Table
from rich.text import Text

from demo import screen
from demo.failures import (
    BOTO3,
    FAILURES,
    IN_WRAPPER,
    MIB,
    S3WRITER,
    SMART_OPEN,
    WAYS,
    Dump,
    Found,
    Place,
    clean_up,
    fail,
)
from s3writer import MultipartUploadWriter
from tests.library.project import fill, set_up, values
from tests.stores import BUCKET, seaweedfs

BOOKS = 9_000
#: Django's formats, and how many rows of each: Django takes long to read XML.
ROWS = {"jsonl": None, "xml": 3_000}
REAL_BUCKET = os.environ.get("S3WRITER_DEMO_BUCKET")


def main() -> int:
    """The whole demonstration, in under a minute."""
    for library in ("s3writer", "smart_open"):  # their warnings are shown as results
        logging.getLogger(library).addHandler(logging.NullHandler())
    return screen.run(show)


def show() -> str:
    """All of it; a summary."""
    screen.title("s3writer: a file whose bytes become one S3 object, wholly or not at all")
    prefix = f"s3writer-demo-{uuid.uuid4().hex[:8]}/"
    with tempfile.TemporaryDirectory(prefix="s3writer-demo-") as folder, running_place() as place:
        with screen.step("Django fills an SQLite database") as step:
            set_up(Path(folder) / "library.sqlite3")
            fill(books=BOOKS, summary_length=1_200)
            step.done = f"SQLite database made with Django, {count_rows():,} rows"
        try:
            screen.heading("1. Django's serializer writes straight into S3")
            used = {fmt: stream_and_compare(place, f"{prefix}library.{fmt}", fmt) for fmt in ROWS}

            screen.heading("2. A backup fails halfway. What is in the bucket then?")
            dump = download(place, f"{prefix}library.jsonl", Path(folder) / "library.jsonl")
            found = try_failures(place, prefix, dump)
            show_table(found)
            explain(found[IN_WRAPPER, S3WRITER])

            screen.heading("3. How fast is s3writer itself?")
            time_serializer(dump, used["jsonl"])
            time_writer(place, f"{prefix}rate.jsonl", dump)
        finally:
            clean_up(place.make_client(), place.bucket, prefix)
    return summarize(found)


@contextmanager
def running_place() -> Iterator[Place]:
    """The bucket that the environment names, or a server."""
    if REAL_BUCKET:
        session = boto3.session.Session()
        place = Place(lambda: session.client("s3"), REAL_BUCKET)
        screen.say(f"Bucket {REAL_BUCKET} at {place.make_client().meta.endpoint_url}.")
        screen.say("Some 400 MiB go there, and are removed at the end.")
        yield place
    else:
        with ExitStack() as stack:
            with screen.step("SeaweedFS, an S3 server, starts on this machine") as step:
                server = stack.enter_context(seaweedfs())
                step.done = f"SeaweedFS, an S3 server, runs on this machine: {server.endpoint}"
            yield Place(server.client, BUCKET)


def stream_and_compare(place: Place, key: str, fmt: str) -> float:
    """Serialize rows to S3, then read the object and compare it with the database.

    Returns the seconds of CPU that this thread used to serialize and write.
    """
    client, count = place.make_client(), ROWS[fmt] or count_rows()
    began, used = time.perf_counter(), time.thread_time()
    with screen.step(f"{fmt} to S3", unit="MiB") as step:
        with MultipartUploadWriter(
            place.bucket, key, client=client, progress=lambda size: step.advance(size / MIB)
        ) as stream:
            serializers.serialize(fmt, rows(count), stream=stream)
        seconds, used = time.perf_counter() - began, time.thread_time() - used
        size, parts = stream.result.size / MIB, stream.result.parts
        step.done = f"{fmt}: {count:,} rows, {size:.1f} MiB in {parts} parts, {size / seconds:.1f} MiB/s"
    screen.say(f"{stream.result.checksum}, computed here, confirmed by the store")
    with screen.step(f"{fmt} from S3, and every row compared", total=count, unit="rows") as step:
        body = client.get_object(Bucket=place.bucket, Key=key)["Body"].read().decode()
        for found, row in zip(serializers.deserialize(fmt, io.StringIO(body)), rows(count), strict=True):
            if not is_same(found, row):
                raise screen.BrokenPromiseError(f"{key}: {found.object!r} is not what the database holds")
            step.advance(1)
        step.done = f"{count:,} rows read back from S3 equal the database's"
    return used


def download(place: Place, key: str, path: Path) -> Dump:
    """The first object's bytes, for the failures."""
    path.write_bytes(place.make_client().get_object(Bucket=place.bucket, Key=key)["Body"].read())
    return Dump(path, path.read_bytes().splitlines(keepends=True))


def try_failures(place: Place, prefix: str, dump: Dump) -> dict[tuple[str, str], Found]:
    """Each failure with each way of writing."""
    found = {}
    pairs = list(itertools.product(FAILURES, WAYS))
    with screen.step("five failures, three libraries", total=len(pairs), unit=f"of {len(pairs)}") as step:
        for number, (failure, way) in enumerate(pairs):
            step.say(f"{failure}: {way}")
            found[failure, way] = fail(failure, way, place, f"{prefix}failure-{number}.jsonl", dump)
            step.advance(1)
        step.done = f"The same {dump.size:,} bytes and code, five failures, three libraries"
    return found


def show_table(found: dict[tuple[str, str], Found]) -> None:
    """A row for each failure, a column for each library."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("failure")
    versions = {BOTO3: version("boto3"), SMART_OPEN: version("smart_open"), S3WRITER: "this checkout"}
    for way in WAYS:
        table.add_column(f"{way}\n{versions[way]}", min_width=15)
    for failure in FAILURES:
        table.add_row(failure, *(cell(found[failure, way]) for way in WAYS))
    screen.console.print(table)
    screen.say(f"{screen.NO} with a size: a truncated object, published under the backup's key.")
    if any(one.error is None for one in found.values()):
        screen.say(f"{screen.NO} no exception: nothing is published, and only a thread's traceback says so.")
    screen.say(f"{screen.YES} nothing: no object, no unfinished upload, and the program got an exception.")


def cell(found: Found) -> Text:
    """A cell of the table."""
    sign, style = (screen.YES, "green") if found.is_right else (screen.NO, "red")
    return Text(f"{sign} {found}", style)


def explain(found: Found) -> None:
    """What the program is told, by the exception of its own."""
    if found.error is None or not getattr(found.error, "__notes__", None):
        raise screen.BrokenPromiseError("the exception has no note that says what became of the object")
    screen.console.print()
    lines = traceback.format_exception_only(found.error)
    screen.frame("".join(lines).rstrip(), "The exception that your program gets: its own, with s3writer's note")


def time_serializer(dump: Dump, used_with_s3: float) -> None:
    """Django's serializer again, into nothing: the rest of the CPU that was used is the writer's."""
    began, used = time.perf_counter(), time.thread_time()
    with screen.step("Django's serializer alone") as step, Path(os.devnull).open("w", encoding="utf-8") as nothing:
        serializers.serialize("jsonl", rows(count_rows()), stream=nothing)
        seconds, used = time.perf_counter() - began, time.thread_time() - used
        step.done = f"Django's serializer alone, into {os.devnull}: {dump.size / MIB / seconds:.1f} MiB/s"
    share = min(used / used_with_s3, 1)
    screen.say(f"CPU of the thread that serialized to S3: {used_with_s3:.1f} s, {share:.0%} of it the serializer's")


def time_writer(place: Place, key: str, dump: Dump) -> None:
    """The dump again, several times over, without Django."""
    times = 2 if REAL_BUCKET else 8
    data, client = dump.path.read_bytes(), place.make_client()
    began, used = time.perf_counter(), time.process_time()
    with screen.step("the same bytes, without Django", total=times * len(data) / MIB, unit="MiB") as step:
        with MultipartUploadWriter(
            place.bucket, key, client=client, progress=lambda size: step.advance(size / MIB)
        ) as stream:
            for start in list(range(0, len(data), MIB)) * times:
                stream.write(data[start : start + MIB])
        seconds, used = time.perf_counter() - began, time.process_time() - used
        size = stream.result.size / MIB
        step.done = f"s3writer alone, this dump {times} times over: {size:.0f} MiB, {size / seconds:.0f} MiB/s"
    screen.say(f"CPU of this process: {used:.1f} s, {used / size * 1024:.1f} s a GiB")
    if not REAL_BUCKET:
        screen.say(f"The server shares {os.cpu_count()} cores with it. `make bench` measures with more care.")


def summarize(found: dict[tuple[str, str], Found]) -> str:
    """The last line."""
    for failure in FAILURES:
        if not found[failure, S3WRITER].is_right:
            raise screen.BrokenPromiseError(f"{failure}: s3writer left {found[failure, S3WRITER]}")
    wrong = {way: sum(not found[failure, way].is_right for failure in FAILURES) for way in WAYS}
    return (
        f"As promised: every row came back equal. Of {len(FAILURES)} failures boto3 with a pipe got {wrong[BOTO3]} "
        f"wrong, smart_open {wrong[SMART_OPEN]}, s3writer none."
    )


def models() -> list[Any]:
    """The tables."""
    from tests.library.models import Author, Book, Loan

    return [Author, Book, Loan]


def count_rows() -> int:
    """The rows of all tables."""
    return sum(model.objects.count() for model in models())


def rows(count: int) -> Iterator[Any]:
    """The first ``count`` rows of all tables, a thousand at a time."""
    author, book, loan = (model.objects.order_by("pk") for model in models())
    tables = author, book.prefetch_related("translators"), loan
    return itertools.islice(itertools.chain.from_iterable(table.iterator(1000) for table in tables), count)


def is_same(found: Any, row: Any) -> bool:
    """Whether a row that was read back is the database's, its many-to-many relations included."""
    relations = {field.name for field in row._meta.many_to_many}
    return values(found.object) == values(row) and all(
        sorted(getattr(one, "pk", one) for one in found.m2m_data[name])
        == sorted(one.pk for one in getattr(row, name).all())
        for name in relations
    )


if __name__ == "__main__":
    sys.exit(main())
