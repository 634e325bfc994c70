"""`s3writer.segments`: one object from many workers, whatever they write, in whatever order they end."""

import bz2
import contextlib
import dataclasses
import datetime as dt
import functools
import gzip
import io
import itertools
import json
import logging
import lzma
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import boto3
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import s3writer
from s3writer import (
    AbortedError,
    AccessDeniedError,
    ChecksumMismatchError,
    ConnectionFailedError,
    KeyExistsError,
    NotCommittedError,
    ObjectTooLargeError,
    OutcomeUnknownError,
    S3WriterError,
    abort_uploads,
)
from s3writer._s3.checksums import best
from s3writer._s3.client import client_of
from s3writer._upload.pace import Arrival, Pace
from s3writer._upload.plan import GIB, MAX_PART_BYTES, MIN_PART_BYTES
from s3writer.segments import (
    CompressingSegmentWriter,
    Segment,
    SegmentedUpload,
    SegmentReceipt,
    SegmentWriter,
    write_segments,
)
from s3writer.segments.driver import _Call
from s3writer.segments.part_numbers import LEAST, NUMBERS, Numbers
from s3writer.segments.segment import SegmentPlan
from s3writer.testing import MemoryS3
from tests import jobs
from tests.conftest import Running
from tests.helpers import MIB, Boom, content, data, logged, uploads
from tests.stores import BUCKET, Store
from tests.wire import Wire

URL = f"s3://{BUCKET}/key"
#: Around each length at which something else happens.
SIZES = st.sampled_from(
    [0, 0, 1, 100, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB - 1, 10 * MIB, 10 * MIB + 1, 16 * MIB]
)


class AnyOrder(Executor):
    """Runs calls one after the other, in an order of its own among those that it was given."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._given: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._more = threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._given.append((future, functools.partial(fn, *args, **kwargs)))
        self._more.release()
        return future

    def _run(self) -> None:
        while self._more.acquire(timeout=10):
            future, call = self._given.pop(self._random.randrange(len(self._given)))
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is about how long the driver waits for a part that comes late."""
    monkeypatch.setattr("s3writer.segments.driver._LATE_SECONDS", 0.0)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Two processes that know nothing but what is sent to them. Coverage traces them: they begin before a test does."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        for begun in [executor.submit(int) for _ in range(2)]:
            begun.result()
        yield executor


def producers(sizes: Sequence[int], job: Callable[[int, int, Any], None] = jobs.write) -> list[Any]:
    return [functools.partial(job, number, size) for number, size in enumerate(sizes)]


def whole(sizes: Sequence[int], separator: bytes = b"") -> bytes:
    return separator.join(data(size, number) for number, size in enumerate(sizes) if size)


def crc(payload: bytes) -> str:
    digest = best().start()
    digest.update(memoryview(payload))
    return f"{best().name}:{digest.value()}"


def recipe(store: Store) -> Callable[[], Any]:
    return functools.partial(jobs.make_client, str(store.endpoint))


@settings(max_examples=8)
@given(st.lists(SIZES, max_size=6), st.integers(1, 4), st.integers(0, 99))
def test_any_bytes_in_any_segments_that_end_in_any_order_make_the_same_object(
    sizes: list[int], window: int, seed: int
) -> None:
    told: list[int] = []
    with MemoryS3(BUCKET) as s3:
        result = write_segments(
            BUCKET, "key", iter(producers(sizes)), executor=AnyOrder(seed), window=window, progress=told.append
        )
    expected = whole(sizes)
    assert s3.objects == {URL: expected}
    assert (result.size, result.computed_checksum, sum(told)) == (len(expected), crc(expected), len(expected))
    assert s3.unfinished == []


def test_the_pace_of_each_segment_counts_its_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def arrived(_: Pace, part: Arrival) -> None:
        numbers.append(part.number)

    numbers: list[int] = []
    monkeypatch.setattr(Pace, "arrived", arrived)
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=2)
        with SegmentWriter(upload.segment(1)) as stream:
            jobs.write(1, 17 * MIB, stream)
        upload.abort()
    assert sorted(numbers) == [1, 2]


@settings(max_examples=5)
@given(st.lists(SIZES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_segments_by_hand_may_be_written_and_handed_over_in_any_order(sizes: list[int], order: random.Random) -> None:
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.from_json(SegmentedUpload.begin(BUCKET, "key", segments=len(sizes)).to_json())
        receipts = []
        for number in order.sample(range(len(sizes)), len(sizes)):
            with SegmentWriter(upload.segment(number)) as stream:
                jobs.write(number, sizes[number], stream)
                assert stream.tell() == sizes[number]
            receipts.append(SegmentReceipt.from_json(stream.receipt.to_json()))
            assert receipts[-1] == stream.receipt == pickle.loads(pickle.dumps(stream.receipt))
            assert stream.receipt.size == sizes[number]
            assert len(stream.receipt.head) + len(stream.receipt.tail) < 10 * MIB
        result = upload.commit(receipts, header=b"[", separator=b",", footer=b"]")
    expected = b"[" + whole(sizes, b",") + b"]"
    assert s3.objects == {URL: expected}
    assert (result.size, result.computed_checksum) == (len(expected), crc(expected))


@pytest.mark.parametrize("name", ["seaweedfs", "moto"])
def test_processes_write_one_object(running: Running, name: str, key: str, pool: ProcessPoolExecutor) -> None:
    store = running[name]
    sizes = [0, 3 * MIB, 30 * MIB, 0, 5, 12 * MIB, 10 * MIB, 0]
    result = write_segments(BUCKET, key, producers(sizes), executor=pool, client=recipe(store))
    assert content(store.client(), key) == whole(sizes)
    assert result.computed_checksum == crc(whole(sizes))
    assert uploads(store.client(), key) == []


def test_a_thousand_tiny_segments_are_one_object(store: Store, key: str, pool: ProcessPoolExecutor) -> None:
    sizes = [number % 100 for number in range(1000)]
    write_segments(BUCKET, key, iter(producers(sizes)), executor=pool, client=recipe(store))
    assert content(store.client(), key) == whole(sizes)


def test_no_more_segments_than_a_window_holds_wait_for_a_slow_one() -> None:
    goes_on = threading.Event()

    def slow(stream: Any) -> None:
        goes_on.wait(60)
        stream.write("slow")

    def lazily() -> Iterator[Any]:
        yield slow
        for number in range(1, 12):
            if number == 4:
                threading.Timer(0.2, goes_on.set).start()
            assert goes_on.is_set() is (number > 4)
            yield functools.partial(jobs.write_text, f" {number}")

    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        write_segments(BUCKET, "key", lazily(), executor=pool, window=4)
    assert s3.objects == {URL: b"slow 1 2 3 4 5 6 7 8 9 10 11"}


def test_a_huge_segment_among_short_ones(store: Store, key: str, pool: ProcessPoolExecutor) -> None:
    sizes = [10, 60 * MIB, 10]
    write_segments(BUCKET, key, producers(sizes), executor=pool, client=recipe(store))
    assert content(store.client(), key) == whole(sizes)


@pytest.mark.parametrize("job", [jobs.write_then_raise, jobs.write_then_die])
def test_a_segment_that_fails_leaves_nothing(store: Store, key: str, job: Any) -> None:
    client = store.client()
    client.put_object(Bucket=BUCKET, Key=key, Body=b"before")
    work = producers([20 * MIB] * 6)
    work[3] = functools.partial(job, 3, 20 * MIB)
    with (
        ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor,
        pytest.raises((ArithmeticError, BrokenProcessPool)),
    ):
        write_segments(BUCKET, key, work, executor=executor, client=recipe(store))
    assert content(client, key) == b"before"
    assert uploads(client, key) == []


def test_a_driver_that_is_killed_leaves_what_a_sweep_finds(store: Store, key: str) -> None:
    script = f"""
import functools, os, signal
from concurrent.futures import ThreadPoolExecutor
from s3writer.segments import write_segments
from tests import jobs
def die(stream): os.kill(os.getpid(), signal.SIGKILL)
work = [functools.partial(jobs.write, 0, 20_000_000), die]
client = functools.partial(jobs.make_client, {store.endpoint!r})
write_segments({BUCKET!r}, {key!r}, work, executor=ThreadPoolExecutor(1), client=client)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9
    assert content(store.client(), key) is None
    [left] = uploads(store.client(), key)
    swept = abort_uploads(BUCKET, key, older_than=dt.timedelta(0), dry_run=False, client=store.client())
    assert [upload.upload_id for upload in swept] == [left]
    assert uploads(store.client(), key) == []


def test_a_segment_that_was_run_twice_with_the_same_bytes_does_no_harm(store: Store, key: str) -> None:
    client = recipe(store)()
    upload = SegmentedUpload.begin(BUCKET, key, segments=2, client=client)
    runs: dict[int, list[SegmentReceipt]] = {0: [], 1: []}
    for number in (0, 1, 0, 1):
        with SegmentWriter(upload.segment(number), client=client) as stream:
            jobs.write(number, 20 * MIB, stream)
        runs[number].append(stream.receipt)
    upload.commit([runs[0][0], runs[1][1], runs[0][1]], client=client)
    assert content(client, key) == whole([20 * MIB] * 2)


#: But for moto, which answers 500 to two parts of one number at once.
@pytest.mark.parametrize("name", ["seaweedfs", "rclone", "memory"])
@pytest.mark.parametrize("first_wins", [True, False])
def test_the_parts_of_two_runs_never_mix(running: Running, name: str, key: str, first_wins: bool) -> None:
    client = running[name].client(request_checksum_calculation="when_required")
    upload = SegmentedUpload.begin(BUCKET, key, segments=1, client=client)
    runs = [data(20 * MIB, 1), data(17 * MIB, 2)]
    streams = [SegmentWriter(upload.segment(0), client=client) for _ in runs]
    with contextlib.suppress(NotCommittedError):  # rclone does not take a part again
        for piece in range(0, 20 * MIB, 5 * MIB):
            for stream, payload in zip(streams, runs, strict=True):
                stream.write(payload[piece : piece + 5 * MIB])
    finished = []
    for stream, payload in zip(streams, runs, strict=True):
        with contextlib.suppress(NotCommittedError):
            stream.close()
            finished.append((stream.receipt, payload))
    receipt, payload = finished[0 if first_wins else -1]
    try:
        upload.commit([receipt], client=client)
    except NotCommittedError:
        assert content(client, key) is None
        upload.abort(client=client)
    else:
        assert content(client, key) == payload


def test_each_part_goes_with_its_md5_and_with_no_newer_checksum(store: Store, key: str) -> None:
    client = recipe(store)()
    wire = Wire(client)
    with ThreadPoolExecutor(2) as pool:
        write_segments(BUCKET, key, producers([12 * MIB, 7]), executor=pool, client=lambda: client)
    sent = dict(zip(wire.requests, wire.sent, strict=True))
    parts = [request for request, call in sent.items() if call == "UploadPart"]
    assert len(parts) == 3
    assert all("Content-MD5" in request.headers for request in parts)
    assert not [name for request in sent for name in request.headers if name.lower().startswith("x-amz-checksum")]


def test_bytes_that_are_altered_on_their_way_are_refused(store: Store, key: str) -> None:
    client = recipe(store)()

    def alter(request: Any) -> None:
        request.body = b"x" + request.body.read(-1)[1:]

    wire = Wire(client)
    wire.on("UploadPart", alter, nth=1)
    with ThreadPoolExecutor(2) as pool, pytest.raises(ChecksumMismatchError):
        write_segments(BUCKET, key, producers([12 * MIB, 7]), executor=pool, client=lambda: client)
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_store_that_takes_no_gaps_refuses_and_keeps_nothing(running: Running, key: str) -> None:
    store = running["rclone"]
    with ThreadPoolExecutor(2) as pool, pytest.raises(NotCommittedError, match="InvalidPart"):
        write_segments(BUCKET, key, producers([20 * MIB] * 2), executor=pool, client=recipe(store))
    assert content(store.client(), key) is None
    assert uploads(store.client(), key) == []


@pytest.mark.parametrize(
    ("compression", "unpack"),
    [
        ("gzip", gzip.decompress),
        ("bz2", bz2.decompress),
        ("xz", lzma.decompress),
        ("zstd", lambda packed: zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()),
    ],
)
def test_compressed_segments_are_unpacked_as_a_whole(compression: Any, unpack: Callable[[bytes], bytes]) -> None:
    rows = [json.dumps({"row": number}) for number in range(10)]
    work: list[Any] = [functools.partial(jobs.write_text, row) for row in rows]
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        write_segments(
            BUCKET, "key", work, executor=pool, compression=compression, header="[", separator=", ", footer="]"
        )
    assert json.loads(unpack(s3.objects[URL])) == [{"row": number} for number in range(10)]


def test_of_a_compressed_segment_to_which_nothing_was_written_nothing_comes() -> None:
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        with CompressingSegmentWriter(upload.segment(0), compression="gzip") as stream:
            stream.write(b"")
        upload.abort()
    assert stream.receipt.size == 0


def test_one_short_compressed_segment_is_what_one_writer_makes_of_it() -> None:
    work: list[Any] = [functools.partial(jobs.write_text, "rows")]
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(1) as pool:
        write_segments(BUCKET, "key", work, executor=pool, compression="gzip")
        with s3writer.open(f"{URL}.gz", "w", compression="gzip") as stream:
            stream.write("rows")
    assert s3.objects[URL] == s3.objects[f"{URL}.gz"]


@pytest.mark.parametrize("encoding", ["euc_jis_2004", "iso2022_jp", "utf-8"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_what_an_encoder_holds_back_is_in_the_segment(encoding: str, compression: Any) -> None:
    work: list[Any] = [functools.partial(jobs.write_text, "か")] * 2
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        write_segments(BUCKET, "key", work, executor=pool, encoding=encoding, compression=compression)
    stored = gzip.decompress(s3.objects[URL]) if compression else s3.objects[URL]
    assert stored == "か".encode(encoding) * 2


def test_a_client_is_made_once_in_a_process() -> None:
    made: list[object] = []

    def make(*_: object) -> object:
        made.append(object())
        return made[-1]

    assert client_of(None) is None
    assert client_of(make) is client_of(make)
    assert client_of(functools.partial(make, "a")) is client_of(functools.partial(make, "a"))
    assert client_of(functools.partial(make, ["b"])) is not client_of(functools.partial(make, ["b"]))
    assert len(made) == 4
    before = client_of(make)
    for number in range(8):
        client_of(functools.partial(make, number))
    assert client_of(make) is not before


def test_a_forked_pool_makes_clients_of_its_own(pool: ProcessPoolExecutor, store: Store, key: str) -> None:
    pool.submit(jobs.fork_and_write, key, producers([12 * MIB] * 6), recipe(store)).result()
    assert content(store.client(), key) == whole([12 * MIB] * 6)


def test_a_client_that_was_remembered_across_a_fork_is_refused(
    pool: ProcessPoolExecutor, store: Store, key: str
) -> None:
    remembering = functools.partial(jobs.remember_client, str(store.endpoint))
    writing = pool.submit(jobs.fork_and_write, key, producers([12 * MIB] * 2), remembering)
    with pytest.raises(ValueError, match="client must make a new client in a forked process"):
        writing.result()
    assert uploads(store.client(), key) == []


def test_a_failure_is_noticed_before_the_next_segment_begins() -> None:
    failed = threading.Event()

    def fail(_: Any) -> None:
        raise ArithmeticError

    def lazily() -> Iterator[Any]:
        yield fail
        failed.wait(0.5)
        yield fail
        pytest.fail("a second segment was begun after the first had failed")

    with MemoryS3(BUCKET), ThreadPoolExecutor(2) as pool, pytest.raises(ArithmeticError):
        write_segments(BUCKET, "key", lazily(), executor=pool)


def test_a_slow_signal_handler_does_not_keep_back_what_a_segment_has_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def go_on(_: Any) -> None:
        has_begun.set()
        may_end.wait(30)

    def fail(_: Any) -> None:
        has_begun.wait(30)
        interrupt.start()
        raise ArithmeticError

    has_begun, may_end = threading.Event(), threading.Event()
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    monkeypatch.setattr("s3writer.segments.driver._PATIENCE_SECONDS", 0.4)
    before = signal.signal(signal.SIGUSR1, lambda *_: time.sleep(0.5))
    try:
        with MemoryS3(BUCKET), ThreadPoolExecutor(2) as pool:
            late = threading.Timer(20, may_end.set)
            late.start()
            with pytest.raises(ArithmeticError):
                write_segments(BUCKET, "key", [go_on, fail], executor=pool)
            assert not may_end.is_set()
            late.cancel()
            may_end.set()
        interrupt.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_part_whose_answer_was_lost_is_aborted_twice_and_told_of() -> None:
    with logged() as log, MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        s3.lose_answer("UploadPart", nth=1)
        with pytest.raises(ConnectionFailedError) as caught:
            write_segments(BUCKET, "key", producers([12 * MIB] * 2), executor=pool)
    assert s3.calls.count("AbortMultipartUpload") == 2
    assert "it must be aborted again" in caught.value.__notes__[-1]
    assert any("it must be aborted again" in message for message in log)


def test_a_refused_commit_says_that_the_upload_was_aborted_and_nothing_else() -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        s3.refuse("CompleteMultipartUpload", "AccessDenied")
        with pytest.raises(AccessDeniedError) as caught:
            write_segments(BUCKET, "key", producers([1]), executor=pool)
    [note] = caught.value.__notes__
    assert note.endswith("was then aborted")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """It takes no notes."""


def test_an_exception_that_takes_no_notes_goes_on_all_the_same() -> None:
    def fail(_: Any) -> None:
        raise Frozen

    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool, pytest.raises(Frozen):
        write_segments(BUCKET, "key", [fail], executor=pool)
    assert s3.unfinished == []


def test_a_tail_needs_no_number_of_its_own() -> None:
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=4000)
        receipts = []
        for number in range(4000):
            with SegmentWriter(upload.segment(number), max_memory=6 * MIB) as stream:
                stream.write(data(12 * MIB) if number == 7 else b"")
            receipts.append(stream.receipt)
        upload.commit(receipts)
    assert s3.objects == {URL: data(12 * MIB)}


def test_what_is_as_long_as_a_part_is_sent_as_one_and_not_handed_to_the_driver() -> None:
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        with SegmentWriter(upload.segment(0)) as stream:
            stream.write(data(10 * MIB))
        upload.abort()
    assert [part.size for part in stream.receipt.parts] == [5 * MIB]
    assert stream.receipt.tail == b""


def test_a_segment_whose_part_may_arrive_late_says_so() -> None:
    with logged() as log, MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        s3.lose_answer("UploadPart", nth=1)
        with pytest.raises(ConnectionFailedError), SegmentWriter(upload.segment(0)) as stream:
            stream.write(data(12 * MIB))
        upload.abort()
    assert any("may have to be aborted twice" in line for line in log)


def test_a_segment_that_is_dropped_does_not_wait_for_its_parts() -> None:
    def hang(**_: Any) -> None:
        hangs.set()
        was_left.append(goes_on.wait(20))

    hangs, goes_on = threading.Event(), threading.Event()
    was_left: list[bool] = []
    with logged(), MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        s3.client.meta.events.register_first("before-send.s3.UploadPart", hang)
        stream = SegmentWriter(upload.segment(0))
        stream.write(data(12 * MIB))
        hangs.wait(30)
        with pytest.warns(ResourceWarning, match="never closed"):
            del stream
        goes_on.set()
        for thread in threading.enumerate():
            if thread.name == "s3writer-part":
                thread.join(30)
        upload.abort()
    assert was_left == [True]


def test_parts_that_do_not_end_in_time_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3writer.segments.writer.STOP_SECONDS", 0.0)

    def hang(**_: Any) -> None:
        hangs.set()
        goes_on.wait(30)

    goes_on, hangs = threading.Event(), threading.Event()
    with logged() as log, MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        s3.client.meta.events.register_first("before-send.s3.UploadPart", hang)
        with pytest.raises(ArithmeticError), SegmentWriter(upload.segment(0)) as stream:
            stream.write(data(12 * MIB))
            hangs.wait(30)
            raise ArithmeticError
        goes_on.set()
        upload.abort()
    assert any("segment 0 of" in message and "under way" in message for message in log)


def test_an_interrupt_before_a_segmented_upload_is_begun_leaves_nothing_to_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with MemoryS3(BUCKET) as s3, monkeypatch.context() as patch:
        patch.setattr("s3writer._upload.jobs._free_inbox", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            SegmentedUpload.begin(BUCKET, "key", segments=1)
        assert not hasattr(caught.value, "__notes__")
        assert s3.unfinished == []


def test_a_segment_that_fails_stops_its_parts_in_the_midst_of_their_bytes() -> None:
    def send_slowly(request: Any, **_: Any) -> None:
        is_sending.set()
        for _time in range(1000):
            request.body.seek(0)
            request.body.read(1)
            time.sleep(0.005)
        sent.append("all of it")

    is_sending = threading.Event()
    sent: list[str] = []
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        s3.client.meta.events.register_first("before-send.s3.UploadPart", send_slowly)
        with pytest.raises(Boom), SegmentWriter(upload.segment(0)) as stream:
            stream.write(data(12 * MIB))
            is_sending.wait(30)
            raise Boom
        upload.abort()
    assert sent == []


def test_a_separator_stands_only_between_segments_that_have_something() -> None:
    work: list[Any] = [functools.partial(jobs.write_text, text) for text in ("", "1", "", "", "2", "")]
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        for how in (None, "gzip"):
            write_segments(
                BUCKET, f"{how}", work, executor=pool, compression=how, header="[", separator=",", footer="]\n"
            )
            write_segments(BUCKET, f"nothing {how}", work[:1], executor=pool, compression=how)
    found = {url.rpartition("/")[2]: stored for url, stored in s3.objects.items()}
    assert (found["None"], gzip.decompress(found["gzip"])) == (b"[1,2]\n", b"[1,2]\n")
    assert found["nothing None"] == b""
    assert gzip.decompress(found["nothing gzip"]) == b""
    assert found["nothing gzip"] != b""


def test_an_argument_goes_wherever_it_belongs_and_the_key_is_told_nobody(store: Store, key: str) -> None:
    secret: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    client = recipe(store)()
    upload = SegmentedUpload.begin(BUCKET, key, segments=1, client=client, ContentType="text/csv", **secret)
    assert "k" * 32 not in upload.to_json() + repr(upload) + repr(upload.segment(0))
    with SegmentWriter(upload.segment(0), client=client, **secret) as stream:
        jobs.write(0, 12 * MIB, stream)
    upload.commit([stream.receipt], client=client, **secret)
    found = client.get_object(Bucket=BUCKET, Key=key, **secret)
    assert (found["ContentType"], found["Body"].read()) == ("text/csv", whole([12 * MIB]))
    with ThreadPoolExecutor(2) as pool:
        write_segments(BUCKET, key, producers([12 * MIB, 1]), executor=pool, client=recipe(store), **secret)
    assert client.get_object(Bucket=BUCKET, Key=key, **secret)["Body"].read() == whole([12 * MIB, 1])


def test_an_object_that_exists_is_kept_if_that_is_wanted(store: Store, key: str) -> None:
    store.client().put_object(Bucket=BUCKET, Key=key, Body=b"before")
    with ThreadPoolExecutor(2) as pool, pytest.raises(KeyExistsError) as caught:
        write_segments(BUCKET, key, producers([20, 7]), executor=pool, client=recipe(store), exclusive=True)
    assert caught.value.upload_id is None
    assert "was then aborted" in caught.value.__notes__[-1]
    assert content(store.client(), key) == b"before"
    assert uploads(store.client(), key) == []


@pytest.mark.parametrize(
    ("call", "nth", "error"),
    [
        ("CreateMultipartUpload", None, AccessDeniedError),
        ("UploadPart", 1, AccessDeniedError),
        ("UploadPart", 4, AccessDeniedError),
        ("CompleteMultipartUpload", None, AccessDeniedError),
    ],
)
def test_a_refusal_anywhere_leaves_nothing(call: str, nth: int | None, error: type[Exception]) -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        s3.refuse(call, "AccessDenied", nth=nth)
        with pytest.raises(error):
            write_segments(BUCKET, "key", producers([12 * MIB] * 4), executor=pool)
    assert (s3.objects, s3.unfinished) == ({}, [])


def test_a_lost_answer_to_the_commit_is_settled() -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        s3.lose_answer("CompleteMultipartUpload")
        result = write_segments(BUCKET, "key", producers([12 * MIB] * 2), executor=pool)
        assert s3.objects == {URL: whole([12 * MIB] * 2)}
        assert result.computed_checksum == crc(whole([12 * MIB] * 2))
        with pytest.raises(OutcomeUnknownError):
            write_segments(BUCKET, "key", producers([1]), executor=pool, commit_token=False)
    assert s3.unfinished == []


def test_what_can_t_be_aborted_is_named() -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        s3.refuse("AbortMultipartUpload", "AccessDenied")
        with pytest.raises(ArithmeticError) as caught:
            write_segments(BUCKET, "key", producers([20], jobs.write_then_raise), executor=pool)
    assert "could not be aborted" in caught.value.__notes__[1]
    assert s3.unfinished == [URL]
    with logged() as log, s3, ThreadPoolExecutor(2) as pool, pytest.raises(AccessDeniedError) as refused:
        s3.refuse("UploadPart", "AccessDenied")
        write_segments(BUCKET, "other", producers([20 * MIB]), executor=pool)
    assert refused.value.upload_id
    assert refused.value.upload_id in " ".join(message for message in log if "could not be aborted" in message)


@pytest.mark.parametrize("what", [KeyboardInterrupt, ValueError])
def test_a_driver_that_is_interrupted_leaves_nothing(what: type[BaseException]) -> None:
    def interrupt(_: int) -> None:
        raise what

    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool, pytest.raises(what):
        write_segments(BUCKET, "key", producers([20 * MIB] * 4), executor=pool, progress=interrupt)
    assert (s3.objects, s3.unfinished) == ({}, [])


def test_an_interrupt_while_it_aborts_names_the_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SegmentedUpload, "abort", interrupt)
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool, pytest.raises(KeyboardInterrupt) as caught:
        write_segments(BUCKET, "key", producers([20], jobs.write_then_raise), executor=pool)
    assert s3.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"][0]["UploadId"] in caught.value.__notes__[0]


def test_an_upload_whose_id_an_interrupt_has_lost_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with MemoryS3(BUCKET) as s3:
        s3.client.meta.events.register("after-call.s3.CreateMultipartUpload", lambda **_: _interrupt())
        with pytest.raises(KeyboardInterrupt) as caught:
            SegmentedUpload.begin(BUCKET, "key", segments=1)
    assert "unfinished uploads" in caught.value.__notes__[0]


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_segment_whose_block_raised_has_no_receipt(store: Store, key: str) -> None:
    client = recipe(store)()
    upload = SegmentedUpload.begin(BUCKET, key, segments=1, client=client)
    with pytest.raises(ArithmeticError), SegmentWriter(upload.segment(0), client=client) as stream:
        jobs.write_then_raise(0, 40 * MIB, stream)
    with pytest.raises(ValueError, match="has no receipt"):
        _ = stream.receipt
    with pytest.raises(ValueError, match="segments 0 to 0: see"):
        upload.commit([], client=client)
    with SegmentWriter(upload.segment(0), client=client) as again:
        again.write(b"the second time")
    upload.commit([again.receipt], client=client)
    assert content(client, key) == b"the second time"


def test_a_part_that_fails_makes_the_segment_fail() -> None:
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        s3.refuse("UploadPart", "AccessDenied")
        stream = SegmentWriter(upload.segment(0))
        with pytest.raises(AccessDeniedError):
            jobs.write(0, 100 * MIB, stream)
            stream.close()
        with pytest.raises(AbortedError):
            stream.close()
        assert s3.unfinished == [URL]
        assert upload.abort()
    assert s3.unfinished == []


def test_a_segment_is_neither_committed_nor_prepared_nor_resumed() -> None:
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        stream = SegmentWriter(upload.segment(0))
        for call in (stream.commit, stream.prepare, SegmentWriter.resume):
            with pytest.raises(OSError, match="segment"):
                call()
        stream.abort()
        upload.abort()


async def write_in_vain(stream: Any) -> None:
    stream.write("rows")


def yield_in_vain(stream: Any) -> Iterator[None]:
    stream.write("rows")
    yield


def map_in_vain(stream: Any) -> Iterator[int]:
    return map(stream.write, ["rows"])


def leave_open(stream: Any) -> io.TextIOWrapper:
    text = io.TextIOWrapper(stream)
    text.write("rows")
    return text


@pytest.mark.parametrize("producer", [write_in_vain, yield_in_vain, map_in_vain, leave_open])
def test_a_producer_that_does_nothing_when_it_is_called_is_refused(producer: Any) -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool, pytest.raises(TypeError, match="when it is called"):
        write_segments(BUCKET, "key", [producer], executor=pool)
    assert (s3.objects, s3.unfinished) == ({}, [])


def test_an_executor_that_returns_no_futures_is_refused() -> None:
    class Inline(AnyOrder):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

    with MemoryS3(BUCKET) as s3, pytest.raises(TypeError, match="must return futures"):
        write_segments(BUCKET, "key", producers([1]), executor=Inline(1))
    assert s3.unfinished == []


def test_a_part_of_a_worker_that_was_killed_may_be_under_way(caplog: pytest.LogCaptureFixture) -> None:
    def die(_: object) -> None:
        raise BrokenProcessPool("a process was terminated abruptly")

    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(1) as pool, pytest.raises(BrokenProcessPool) as caught:
        write_segments(BUCKET, "key", [die], executor=pool)
    assert s3.calls.count("AbortMultipartUpload") == 2
    (told,) = [message for message in caplog.messages if "parts were under way" in message]
    assert told in caught.value.__notes__


def test_a_producer_s_own_failure_leaves_nothing_under_way(caplog: pytest.LogCaptureFixture) -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool, pytest.raises(Boom) as caught:
        write_segments(BUCKET, "key", [raise_boom], executor=pool)
    assert (s3.objects, s3.unfinished) == ({}, [])
    assert not [told for told in [*caplog.messages, *caught.value.__notes__] if "under way" in told]


def raise_boom(_: object) -> None:
    raise Boom


def test_an_error_about_another_object_keeps_its_upload() -> None:
    def fail_elsewhere(_: object) -> None:
        raise NotCommittedError("the side failed", "other", "side.bin", "its upload")

    with MemoryS3(BUCKET), ThreadPoolExecutor(1) as pool, pytest.raises(NotCommittedError) as caught:
        write_segments(BUCKET, "key", [fail_elsewhere], executor=pool)
    assert caught.value.upload_id == "its upload"


def test_a_part_that_comes_after_the_abort_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    class LikeDask(ThreadPoolExecutor):
        """Its futures can be cancelled while their calls go on."""

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()

            def run() -> None:
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    if not future.cancelled():
                        future.set_exception(error)
                else:
                    future.set_result(result)

            super().submit(run)
            return future

    monkeypatch.setattr("s3writer.segments.driver._FUTURES_TELL", ())
    goes_on = threading.Event()

    def slow(stream: Any) -> None:
        goes_on.wait(30)
        jobs.write(0, 20 * MIB, stream)

    work: list[Any] = [slow, functools.partial(jobs.write_then_raise, 1, 20)]
    with logged() as log, MemoryS3(BUCKET) as s3, LikeDask(2) as pool:
        with pytest.raises(ArithmeticError) as caught:
            write_segments(BUCKET, "key", work, executor=pool)
        goes_on.set()
    assert "it must be aborted again" in caught.value.__notes__[-1]
    assert any("it must be aborted again" in message for message in log)
    assert (s3.objects, s3.unfinished) == ({}, [])


def test_what_a_worker_does_shows_no_secret() -> None:
    assert repr(_Call(None, {"SSECustomerKey": "k" * 32})) == "_Call()"


def test_the_log_says_what_became_of_a_segment(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "s3writer")
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=2)
        with SegmentWriter(upload.segment(0)) as stream:
            stream.write(data(4 * MIB))
        with pytest.raises(ArithmeticError), SegmentWriter(upload.segment(1)) as stream:
            jobs.write_then_raise(1, 10, stream)
        upload.abort()
    assert [said.partition(",")[0] for said in caplog.messages if "key segment " in said] == [
        f"{URL} segment 0 sent: {4 * MIB} bytes",
        f"{URL} segment 1 failed: 0 bytes",
    ]


def test_one_that_was_committed_before_says_so() -> None:
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        with SegmentWriter(upload.segment(0)) as stream:
            stream.write("abc")
        upload.commit([stream.receipt])
        with pytest.raises(S3WriterError, match="its object was published before"):
            upload.commit([stream.receipt])
    assert s3.objects == {URL: b"abc"}


def test_a_missing_customer_key_is_named() -> None:
    secret: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1, **secret)
        with pytest.raises(TypeError, match="SSECustomerKey must be given"):
            SegmentWriter(upload.segment(0))
        with SegmentWriter(upload.segment(0), **secret) as stream:
            stream.write("abc")
        with pytest.raises(TypeError, match="SSECustomerKey must be given"):
            upload.commit([stream.receipt])
        upload.commit([stream.receipt], **secret)


def test_short_segments_are_joined_to_larger_parts() -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        result = write_segments(BUCKET, "key", producers([5 * MIB] * 12), executor=pool)
    assert result.parts == 3
    assert s3.objects == {URL: whole([5 * MIB] * 12)}


def test_parts_of_many_joined_segments_are_all_published() -> None:
    sizes = [9 * MIB] * 6

    def once_all_parts_have_arrived() -> Iterator[Any]:
        for producer in producers(sizes):
            for thread in threading.enumerate():
                if thread.name == "s3writer-part":
                    thread.join(30)
            yield producer

    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(1) as pool:
        result = write_segments(BUCKET, "key", once_all_parts_have_arrived(), executor=pool, window=1)
    assert s3.calls.count("UploadPart") == result.parts == 3
    assert s3.objects == {URL: whole(sizes)}


def short_segments(upload: SegmentedUpload) -> list[SegmentReceipt]:
    """Receipts of segments of which four are joined to a part."""
    head = data(5 * MIB)
    return [SegmentReceipt(upload.upload_id, number, (), head, b"") for number in range(upload.segments)]


def test_of_the_parts_that_join_segments_only_a_few_are_in_flight() -> None:
    def begin(**_: Any) -> None:
        with lock:
            in_flight.append(in_flight[-1] + 1)
        time.sleep(0.05)

    def end(**_: Any) -> None:
        with lock:
            in_flight.append(in_flight[-1] - 1)

    lock, in_flight = threading.Lock(), [0]
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=24)
        s3.client.meta.events.register_first("before-send.s3.UploadPart", begin)
        s3.client.meta.events.register("after-call.s3.UploadPart", end)
        result = upload.commit(short_segments(upload))
    assert (result.parts, in_flight[-1]) == (6, 0)
    assert 1 <= max(in_flight) <= 4


def test_a_commit_that_fails_waits_for_the_parts_that_it_sends() -> None:
    def be_slow_once(**_: Any) -> None:
        if is_first.acquire(blocking=False):
            time.sleep(0.5)
            slept.append(True)

    is_first = threading.Semaphore(1)
    slept: list[bool] = []
    with MemoryS3(BUCKET) as s3:
        s3.client.meta.events.register_first("before-send.s3.UploadPart", be_slow_once)
        s3.refuse("UploadPart", "AccessDenied", nth=1)
        upload = SegmentedUpload.begin(BUCKET, "key", segments=8)
        with pytest.raises(AccessDeniedError):
            upload.commit(short_segments(upload))
        assert slept
        assert upload.abort()


def test_a_segment_that_outgrows_its_numbers_is_refused() -> None:
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=4000)
        with (
            pytest.raises(
                ObjectTooLargeError, match=r"segment 7 of .* does not fit into its 1 parts, .* 6,291,456 bytes"
            ),
            SegmentWriter(upload.segment(7), max_memory=6 * MIB) as stream,
        ):
            stream.write(data(17 * MIB))
        upload.abort()


def test_more_long_segments_than_there_are_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3writer.segments.part_numbers.NUMBERS", 8)
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(2) as pool:
        with pytest.raises(ObjectTooLargeError, match="make fewer and longer segments"):
            write_segments(BUCKET, "key", iter(producers([11 * MIB] * 5)), executor=pool)
        write_segments(BUCKET, "short", iter(producers([1 * MIB] * 20)), executor=pool, window=2)
    assert s3.objects == {f"s3://{BUCKET}/short": whole([1 * MIB] * 20)}
    assert s3.unfinished == []


@given(st.lists(st.integers(0, 300), min_size=1, max_size=300), st.integers(1, 50), st.booleans())
def test_no_number_is_given_twice_or_out_of_order(wanted: list[int], window: int, is_known: bool) -> None:
    numbers, used, to_come = Numbers(window), 0, len(wanted)
    for uses in wanted:
        left = to_come if is_known else None
        if numbers.should_wait(left):
            numbers.begin_anew()
        share = numbers.share(left)
        if share < LEAST:
            assert used > NUMBERS - LEAST
            return
        first = numbers.take(share)
        assert used < first <= first + share - 1 <= NUMBERS
        if uses:
            used = first + min(share, uses) - 1
        numbers.use(used)
        to_come -= 1


def test_a_commit_with_the_receipt_of_an_overwritten_run_names_the_segment() -> None:
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=2)
        receipts = []
        for number, content_of_run in ((0, 1), (1, 2), (1, 3)):
            with SegmentWriter(upload.segment(number)) as stream:
                stream.write(data(12 * MIB, content_of_run))
            receipts.append(stream.receipt)
        with pytest.raises(NotCommittedError, match="InvalidPart") as caught:
            upload.commit(receipts[:2])
        assert "Another run of segment 1 has overwritten parts" in caught.value.__notes__[-1]
        assert s3.objects == {}
        upload.commit([receipts[0], receipts[2]])
        assert s3.objects == {f"s3://{BUCKET}/key": data(12 * MIB, 1) + data(12 * MIB, 3)}


def test_an_executor_that_returns_an_overwritten_run_s_receipt_is_told_which_segment_it_was() -> None:
    runs = itertools.count()

    class Twice(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            if args[0].number == 1:
                fn(*args, **kwargs)
            return future

    def produce(stream: SegmentWriter) -> None:
        stream.write(data(12 * MIB, next(runs)))

    with MemoryS3(BUCKET) as s3:
        with pytest.raises(NotCommittedError, match="InvalidPart") as caught:
            write_segments(BUCKET, "key", [produce] * 3, executor=Twice())
        assert "Another run of segment 1 has overwritten parts: the executor" in str(caught.value.__notes__)
        assert (s3.objects, s3.unfinished) == ({}, [])


def test_a_commit_with_an_overwritten_part_says_so_without_the_permission_to_list_parts() -> None:
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        receipts = []
        for content_of_run in (1, 2):
            with SegmentWriter(upload.segment(0)) as stream:
                stream.write(data(12 * MIB, content_of_run))
            receipts.append(stream.receipt)
        s3.refuse("ListParts", "AccessDenied")
        with pytest.raises(NotCommittedError, match="InvalidPart") as caught:
            upload.commit(receipts[:1])
        assert "Another run of a segment has overwritten parts" in caught.value.__notes__[-1]


def test_a_commit_that_is_refused_for_another_reason_names_no_segment() -> None:
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        with SegmentWriter(upload.segment(0)) as stream:
            stream.write(data(12 * MIB))
        s3.refuse("CompleteMultipartUpload", "AccessDenied")
        with pytest.raises(AccessDeniedError) as caught:
            upload.commit([stream.receipt])
        assert not [note for note in caught.value.__notes__ if "Another run" in note]


def test_numbers_are_not_waited_for_while_a_segment_can_have_enough() -> None:
    numbers = Numbers(window=1)
    numbers.take(NUMBERS - 100)
    assert not numbers.should_wait(None)
    numbers.take(94)
    assert numbers.should_wait(None)


@given(st.integers(1, 9_998), st.integers(5 * MIB, 5 * GIB))
def test_parts_of_a_segment_grow_to_the_largest_that_s3_takes(parts: int, part_size: int) -> None:
    plan = SegmentPlan(part_size, 128 * MIB, MAX_PART_BYTES, 7, 7, 7, grows=True, parts=parts, steady=0)
    sizes = list(map(plan.size, range(1, parts + 1)))
    assert sizes == sorted(sizes)
    assert sizes[0] >= MIN_PART_BYTES
    assert sizes[-1] == MAX_PART_BYTES
    assert sum(sizes) >= 0.7 * GIB * parts


def planned(segment: Segment) -> SegmentPlan:
    with MemoryS3(BUCKET):
        stream = SegmentWriter(segment)
        stream.abort()
    plan = stream._upload.pipeline._pace.plan
    assert isinstance(plan, SegmentPlan)
    return plan


@pytest.mark.parametrize("segments", [1, 10, 100, 1000, 3000, 4999])
@pytest.mark.parametrize("share", [0.01, 0.7, 1])
def test_what_is_expected_fits_into_even_segments_with_parts_of_one_size(segments: int, share: float) -> None:
    parts = NUMBERS // segments - 1
    most = segments * parts * MAX_PART_BYTES
    expected = int(most * share)
    with MemoryS3(BUCKET):
        upload = SegmentedUpload.begin(BUCKET, "key", segments=segments, expected_size=expected)
        plan = planned(upload.segment(segments - 1))
        sizes = [plan.size(number) for number in range(1, parts + 1)]
        assert sum(sizes) * segments >= expected
        assert set(sizes[: 3 * parts // 4]) <= {upload.part_size}
        assert sizes[-1] <= MAX_PART_BYTES
        upload.abort()
        with pytest.raises(ValueError, match=r"expected_size=.* does not fit into \d+ segments"):
            SegmentedUpload.begin(BUCKET, "key", segments=segments, expected_size=most + segments)


def test_a_segment_s_progress_must_be_callable() -> None:
    wrong: dict[str, Any] = {"progress": 5}
    with MemoryS3(BUCKET) as s3:
        upload = SegmentedUpload.begin(BUCKET, "key", segments=1)
        with pytest.raises(TypeError, match="progress must be callable, not int"):
            SegmentWriter(upload.segment(0), **wrong)
        upload.abort()
    assert s3.unfinished == []


def test_clients_that_add_checksums_to_parts_are_refused() -> None:
    client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    with pytest.raises(ValueError, match="request_checksum_calculation='when_required'"):
        SegmentedUpload.begin(BUCKET, "key", segments=1, client=client)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"window": 0}, ValueError, "window=0 must be"),
        ({"window": True}, ValueError, "window=True must be"),
        ({"executor": None}, TypeError, "executor must have a submit method"),
        ({"progress": 5}, TypeError, "progress must be callable, not int"),
        ({"producers": 5}, TypeError, "producers must be an iterable of callables, not int"),
        ({"header": 5}, TypeError, "header must be bytes, not int"),
        ({"separator": None}, TypeError, "separator must be bytes, not NoneType"),
        ({"encoding": "nonsense"}, ValueError, "encoding='nonsense' can't be used"),
        ({"encoding": "utf-16"}, ValueError, "encoding='utf-16' would put a byte order mark"),
        ({"max_concurrency": 0}, ValueError, "max_concurrency=0 is out of its limits"),
        ({"max_memory": 6 * MIB, "part_size": 7 * MIB}, ValueError, "max_memory=.* at least one part"),
        ({"max_memory": 64 * MIB, "expected_size": 10**12}, ValueError, "max_memory=.* at least one part"),
        ({"compression": ["gzip"]}, TypeError, "unhashable"),
        ({"expected_size": 1, "producers": iter([])}, ValueError, "expected_size needs producers of which the number"),
        ({"encoding": ""}, ValueError, "encoding='' can't be used"),
        ({"compression": "lz77"}, ValueError, "compression='lz77' is unknown"),
        ({"client": MemoryS3().client}, TypeError, "client must be callable"),
        ({"checksum": "SHA256"}, ValueError, "checksum='SHA256' can't be combined"),
        ({"part_size": 1}, ValueError, "part_size=1 is out of its limits"),
        ({"NoSuchArgument": 1}, TypeError, "NoSuchArgument is not an argument of S3's uploads"),
        ({"producers": [1]}, TypeError, "number 0 is a int"),
    ],
)
def test_impossible_parameters_are_refused_by_name(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with MemoryS3(BUCKET) as s3, ThreadPoolExecutor(1) as pool, pytest.raises(error, match=message):
        write_segments(BUCKET, "key", **{"producers": [], "executor": pool, **wrong})
    assert (s3.calls, s3.objects) == ([], {})


def test_impossible_segments_are_refused_by_name() -> None:
    with MemoryS3(BUCKET):
        untyped: Any = SegmentedUpload
        for wrong in (0, 5000, "1", True):
            with pytest.raises(ValueError, match=f"segments={wrong!r} is out of its limits: 1 to 4999"):
                untyped.begin(BUCKET, "key", segments=wrong)
        upload, other = (SegmentedUpload.begin(BUCKET, "key", segments=2) for _ in range(2))
        with pytest.raises(ValueError, match="number=2 is out of its limits: 0 to 1"):
            upload.segment(2)
        for late in ({"part_size": 6 * MIB}, {"ContentType": "text/csv"}, {"IfMatch": "x"}):
            with pytest.raises(TypeError, match=f"{next(iter(late))} can't be given: it was settled"):
                SegmentWriter(upload.segment(0), **late)
        with pytest.raises(ValueError, match="compression='lz77' is unknown"):
            wrong_name: Any = "lz77"
            CompressingSegmentWriter(upload.segment(0), compression=wrong_name)
        with pytest.raises(ValueError, match="byte order mark"):
            SegmentWriter(upload.segment(0), encoding="utf-8-sig")
        with pytest.raises(TypeError, match="header must be bytes, not str"):
            untyped.commit(upload, [], header="[")
        with pytest.raises(TypeError, match="receipts must be SegmentReceipts, not dict"):
            untyped.commit(upload, [{}])
        receipts = []
        for text in ("one", "two"):
            with CompressingSegmentWriter(upload.segment(0), compression="gzip") as stream:
                stream.write(text)
            receipts.append(stream.receipt)
        with pytest.raises(ValueError, match="two receipts of segment 0"):
            upload.commit(receipts)
        with pytest.raises(ValueError, match="is of another upload"):
            other.commit(receipts)
        for kind in (SegmentedUpload, SegmentReceipt):
            with pytest.raises(ValueError, match=f"this is no {kind.__name__}"):
                kind.from_json("{}")
        known = {"bucket": BUCKET, "key": "key", "upload_id": "u", "segments": 1}
        for impossible in ({"bucket": 1}, {"upload_id": 3}, {"segments": 0}):
            with pytest.raises(ValueError, match="this is no SegmentedUpload"):
                SegmentedUpload.from_json(json.dumps({**known, **impossible}))
        with pytest.raises(ValueError, match="this is no SegmentReceipt"):
            SegmentReceipt.from_json('{"upload_id": "u", "number": "0", "parts": [], "head": "", "tail": ""}')
        upload.abort()
        other.abort()
