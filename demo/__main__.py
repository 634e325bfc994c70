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
            for fmt in ROWS:
                stream_and_compare(place, f"{prefix}library.{fmt}", fmt)

            screen.heading("2. A backup fails halfway. What is in the bucket then?")
            dump = download(place, f"{prefix}library.jsonl", Path(folder) / "library.jsonl")
            found = try_failures(place, prefix, dump)
            show_table(found)
            explain(found[IN_WRAPPER, S3WRITER])

            screen.heading("3. How fast is s3writer itself?")
            time_serializer_and_writer(place, f"{prefix}calls.jsonl")
            time_large_writes(place, f"{prefix}rate.jsonl", dump)
        finally:
            if REAL_BUCKET:  # the server takes its objects with it
                clean_up(place.make_client(), place.bucket, prefix)
    return summarize(found)


@contextmanager
def running_place() -> Iterator[Place]:
    """The bucket that the environment names, or a server."""
    if REAL_BUCKET:
        session = boto3.session.Session()
        place = Place(lambda: session.client("s3"), REAL_BUCKET)
        screen.say(f"Bucket {REAL_BUCKET} at {place.make_client().meta.endpoint_url}.")
        screen.say("Some 300 MiB go there, and are removed at the end.")
        yield place
    else:
        with ExitStack() as stack:
            with screen.step("SeaweedFS, an S3 server, starts on this machine") as step:
                server = stack.enter_context(seaweedfs())
                step.done = f"SeaweedFS, an S3 server, runs on this machine: {server.endpoint}"
            yield Place(server.client, BUCKET)


def stream_and_compare(place: Place, key: str, fmt: str) -> None:
    """Serialize rows to S3, then read the object and compare it with the database."""
    client, count = place.make_client(), ROWS[fmt] or count_rows()
    began = time.perf_counter()
    with screen.step(f"{fmt} to S3", unit="MiB") as step:
        with MultipartUploadWriter(
            place.bucket, key, client=client, progress=lambda size: step.advance(size / MIB)
        ) as stream:
            serializers.serialize(fmt, rows(count), stream=stream)
        seconds = time.perf_counter() - began
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


class Calls(list[str]):
    """A file that only keeps what each call of ``write`` was given."""

    write = list.append


def time_serializer_and_writer(place: Place, key: str) -> None:
    """Django's serializer without s3writer, and then s3writer without the serializer: the same calls of write()."""
    calls, client = Calls(), place.make_client()
    began, used = time.perf_counter(), time.thread_time()
    with screen.step("Django's serializer without s3writer") as step:
        serializers.serialize("jsonl", rows(count_rows()), stream=calls)
        seconds, of_serializer = time.perf_counter() - began, time.thread_time() - used
        size = sum(len(text.encode()) for text in calls) / MIB
        step.done = f"Django's serializer without s3writer: {size:.1f} MiB, {size / seconds:.1f} MiB/s"
    began, used = time.perf_counter(), time.thread_time()
    with screen.step("s3writer without the serializer", total=size, unit="MiB") as step:
        with MultipartUploadWriter(
            place.bucket, key, client=client, progress=lambda count: step.advance(count / MIB)
        ) as stream:
            for text in calls:
                stream.write(text)
        seconds, of_writer = time.perf_counter() - began, time.thread_time() - used
        step.done = f"s3writer without the serializer, the same {len(calls):,} writes: {size / seconds:.1f} MiB/s"
    share = of_serializer / (of_serializer + of_writer)
    screen.say(f"Together, the serializer takes {share:.0%} of the producing thread's CPU, s3writer {1 - share:.0%}.")


def time_large_writes(place: Place, key: str, dump: Dump) -> None:
    """The dump several times over, a MiB at a time."""
    times = 2 if REAL_BUCKET else 8
    data, client = dump.path.read_bytes(), place.make_client()
    began, used = time.perf_counter(), time.process_time()
    with screen.step("s3writer, a MiB a write", total=times * len(data) / MIB, unit="MiB") as step:
        with MultipartUploadWriter(
            place.bucket, key, client=client, progress=lambda count: step.advance(count / MIB)
        ) as stream:
            for start in list(range(0, len(data), MIB)) * times:
                stream.write(data[start : start + MIB])
        seconds, used = time.perf_counter() - began, time.process_time() - used
        size = stream.result.size / MIB
        step.done = f"s3writer, a MiB a write, the dump {times} times over: {size:.0f} MiB, {size / seconds:.0f} MiB/s"
    screen.say(f"CPU of this process, all threads: {used:.1f} s, {used / size * 1024:.1f} s a GiB")
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
