"""Measures segments: how throughput grows with workers, what a segment costs the driver, and what S3's limits hold.

    make bench-segments

The sink takes bytes at S3's pace, so that the network is the limit and not the cores of this machine. Figures are
medians of ROUNDS rounds, interleaved. What can't be sent is simulated: the driver's own code, with an executor that
makes receipts up, and a store that only counts.
"""

import argparse
import datetime as dt
import functools
import heapq
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import boto3
from botocore.config import Config
from run import sink

from s3writer._s3.receipts import Receipt
from s3writer._upload import plan as _plan
from s3writer.segments import SegmentedUpload, write_segments
from s3writer.segments.driver import _Call, _Run
from s3writer.segments.joints import Joiner
from s3writer.segments.segment import Segment, SegmentReceipt, segment_proof
from s3writer.testing import MemoryS3

MIB, GIB, TIB = 1024**2, 1024**3, 1024**4
SEGMENT = 160 * MIB
PACE = ("--latency=0.03", "--rate=90e6")
SMALL = 1000
ENDS = 9 * MIB
PIECE = os.urandom(MIB)
HEAD, TAIL = bytes(5 * MIB), bytes(5 * MIB // 2)
CHECKSUM = {"ChecksumCRC64NVME": "AAAAAAAAAAA="}


@functools.cache
def make_client(endpoint: str) -> Any:
    """The sink's."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path", "payload_signing_enabled": False},
        ),
    )


def produce(size: int, stream: Any) -> None:
    """So many bytes."""
    for _ in range(size // MIB):
        stream.write(PIECE)
    stream.write(PIECE[: size % MIB])


def write(endpoint: str, workers: int, sizes: list[int], **options: Any) -> tuple[float, float]:
    """Seconds, and the driver's seconds of CPU, once all workers are there."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        recipe = functools.partial(make_client, endpoint)
        list(pool.map(call, [recipe] * workers * 2))
        began, cpu = time.perf_counter(), time.process_time()
        work = [functools.partial(produce, size) for size in sizes]
        write_segments("bucket", "key", work, executor=pool, client=recipe, **options)
        return time.perf_counter() - began, time.process_time() - cpu


def call(function: Callable[[], Any]) -> None:
    """Let a process import what it needs, and make its client."""
    function()
    time.sleep(0.2)


def scaling(rounds: int, folder: Path) -> list[str]:
    """Rows: workers, throughput, over that of one, in the same time's work for each."""
    rates: dict[int, list[float]] = {1: [], 2: [], 4: []}
    with sink(folder, *PACE) as endpoint:
        for _ in range(rounds):
            for workers, seen in rates.items():
                sizes = [SEGMENT] * 4 * workers
                seconds, _ = write(endpoint, workers, sizes, max_concurrency=1)
                seen.append(sum(sizes) / MIB / seconds)
            print({workers: round(seen[-1]) for workers, seen in rates.items()}, flush=True)
    rows = []
    for workers, seen in rates.items():
        ratios = sorted(mine / one for mine, one in zip(seen, rates[1], strict=True))
        over = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        rows.append(f"| {workers} | {statistics.median(seen):.0f} | {over} |")
    return rows


def overhead(rounds: int, folder: Path) -> list[str]:
    """Rows: what a segment costs the driver, in milliseconds."""
    rows = []
    with sink(folder) as endpoint:
        for what, count, size in (("a few bytes", SMALL, 10), ("9 MiB, all of it ends", 60, ENDS)):
            runs = [write(endpoint, 2, [size] * count) for _ in range(rounds)]
            wall, cpu = (statistics.median(one) / count * 1000 for one in zip(*runs, strict=True))
            rows.append(f"| {what} | {count:,} | {wall:.1f} | {cpu:.1f} |")
    return rows


class Imagined(Executor):
    """Workers whose segments take about as long as one another, and of which only the receipts are made."""

    def __init__(self) -> None:
        self._now = 0.0
        self._random = random.Random(1)
        self._due: list[tuple[float, int, Future[Any], Segment]] = []

    def submit(self, _: Any, /, *args: Any, **__: Any) -> Future[Any]:
        """Let a segment end some time later."""
        future: Future[Any] = Future()
        segment: Segment = args[0]
        heapq.heappush(self._due, (self._now + self._random.uniform(0.8, 1.2), segment.number, future, segment))
        return future

    def end_one(self) -> None:
        """Let the next one end."""
        self._now, _, future, segment = heapq.heappop(self._due)
        numbers = range(segment.first + 1, segment.first + segment.parts + 1)
        parts = (Receipt(number, _plan.MAX_PART_BYTES, "e", CHECKSUM) for number in numbers)
        future.set_result(SegmentReceipt(segment.upload_id, segment.number, tuple(parts), HEAD, TAIL))


class Ends(SimpleQueue[int]):
    """Lets a segment end when the driver waits for one, and notes how many wait for their turn."""

    def __init__(self, executor: Imagined, run: _Run) -> None:
        self._executor = executor
        self._run = run
        self.most = 0

    def get(self, *_: Any, **__: Any) -> int:
        """The number of a segment that has ended."""
        self.most = max(self.most, len(self._run._ready))
        self._executor.end_one()
        return super().get()


class Counting:
    """Calls of a store that only counts."""

    def __init__(self) -> None:
        self.client, self.proof = MemoryS3("bucket").client, segment_proof("CRC64NVME")

    def upload_part(self, _: str, number: int, body: Any, *__: Any) -> Receipt:
        """What S3 would say."""
        return Receipt(number, len(body), "e", CHECKSUM)


def simulate(workers: int, segments: int) -> str:
    """A row: what so many segments hold at the most, and what they take of the driver."""
    upload = SegmentedUpload("bucket", "key", "u", segments, _plan.MAX_PART_BYTES, checksum="CRC64NVME")
    executor, joiner, began = Imagined(), Joiner(Counting(), "u", b""), time.process_time()
    run = _Run(executor, _Call(None, {}), window=workers)
    run._ended = ends = Ends(executor, run)
    run.write(upload, [print] * segments, segments, joiner)
    parts, checksum = joiner.finish(), joiner.checksum
    assert checksum is not None
    size = sum(part.size for part in parts)
    assert parts[-1].number <= _plan.MAX_PARTS
    held = ends.most * (len(HEAD) + len(TAIL)) / GIB
    seconds = time.process_time() - began
    busy = min(workers, segments)
    count = f"{workers:,} | {segments:,} | {busy:,} | {len(parts):,}"
    return f"| {count} | {size / TIB:.1f} TiB | {held:.1f} GiB | {seconds:.1f} s |"


def main() -> None:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, default=Path(__file__).parent.parent / "docs" / "segments-benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scaled, cost = scaling(options.rounds, Path(folder)), overhead(options.rounds, Path(folder))
    simulated = [simulate(10_000, segments) for segments in (10, 100, 1000, 2000, 4999)]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    rows = ["\n".join(found) for found in (scaled, cost, simulated)]
    options.page.write_text(PAGE.format(*rows, machine=machine, today=today, rounds=options.rounds))


PAGE = """# Benchmarks of segments

What more workers bring when [many machines write one object](segments.md), what a segment costs the driver, and how
large an object can be. Made by `make bench-segments` on {today}: {machine}; medians of {rounds} interleaved rounds.

## Workers

Each worker writes four segments of 160 MiB. It sends one part at a time, to a server that answers after 30 ms and takes
90 MB/s on each connection, as S3 does. The time includes the driver's work: it joins the ends, and commits.

| workers | MiB/s | over one worker: median (least to most) |
| --- | --- | --- |
{0}

Workers and driver are processes of one machine, so the figures leave out what a network between them costs.

## What a segment costs the driver

Two workers write to a server that answers at once. The figures include what the executor and pickling cost.

| segment | how many | milliseconds for each, by the clock | milliseconds for each, of the driver's CPU |
| --- | --- | --- | --- |
{1}

## The limits, by simulation

The driver runs its own code, but no byte is sent: 10,000 workers only make receipts up, and the store only counts. All
segments take the same time, within 20 %. Each is as large as its share of S3's part numbers allows, and has 7.5 MiB of
ends. A segment takes at least two part numbers. So at most 4,999 segments can be written at once, however many workers
there are. *Ends held* are the ends that wait for an earlier segment; `window` bounds them.

| workers | segments | workers with something to do | parts | object | ends held, at the most | driver's CPU |
| --- | --- | --- | --- | --- | --- | --- |
{2}
"""

if __name__ == "__main__":
    main()
