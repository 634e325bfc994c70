"""Segments on a real Dask cluster: a scheduler and worker processes, each of which may be killed."""

import functools
import io
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker
from django.conf import settings
from django.core import serializers

from s3writer.segments import write_segments
from tests import jobs
from tests.helpers import MIB, content, data, uploads
from tests.stores import BUCKET, Store


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A scheduler and two workers, each a process of its own."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as started,
    ):
        yield started


@pytest.fixture(params=["dask", "processes"])
def executor(request: pytest.FixtureRequest, cluster: LocalCluster) -> Iterator[Executor]:
    if request.param == "dask":
        with Client(cluster) as client, client.get_executor() as pool:
            yield pool
    else:
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            yield pool


def write(pool: Any, store: Store, key: str, work: list[Any]) -> None:
    write_segments(BUCKET, key, work, executor=pool, client=functools.partial(jobs.make_client, str(store.endpoint)))


@pytest.mark.usefixtures("database")
def test_a_table_dumped_in_parallel_equals_the_serial_dump(executor: Executor, store: Store, key: str) -> None:
    from tests.library.models import Book

    first, last = (Book.objects.order_by(order).values_list("pk", flat=True)[0] for order in ("pk", "-pk"))
    database = str(settings.DATABASES["default"]["NAME"])
    ranges = [(start, min(start + 70, last + 1)) for start in range(first, last + 1, 70)]
    write(executor, store, key, [functools.partial(jobs.dump, database, *keys) for keys in ranges])
    serial = io.StringIO()
    serializers.serialize("jsonl", Book.objects.order_by("pk").prefetch_related("translators"), stream=serial)
    assert len(ranges) > 3
    assert content(store.client(), key) == serial.getvalue().encode()


def test_a_segment_whose_worker_is_killed_is_written_again(
    cluster: LocalCluster, store: Store, key: str, tmp_path: Path
) -> None:
    """As long as the worker holds no other result, which Dask's executor may trip over when it is lost."""
    size = 20 * MIB
    die_once = functools.partial(jobs.write_then_die, 1, size, once=str(tmp_path / "died"))
    work: list[Any] = [functools.partial(jobs.write, 0, size), die_once]
    with Client(cluster) as client, client.get_executor() as pool:
        write(pool, store, key, work)
    assert (tmp_path / "died").exists()
    assert content(store.client(), key) == data(size, 0) + data(size, 1)


def test_a_segment_that_kills_each_worker_publishes_nothing(cluster: LocalCluster, store: Store, key: str) -> None:
    work = [functools.partial(jobs.write_then_die, 0, 60 * MIB)]
    with Client(cluster) as client, client.get_executor() as pool, pytest.raises(KilledWorker) as caught:
        write(pool, store, key, work)
    assert "was then aborted" in caught.value.__notes__[0]
    assert content(store.client(), key) is None
    assert uploads(store.client(), key) == []
