"""`write_segments`: the driver, which has an executor write the segments and publishes the object."""

import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeGuard

from s3writer._errors import ConnectionFailedError, NotCommittedError, ObjectTooLargeError, S3WriterError, add_note
from s3writer._file.compression import compressor
from s3writer._log import facts, warn
from s3writer._s3.client import client_of
from s3writer._upload.lifecycle import UploadResult
from s3writer._upload.plan import DEFAULT_CONCURRENCY, MAX_PARTS, MIN_PART_BYTES, make_plan
from s3writer.segments.joints import Glue
from s3writer.segments.part_numbers import LEAST, MAX_SEGMENTS, Numbers
from s3writer.segments.segment import CompressingSegmentWriter, Segment, SegmentReceipt, SegmentWriter, check_encoding
from s3writer.segments.upload import SegmentedUpload, as_bytes, first_part_size

#: Each segment that waits for its turn takes up to 10 MiB of the driver's memory.
DEFAULT_WINDOW = 32
#: So long the driver waits for segments that are under way when one has failed; they fail at their next part.
_PATIENCE_SECONDS = 10.0
#: And so long for those of which it can't know.
_LATE_SECONDS = 1.0
#: Executors of which a future that could be cancelled was not running. Dask's can be cancelled at any time.
_FRANK = (ProcessPoolExecutor, ThreadPoolExecutor)

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
    compression: str | None = None,
    window: int = DEFAULT_WINDOW,
    progress: Callable[[int], object] | None = None,
    encoding: str | None = "utf-8",
    max_concurrency: int = DEFAULT_CONCURRENCY,
    max_memory: int | None = None,
    part_size: int = MIN_PART_BYTES,
    expected_size: int | None = None,
    checksum: str | None = "auto",
    exclusive: bool = False,
    commit_token: bool = True,
    **s3_arguments: Any,
) -> UploadResult:
    """Write the object ``key`` in ``bucket`` with all workers of ``executor``; what was published.

    The object is what the producers write, laid end to end in their order. If one of them raises, or its worker dies
    (and the executor does not run it again), or this process is interrupted before the commit, nothing is published,
    and the upload is aborted.

    Parameters:
        producers: callables that the executor can pickle. Each is called on a worker, perhaps more than once, with a
            `SegmentWriter`, which takes bytes and text as any writer does; what it wraps around that, it must close.
            They are taken from the iterable as they are needed.
        executor: its ``submit`` returns a ``concurrent.futures.Future``.
        client: makes a boto3 S3 client, with ``request_checksum_calculation="when_required"``; called once in each
            process if it can be hashed, else for each segment. The executor pickles it too. None: the client that
            writers share.
        header, footer: what stands before and behind all segments.
        separator: what stands between two segments that are not empty.
        compression: "gzip", "bz2", "xz" or "zstd", for each segment by itself; the object is unpacked as a whole.
        window: so many segments are under way or wait for one before them, each in up to 10 MiB of this process's
            memory; the parts that are made of them take 130 MiB more. More workers than that have nothing to do.
        progress: called with a number of bytes when a segment's parts, or those that join segments, are in S3.
        encoding, max_concurrency, max_memory: of each segment's writer. Memory is that of its worker, and 10 MiB more
            for a segment's ends. None: 128 MiB, and more only where a segment is long for its share of part numbers,
            so that its parts must be large.
        part_size, expected_size, checksum, exclusive, commit_token, **s3_arguments: as in `SegmentedUpload.begin`.

    Raises TypeError or ValueError for an impossible parameter, before S3 is asked; what a producer has raised, or the
    executor if a worker died; and what `PendingUpload.commit` raises, but that the upload is aborted then. Whatever
    could not be aborted is named in a note and in the log.

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
        **s3_arguments,
    )
    try:
        store = upload._store(s3, secrets)
        with Glue(store, upload.upload_id, between, progress) as glue:
            glue.add(first)
            run.write(upload, producers, how_many, glue)
            glue.add(last)
            glue.add(empty if glue.is_empty else b"")
            pending = upload._pending(glue.finish())
        return pending._publish(pending._checked(s3, secrets), glue.checksum)
    except BaseException as error:
        try:
            _give_up(upload, run, error, s3, secrets)
        except BaseException as interrupt:
            add_note(interrupt, f"upload {upload.upload_id} of s3://{bucket}/{key} may be left: abort it")
            raise
        raise


@dataclass(frozen=True)
class _Call:
    """What a worker does, as the executor pickles it. Executors log its repr."""

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
    """The segments that an executor is at work on, and those that wait for one before them."""

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

    def write(self, upload: SegmentedUpload, producers: Iterable[Producer], how_many: int | None, glue: Glue) -> None:
        """Have all segments written, and ``glue`` take them."""
        for number, producer in enumerate(producers):
            self._take_until(self._window - 1, glue)
            to_come = None if how_many is None else how_many - number
            if self._numbers.should_wait(to_come):
                self._take_until(0, glue)
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
            self._start(upload._segment(number, self._numbers.take(share), share), producer)
        self._take_until(0, glue)

    def give_up(self) -> None:
        """Begin no segment any more."""
        for number, future in list(self._futures.items()):
            if future.cancel() and isinstance(self._executor, _FRANK):
                del self._futures[number]

    def wait(self) -> bool:
        """Wait for the segments that are under way, but not for ever; whether some may be so even then."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        cancelled = self._is_submitting or any(future.cancelled() for future in self._futures.values())
        while self._futures and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._ended.get(timeout=left)
            for number in self._done():
                del self._futures[number]
        time.sleep(_LATE_SECONDS)
        return cancelled or self.is_under_way

    @property
    def is_under_way(self) -> bool:
        """Whether a segment may be."""
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
        """The numbers of the segments that have ended, and were not looked at yet."""
        return [number for number, future in self._futures.items() if future.done()]

    def _take_until(self, most: int, glue: Glue) -> None:
        """Take the segments that have ended, and wait until at most ``most`` are under way. Raises what a segment has
        raised, or its executor.
        """
        while self._started - self._taken > most or not self._ended.empty():
            self._ended.get()
            for number in self._done():
                self._ready[number] = self._futures.pop(number).result()
            while self._taken in self._ready:
                glue.take(self._ready.pop(self._taken))
                self._taken += 1
                self._numbers.use(glue.last_number)


def _give_up(upload: SegmentedUpload, run: _Run, error: BaseException, client: Any, secrets: Mapping[str, Any]) -> None:
    """Abort, and once more when the segments that are under way have noticed: S3 may store a part after an abort."""
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
    """Abort after ``error``, which is told what came of that."""
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
    """Whether ``error`` speaks of this object: a producer may have failed to write another one."""
    return isinstance(error, S3WriterError) and (error.bucket, error.key) == (upload.bucket, upload.key)


def _tell(upload: SegmentedUpload, error: BaseException, message: str) -> None:
    add_note(error, message)
    warn(message, facts(upload.bucket, upload.key, upload.upload_id))


def _callables(producers: Iterable[Producer]) -> Iterable[Producer]:
    """``producers``, each of which can be called: those of a list are checked now, others when they come."""

    def checked() -> Iterable[Producer]:
        for number, producer in enumerate(producers):
            if not callable(producer):
                raise TypeError(f"producers must be callable, but number {number} is a {type(producer).__name__}")
            yield producer

    if not isinstance(producers, Iterable):
        raise TypeError(f"producers must be an iterable of callables, not {type(producers).__name__}")
    return list(checked()) if isinstance(producers, Sized) else checked()


def _packed(name: str, given: bytes | str, encoding: str | None, compression: str | None) -> bytes:
    """A header, separator or footer as it is in the object."""
    data = as_bytes(name, given.encode(encoding or "utf-8") if isinstance(given, str) else given)
    return _compressed(data, compression) if data else b""


def _compressed(data: bytes, compression: str | None) -> bytes:
    if compression is None:
        return data
    packing = compressor(compression)
    return packing.compress(data) + packing.flush()
