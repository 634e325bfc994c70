"""`write_segments`: the driver, which has an executor write the segments and publishes the object."""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeGuard, Unpack

from s3writer._errors import ConnectionFailedError, NotCommittedError, ObjectTooLargeError, S3WriterError, add_note
from s3writer._file.compression import compressor
from s3writer._log import facts, warn
from s3writer._s3.client import client_of
from s3writer._s3.receipts import UploadResult
from s3writer._upload.jobs import run as run_in_thread
from s3writer._upload.plan import FIRST_IN_FLIGHT, MAX_PARTS, MIN_PART_BYTES, make_plan
from s3writer.options import CompressionFormat, CrcChecksum, S3Arguments
from s3writer.pending import checked, publish
from s3writer.segments.joints import Joiner
from s3writer.segments.part_numbers import LEAST, MAX_SEGMENTS, Numbers
from s3writer.segments.segment import Segment, SegmentReceipt
from s3writer.segments.upload import (
    SegmentedUpload,
    as_bytes,
    calls_of,
    first_part_size,
    note_overwritten,
    pending_of,
    segment_at,
)
from s3writer.segments.writer import CompressingSegmentWriter, SegmentWriter, check_encoding

#: Each segment that waits for its turn takes up to 10 MiB of the driver's memory.
DEFAULT_WINDOW = 32
#: When a segment has failed, the driver waits so long for the running ones. They fail at their next part.
_PATIENCE_SECONDS = 10.0
#: Then it waits so long for segments that may run although their futures say that they don't.
_LATE_SECONDS = 1.0
#: Executors whose future can be cancelled only while it is not running. Dask's can be cancelled at any time.
_FUTURES_TELL = (ProcessPoolExecutor, ThreadPoolExecutor)

Producer = Callable[[SegmentWriter], object]


def write_segments(
    bucket: str,
    key: str,
    producers: Iterable[Producer],
    *,
    executor: Executor,
    client: Callable[[], Any] | None = None,
    header: bytes | str = b"",
    separator: bytes | str = b"",
    footer: bytes | str = b"",
    compression: CompressionFormat | None = None,
    window: int = DEFAULT_WINDOW,
    progress: Callable[[int], object] | None = None,
    encoding: str | None = "utf-8",
    max_concurrency: int = FIRST_IN_FLIGHT,
    max_memory: int | None = None,
    part_size: int = MIN_PART_BYTES,
    expected_size: int | None = None,
    checksum: CrcChecksum = "auto",
    exclusive: bool = False,
    commit_token: bool = True,
    allow_dot_segments: bool = False,
    **s3_arguments: Unpack[S3Arguments],
) -> UploadResult:
    """Write the object ``key`` in ``bucket`` with all workers of ``executor``. Returns the result.

    The object consists of the bytes that the producers write, in the order of the producers. Nothing is published, and
    the upload is aborted, if a producer raises, if its worker dies and the executor does not run it again, or if this
    process is interrupted before the commit.

    Parameters:
        producers: callables that the executor can pickle, one for each segment. A worker calls each, perhaps more than
            once, with a `SegmentWriter`, which takes bytes and text as any writer does. A producer that wraps the
            writer must close the wrapper. From an iterator, producers are taken as workers become free.
        executor: its ``submit`` returns a ``concurrent.futures.Future``.
        client: a callable that makes a boto3 S3 client with ``request_checksum_calculation="when_required"``. The
            executor pickles it. Each process calls it once if it can be hashed, else for each segment. None: the client
            that the writers of a process share.
        header, footer: bytes or text before and after all segments.
        separator: bytes or text between two segments that are not empty.
        compression: "gzip", "bz2", "xz" or "zstd". Each segment is compressed by itself, but the object can be unpacked
            as a whole.
        window: how many segments may be running, or waiting for an earlier one. Each takes up to 10 MiB of this
            process's memory; the parts that join them take 130 MiB more. More workers than this are idle.
        progress: called with a number of bytes when S3 has a segment's parts, or a part that joins segments.
        encoding, max_concurrency, max_memory: options of each `SegmentWriter`. ``max_memory`` is memory of the worker,
            which needs 10 MiB more for a segment's ends. None: 128 MiB, and more only if a long segment has so few part
            numbers that its parts must be large.
        part_size, expected_size, checksum, exclusive, commit_token, allow_dot_segments, **s3_arguments: as in
            `SegmentedUpload.begin`.

    Raises TypeError or ValueError for an impossible parameter, before S3 is asked. Raises the exception of a producer,
    or of the executor if a worker died. Raises as `PendingUpload.commit` does, but aborts the upload. If the upload
    could not be aborted, a note and the log name it.

    """
    if not hasattr(executor, "submit"):
        raise TypeError(f"executor must have a submit method, as those of concurrent.futures; not {executor!r}")
    if type(window) is not int or window < 1:
        raise ValueError(f"window={window!r} must be a number of segments, 1 or more")
    for name, given in (("progress", progress), ("client", client)):
        if given is not None and not callable(given):
            raise TypeError(f"{name} must be callable, not {type(given).__name__}")
    how_many = len(producers) if isinstance(producers, Sized) else None
    if how_many is None and expected_size is not None:
        raise ValueError("expected_size needs producers of which the number is known: give a list")
    producers = _callables(producers)
    segments = min(max(how_many or 0, 1), MAX_SEGMENTS)
    part_size = first_part_size(part_size, expected_size, segments)
    make_plan(part_size=part_size, max_concurrency=max_concurrency, max_memory=max_memory)
    check_encoding(encoding)
    around = (("header", header), ("separator", separator), ("footer", footer))
    first, between, last = (_packed(name, given, encoding, compression) for name, given in around)
    empty = _compressed(b"", compression)
    s3 = client_of(client)
    secrets = {name: value for name, value in s3_arguments.items() if name.startswith("SSECustomer")}
    limits = {"max_concurrency": max_concurrency, "max_memory": max_memory, "encoding": encoding}
    packing = {"compression": compression} if compression else {}
    run = _Run(executor, _Call(client, {**limits, **packing, **secrets}), window)
    upload = SegmentedUpload.begin(
        bucket,
        key,
        segments=segments,
        client=s3,
        part_size=part_size,
        expected_size=expected_size,
        checksum=checksum,
        exclusive=exclusive,
        commit_token=commit_token,
        allow_dot_segments=allow_dot_segments,
        **s3_arguments,
    )
    try:
        calls = calls_of(upload, s3, secrets)
        with Joiner(calls, upload.upload_id, between, progress) as joiner:
            joiner.add(first)
            run.write(upload, producers, how_many, joiner)
            joiner.add(last)
            joiner.add(empty if joiner.is_empty else b"")
            pending = pending_of(upload, joiner.finish())
        try:
            return publish(pending, checked(pending, s3, secrets), joiner.checksum)
        except NotCommittedError as error:
            advice = "the executor has run it twice, and did not return the later run's receipt."
            note_overwritten(error, calls, pending, joiner, advice)
            raise
    except BaseException as error:
        try:
            _give_up(upload, run, error, s3, secrets)
        except BaseException as interrupt:
            add_note(interrupt, f"upload {upload.upload_id} of s3://{bucket}/{key} may be left: abort it")
            raise
        raise


@dataclass(frozen=True)
class _Call:
    """The function that the executor pickles and a worker calls. Its repr hides secrets, since executors log it."""

    client: Callable[[], Any] | None = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)

    def __call__(self, segment: Segment, producer: Producer) -> SegmentReceipt:
        kind = CompressingSegmentWriter if "compression" in self.options else SegmentWriter
        with kind(segment, client=client_of(self.client), **self.options) as stream:
            made = producer(stream)
            if isinstance(made, (Iterator, AsyncIterator, Awaitable)) and made is not stream:
                if inspect.iscoroutine(made):
                    made.close()
                raise TypeError(
                    f"a producer must write all when it is called, and close what it wraps: {producer!r} has returned "
                    f"{made!r}"
                )
        return stream.receipt


class _Run:
    """The segments that an executor is working on, and those that wait for an earlier one."""

    def __init__(self, executor: Executor, call: _Call, window: int) -> None:
        self._executor = executor
        self._call = call
        self._window = window
        self._numbers = Numbers(window)
        self._started = self._taken = 0
        self._is_submitting = False
        self._futures: dict[int, Future[SegmentReceipt]] = {}
        self._ready: dict[int, SegmentReceipt] = {}
        self._ended: SimpleQueue[object] = SimpleQueue()

    def write(
        self, upload: SegmentedUpload, producers: Iterable[Producer], how_many: int | None, joiner: Joiner
    ) -> None:
        """Have all segments written, and ``joiner`` take them."""
        for number, producer in enumerate(producers):
            self._take_until(self._window - 1, joiner)
            to_come = None if how_many is None else how_many - number
            if self._numbers.should_wait(to_come):
                self._take_until(0, joiner)
                self._numbers.begin_anew()
            share = self._numbers.share(to_come)
            if share < LEAST:
                known = "" if how_many is not None else ", and give them as a list, so that their number is known"
                raise ObjectTooLargeError(
                    f"s3://{upload.bucket}/{upload.key} does not fit into {MAX_PARTS:,} parts: make fewer and longer "
                    f"segments{known}",
                    upload.bucket,
                    upload.key,
                )
            self._start(segment_at(upload, number, self._numbers.take(share), share), producer)
        self._take_until(0, joiner)

    def give_up(self) -> None:
        """Cancel all segments that have not begun."""
        for number, future in list(self._futures.items()):
            if future.cancel() and isinstance(self._executor, _FUTURES_TELL):
                del self._futures[number]

    def wait(self) -> bool:
        """Wait for the running segments, some 11 seconds at the most. Returns whether some may still be running."""
        cancelled = self._is_submitting or any(future.cancelled() for future in self._futures.values())
        running = list(self._futures.values())
        # In this thread, an interrupt of the wait could leave the lock of a future held for ever.
        run_in_thread(lambda: wait_for(running, _PATIENCE_SECONDS))
        self._forget_done()
        time.sleep(_LATE_SECONDS)
        return cancelled or self.is_under_way

    @property
    def is_under_way(self) -> bool:
        """Whether a segment may be running."""
        return bool(self._futures) or self._is_submitting

    def _start(self, segment: Segment, producer: Producer) -> None:
        self._is_submitting = True
        future = self._executor.submit(self._call, segment, producer)
        if not isinstance(future, Future):
            raise TypeError(f"executor must return futures of concurrent.futures, not {type(future).__name__}")
        self._futures[segment.number] = future
        self._is_submitting = False
        self._started += 1
        future.add_done_callback(self._ended.put)

    def _done(self) -> list[int]:
        """The numbers of the segments that have ended, and whose results nobody has taken."""
        return [number for number, future in self._futures.items() if future.done()]

    def _forget_done(self) -> None:
        for number in self._done():
            del self._futures[number]

    def _take_until(self, most: int, joiner: Joiner) -> None:
        """Take the segments that have ended, and wait until at most ``most`` were not taken. Raises the exception of a
        segment or of the executor.
        """
        while self._started - self._taken > most or not self._ended.empty():
            self._ended.get()
            for number in self._done():
                self._ready[number] = self._futures.pop(number).result()
            while self._taken in self._ready:
                joiner.take(self._ready.pop(self._taken))
                self._taken += 1
                self._numbers.use(joiner.last_number)


def _give_up(upload: SegmentedUpload, run: _Run, error: BaseException, client: Any, secrets: Mapping[str, Any]) -> None:
    """Abort now, and again when the running segments have failed: S3 may store a part after an abort."""
    try:
        run.give_up()
    finally:
        _remove(upload, error, client, secrets)
    may_go_on = run.wait() or isinstance(error, (BrokenExecutor, ConnectionFailedError))
    _remove(upload, error, client, secrets)
    if may_go_on:
        _tell(
            upload,
            error,
            f"parts were under way when upload {upload.upload_id} of s3://{upload.bucket}/{upload.key} was aborted; "
            "should S3 store one even now, it must be aborted again",
        )


def _remove(upload: SegmentedUpload, error: BaseException, client: Any, secrets: Mapping[str, Any]) -> None:
    """Abort the upload because of ``error``, which gets a note of the outcome."""
    try:
        was_there = upload.abort(client=client, **secrets)
    except NotCommittedError as left:
        _tell(upload, error, str(left.strerror))
        if _is_about(error, upload):
            error.upload_id = left.upload_id
        return
    if was_there:
        add_note(error, f"upload {upload.upload_id} of s3://{upload.bucket}/{upload.key} was then aborted")
    if _is_about(error, upload):
        error.upload_id = None


def _is_about(error: BaseException, upload: SegmentedUpload) -> TypeGuard[S3WriterError]:
    """Whether ``error`` is about this object. A producer may have failed to write another one."""
    return isinstance(error, S3WriterError) and (error.bucket, error.key) == (upload.bucket, upload.key)


def _tell(upload: SegmentedUpload, error: BaseException, message: str) -> None:
    add_note(error, message)
    warn(message, facts(upload.bucket, upload.key, upload.upload_id))


def _callables(producers: Iterable[Producer]) -> Iterable[Producer]:
    """``producers``, checked to be callable: those of a list now, those of an iterator when they come."""

    def checked() -> Iterable[Producer]:
        for number, producer in enumerate(producers):
            if not callable(producer):
                raise TypeError(f"producers must be callable, but number {number} is a {type(producer).__name__}")
            yield producer

    if not isinstance(producers, Iterable):
        raise TypeError(f"producers must be an iterable of callables, not {type(producers).__name__}")
    return list(checked()) if isinstance(producers, Sized) else checked()


def _packed(name: str, given: bytes | str, encoding: str | None, compression: str | None) -> bytes:
    """A header, separator or footer as it will stand in the object: encoded and compressed."""
    data = as_bytes(name, given.encode(encoding or "utf-8") if isinstance(given, str) else given)
    return _compressed(data, compression) if data else b""


def _compressed(data: bytes, compression: str | None) -> bytes:
    if compression is None:
        return data
    packing = compressor(compression)
    return packing.compress(data) + packing.flush()
