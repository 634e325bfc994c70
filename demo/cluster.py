"""Dumps one Django table into one S3 object from the processes of a Dask cluster, and compares; then kills a worker.

It starts SeaweedFS, a real S3 server, and Dask on this machine, and removes them again.
"""

import functools
import hashlib
import io
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker
from django.core import serializers
from tqdm import tqdm

from demo.__main__ import show_nothing
from s3writer import UploadResult
from s3writer.segments import write_segments
from tests import jobs
from tests.library.project import fill, set_up
from tests.stores import BUCKET, Store, seaweedfs

MIB = 1024**2
BOOKS = 40_000
ROWS_A_SEGMENT = 5_000
WORKERS = 3


def main() -> None:
    """The whole demonstration, in under a minute."""
    logging.getLogger("s3writer").addHandler(logging.NullHandler())
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    with (
        tempfile.TemporaryDirectory(prefix="s3writer-demo-") as folder,
        seaweedfs() as store,
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as dask_client,
        dask_client.get_executor() as pool,
    ):
        database = Path(folder) / "library.sqlite3"
        set_up(database)
        fill(books=BOOKS, summary_length=2_000)
        processes = dask_client.run(os.getpid).values()
        print(f"store    SeaweedFS at {store.endpoint}, started for this demonstration")
        print(f"cluster  Dask with {WORKERS} worker processes: {', '.join(map(str, processes))}")
        print(f"database {BOOKS:,} books in SQLite\n")
        dump_and_compare(pool, store, "books.jsonl", str(database))
        kill_and_look(pool, store, "broken.jsonl", str(database), next(iter(processes)))


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


def dump_and_compare(pool: Executor, store: Store, key: str, database: str) -> None:
    """In parallel into S3, and in this process into memory: both must be the same."""
    from tests.library.models import Book

    began = time.monotonic()
    with tqdm(desc="jsonl    to S3", unit="B", unit_scale=True, unit_divisor=1024, leave=False) as bar:
        result = dump(pool, store, key, database, bar.update)
    seconds = time.monotonic() - began
    print(f"parallel s3://{BUCKET}/{key}")
    print(
        f"         {result.size / MIB:.1f} MiB in {result.parts} parts by {WORKERS} processes, {seconds:.1f} s"
        "      [the driver's result, and a clock]"
    )
    began = time.monotonic()
    serial = io.StringIO()
    serializers.serialize("jsonl", Book.objects.order_by("pk").prefetch_related("translators"), stream=serial)
    print(f"serial   {time.monotonic() - began:.1f} s for the same in this process, into memory")
    stored = store.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    if stored != serial.getvalue().encode():
        raise SystemExit("the object is not what a serial dump makes")
    print(f"         equal byte for byte: SHA-256 {hashlib.sha256(stored).hexdigest()[:16]}…      [GetObject]\n")


def kill_and_look(pool: Executor, store: Store, key: str, database: str, process: int) -> None:
    """Kill a worker in the middle, of which the cluster is told not to run anything again."""
    done = 0

    def kill_halfway(size: int) -> None:
        nonlocal done
        done += size
        if done - size < 12 * MIB <= done:
            os.kill(process, signal.SIGKILL)
            print(f"failure  SIGKILL to worker process {process} after {done / MIB:.0f} MiB")

    try:
        dump(pool, store, key, database, kill_halfway)
    except KilledWorker as error:
        print(f"         KilledWorker; {error.__notes__[0]}      [the exception's own note]")
    else:
        raise SystemExit("the worker's death was not noticed")
    show_nothing(store.client(), BUCKET, key)


if __name__ == "__main__":
    main()
