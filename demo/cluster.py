"""Dumps one Django table into one S3 object from the processes of a Dask cluster, and compares; then kills a worker.

It starts SeaweedFS, a real S3 server, and Dask on this machine, and stops them again.
"""

import functools
import io
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker
from django.core import serializers

from demo import screen
from demo.failures import MIB, Found, object_size, unfinished
from s3writer import UploadResult
from s3writer.segments import write_segments
from tests import jobs
from tests.library.project import fill, set_up
from tests.stores import BUCKET, Store, seaweedfs

BOOKS = 20_000
ROWS_A_SEGMENT = 4_000
WORKERS = 3
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: Otherwise the workers wait for each other, and for the server, and a comparison of times says nothing.
HAS_CORES = CORES > WORKERS


def main() -> int:
    """The whole demonstration."""
    logging.getLogger("s3writer").addHandler(logging.NullHandler())
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"  # the workers read it when they start
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    return screen.run(show)


def show() -> str:
    """All of it; a summary."""
    screen.title("s3writer: many processes write one S3 object, wholly or not at all")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="s3writer-demo-"))
        with screen.step("SeaweedFS, an S3 server, starts on this machine") as step:
            store = stack.enter_context(seaweedfs())
            step.done = f"SeaweedFS, an S3 server, runs on this machine: {store.endpoint}"
        with screen.step("a Dask cluster starts on this machine") as step:
            with interrupts_later():
                started = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0")
                cluster = stack.enter_context(started)
            dask_client = stack.enter_context(Client(cluster))
            pool = stack.enter_context(dask_client.get_executor())
            processes = list(dask_client.run(os.getpid).values())
            step.done = f"Dask runs with {WORKERS} worker processes: {', '.join(map(str, processes))}"
        database = Path(folder) / "library.sqlite3"
        with screen.step("Django fills an SQLite database") as step:
            set_up(database)
            fill(books=BOOKS, summary_length=2_000)
            step.done = f"SQLite database made with Django, {BOOKS:,} books"

        screen.heading("1. The workers dump the table into one object")
        size = dump_and_compare(pool, store, "books.jsonl", str(database))

        screen.heading("2. A worker is killed. What is in the bucket then?")
        kill_and_look(pool, store, "broken.jsonl", str(database), processes[0])
    return (
        f"As promised: {size:,} bytes from {WORKERS} processes equal a serial dump, and the dump whose worker was "
        "killed left nothing."
    )


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Ctrl-C takes effect at the end: Dask's cluster can't be stopped while it starts."""
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            raise KeyboardInterrupt


def dump(pool: Executor, store: Store, key: str, database: str, progress: Callable[[int], object]) -> UploadResult:
    """The whole table, by ranges of its key."""
    from tests.library.models import Book

    first, last = (Book.objects.order_by(order).values_list("pk", flat=True)[0] for order in ("pk", "-pk"))
    return write_segments(
        BUCKET,
        key,
        [
            functools.partial(jobs.dump, database, start, min(start + ROWS_A_SEGMENT, last + 1))
            for start in range(first, last + 1, ROWS_A_SEGMENT)
        ],
        executor=pool,
        client=functools.partial(jobs.make_client, str(store.endpoint)),
        progress=progress,
    )


def dump_and_compare(pool: Executor, store: Store, key: str, database: str) -> int:
    """In parallel into S3, and in this process into memory: both must be the same. Returns the size."""
    from tests.library.models import Book

    began = time.monotonic()
    with screen.step(f"{WORKERS} processes dump {BOOKS:,} rows to S3", unit="MiB", is_timed=HAS_CORES) as step:
        result = dump(pool, store, key, database, lambda size: step.advance(size / MIB))
        step.done = f"{BOOKS:,} rows, {result.size / MIB:.1f} MiB in {result.parts} parts: s3://{BUCKET}/{key}"
    parallel = time.monotonic() - began
    began = time.monotonic()
    with screen.step("the same in this process, into memory", is_timed=HAS_CORES) as step:
        text = io.StringIO()
        books = Book.objects.order_by("pk").prefetch_related("translators")
        serializers.serialize("jsonl", books.iterator(chunk_size=ROWS_A_SEGMENT), stream=text)
        serial = text.getvalue().encode()
        step.done = f"A serial dump of the same table into memory: {len(serial):,} bytes"
    alone = time.monotonic() - began
    with screen.step("the object is read back") as step:
        stored = store.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        if stored != serial:
            raise screen.BrokenPromiseError(f"{key} is not what a serial dump makes")
        step.done = f"The object in S3 has {len(stored):,} bytes, and each equals the serial dump's"
    if HAS_CORES:
        screen.say(
            f"{alone:.1f} s alone, {parallel:.1f} s with {WORKERS} processes: {alone / parallel:.1f} times as fast"
        )
    else:
        screen.say(f"No times: {WORKERS} workers, their driver and the server share {CORES} cores, too few to compare.")
    return len(stored)


def kill_and_look(pool: Executor, store: Store, key: str, database: str, process: int) -> None:
    """Kill a worker in the middle. Dask has been told not to try its segment again."""
    told: Exception | None = None
    with screen.step("a second dump") as step, ThreadPoolExecutor(1) as watcher:
        killed = watcher.submit(kill_once_parts_are_there, store, key, process)
        try:
            dump(pool, store, key, database, lambda _: None)
        except (KilledWorker, CancelledError) as error:
            told = error
        if told is None:
            raise screen.BrokenPromiseError("the worker's death was not noticed")
        step.done = f"A second dump: SIGKILL to process {process}, with {killed.result() / MIB:.0f} MiB in S3 already"
    client = store.client()
    found = Found(object_size(client, BUCKET, key), len(unfinished(client, BUCKET, key)), told)
    if not found.is_right:
        raise screen.BrokenPromiseError(f"the killed worker left {found}")
    screen.say(f"{screen.YES} nothing: no object, no unfinished upload, and the program got an exception.")
    screen.console.print()
    screen.frame(
        "\n".join([f"{type(told).__name__}, from Dask", *told.__notes__]),
        "The exception that your program gets: Dask's own, with s3writer's notes",
    )


def kill_once_parts_are_there(store: Store, key: str, process: int) -> int:
    """Wait until S3 has parts of a segment: each worker is in the middle of one. Returns the bytes of these parts."""
    client, deadline = store.client(), time.monotonic() + 120
    while time.monotonic() < deadline:
        for upload in unfinished(client, BUCKET, key):
            found = client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload["UploadId"]).get("Parts", [])
            if found:
                os.kill(process, signal.SIGKILL)
                return sum(part["Size"] for part in found)
        time.sleep(0.02)
    raise screen.BrokenPromiseError("no part came to S3")


if __name__ == "__main__":
    sys.exit(main())
