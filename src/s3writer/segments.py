"""One object from many machines: each writes a segment, and one of them, the driver, publishes them all, in order.

```python
with Client(scheduler).get_executor() as pool:  # Dask; or ProcessPoolExecutor()
    result = write_segments("bucket", "backups/events.jsonl", producers, executor=pool)
```

`write_segments` does all of it on any ``concurrent.futures.Executor``. For engines without one, the pieces are here:
`SegmentedUpload` for the driver, `SegmentWriter` for the workers, `SegmentReceipt` for the way back.
"""

import contextlib
import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sized
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from s3writer._arguments import Arguments, check_address
from s3writer._checksums import best, named
from s3writer._compressing import FORMATS
from s3writer._errors import NotCommittedError, ObjectTooLargeError
from s3writer._glue import Glue
from s3writer._numbers import LEAST, MAX_SEGMENTS, NUMBERS, Numbers
from s3writer._plan import DEFAULT_CONCURRENCY, MAX_PART_BYTES, MAX_PARTS, MIB, MIN_PART_BYTES, make_plan
from s3writer._segment import (
    CompressingSegmentWriter,
    Segment,
    SegmentReceipt,
    SegmentStore,
    SegmentWriter,
    chosen_for_segments,
)
from s3writer._session import Receipt, UploadResult
from s3writer._store import Store
from s3writer.pending import PendingUpload

__all__ = [
    "CompressingSegmentWriter",
    "Segment",
    "SegmentReceipt",
    "SegmentWriter",
    "SegmentedUpload",
    "write_segments",
]

#: Each segment that waits for its turn takes up to 10 MiB of the driver's memory.
DEFAULT_WINDOW = 32
#: So long the driver waits for segments that are under way when one has failed; they fail at their next part.
_PATIENCE_SECONDS = 10.0

Producer = Callable[[SegmentWriter], object]


@dataclass(frozen=True)
class SegmentedUpload:
    """An upload whose parts come from the writers of its segments. Plain data: it pickles, goes to JSON and back, and
    holds no secret.

    Until it is committed or aborted S3 stores and bills its parts, unseen.

    Attributes:
        bucket, key: where the object will be.
        upload_id: S3's name for the upload.
        segments: how many there are; S3's part numbers are divided among them evenly.
        part_size: bytes in a segment's first part; later ones grow.
        checksum: the name of the CRC of the whole object, or None.
        token: what the object will have as ``s3writer-token`` in its metadata, or None.
        exclusive: publish only if the key does not exist.
        s3_arguments: those that parts and the commit need, without the key of SSE-C.

    """

    bucket: str
    key: str
    upload_id: str
    segments: int
    part_size: int = MIN_PART_BYTES
    checksum: str | None = None
    token: str | None = None
    exclusive: bool = False
    s3_arguments: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def begin(
        cls,
        bucket: str,
        key: str,
        *,
        segments: int,
        client: Any = None,
        part_size: int = MIN_PART_BYTES,
        expected_size: int | None = None,
        checksum: str | None = "auto",
        exclusive: bool = False,
        commit_token: bool = True,
        **s3_arguments: Any,
    ) -> "SegmentedUpload":
        """Begin an upload in S3.

        Parameters:
            segments: 1 to 4,999.
            client: a boto3 S3 client with ``request_checksum_calculation="when_required"``; None: the one that writers
                share.
            part_size: bytes, 5 MiB to 5 GiB, in each segment's first part.
            expected_size: bytes of the whole object; makes the first parts larger, so that it fits. Without it an
                object of 7 TiB fits, if its segments are of one size.
            checksum: "auto", "CRC64NVME", "CRC32C", "CRC32", or None, which also leaves out the MD5 of each part.
            exclusive, commit_token, **s3_arguments: as for a `MultipartUploadWriter`.

        Raises TypeError or ValueError for an impossible parameter, before S3 is asked; `NotCommittedError` if S3
        refuses.

        """
        if not isinstance(segments, int) or not 1 <= segments <= MAX_SEGMENTS:
            raise ValueError(f"segments={segments!r} is out of its limits: 1 to {MAX_SEGMENTS}")
        check_address(bucket, key)
        s3, arguments = _checked(client, s3_arguments)
        algorithm = best() if checksum == "auto" else checksum and named(checksum)
        if algorithm and not algorithm.crc:
            raise ValueError(f"checksum={checksum!r} can't be combined from parts: take one of the CRCs")
        part_size = _first_part_size(part_size, expected_size, segments)
        token = uuid.uuid4().hex if commit_token else None
        store = Store(s3, bucket, key, arguments=arguments, exclusive=exclusive, token=token)
        return cls(
            bucket,
            key,
            _created(store),
            segments,
            part_size,
            algorithm.name if algorithm else None,
            token,
            exclusive,
            arguments.for_commit(),
        )

    def segment(self, number: int) -> Segment:
        """Where segment ``number``, counted from 0, goes; ValueError if there is none of that number."""
        if not 0 <= number < self.segments:
            raise ValueError(f"number={number} is out of its limits: 0 to {self.segments - 1}")
        return self._segment(number, 1 + number * self._share, self._share)

    @property
    def _share(self) -> int:
        """How many part numbers each segment has."""
        return NUMBERS // self.segments

    def commit(
        self,
        receipts: Iterable[SegmentReceipt],
        *,
        client: Any = None,
        header: bytes = b"",
        separator: bytes = b"",
        footer: bytes = b"",
        **s3_arguments: Any,
    ) -> UploadResult:
        """Send what lies between the segments' own parts, and publish the object; what was published.

        Parameters:
            receipts: those of all segments, in any order.
            client: as in `begin`.
            header, footer: what stands before and behind all segments.
            separator: what stands between two segments that are not empty.
            **s3_arguments: S3's own. ``SSECustomerKey`` must be given again if there is one.

        Raises ValueError if a receipt is missing, double, or of another upload, and what `PendingUpload.commit` raises.
        The upload is left as it was then.

        """
        ordered = self._in_order(receipts)
        with self._glue(client, separator, None, s3_arguments) as glue:
            glue.add(header)
            for receipt in ordered:
                glue.take(receipt)
            glue.add(footer)
            parts = glue.finish()
        return self._publish(parts, glue.checksum, client, s3_arguments)

    def abort(self, *, client: Any = None, **s3_arguments: Any) -> bool:
        """Remove the upload from S3, as `PendingUpload.abort` does. Segments that are being written fail."""
        return self._pending(()).abort(client=client, **s3_arguments)

    def to_json(self) -> str:
        """All of it as a JSON object, for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "SegmentedUpload":
        """What `to_json` has made; else ValueError."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"this is no SegmentedUpload: {error}") from error

    def _segment(self, number: int, first: int, share: int) -> Segment:
        """The segment that has ``share`` part numbers from ``first`` on."""
        return Segment(
            self.bucket,
            self.key,
            self.upload_id,
            number,
            first,
            share - 1,
            self.part_size,
            self.checksum,
            self.s3_arguments,
        )

    def _pending(self, parts: Iterable[Receipt]) -> PendingUpload:
        plain = tuple(dataclasses.replace(part, checksums={}) for part in parts)
        return PendingUpload(
            self.bucket,
            self.key,
            self.upload_id,
            sum(part.size for part in plain),
            plain,
            None,
            self.token,
            self.exclusive,
            self.s3_arguments,
        )

    def _glue(
        self,
        client: Any,
        separator: bytes,
        progress: Callable[[int], object] | None,
        s3_arguments: Mapping[str, Any],
    ) -> Glue:
        s3, arguments = _checked(client, {**self.s3_arguments, **s3_arguments})
        arguments.refuse_late_ones()
        algorithm = named(self.checksum) if self.checksum else None
        store = SegmentStore(s3, self.bucket, self.key, arguments=arguments, algorithm=algorithm)
        return Glue(store, self.upload_id, separator, progress)

    def _publish(
        self, parts: Iterable[Receipt], checksum: str | None, client: Any, s3_arguments: Mapping[str, Any]
    ) -> UploadResult:
        result = self._pending(parts).commit(client=client, **s3_arguments)
        return dataclasses.replace(result, checksum=checksum)

    def _in_order(self, receipts: Iterable[SegmentReceipt]) -> list[SegmentReceipt]:
        found: dict[int, SegmentReceipt] = {}
        for receipt in receipts:
            if receipt.upload_id != self.upload_id:
                raise ValueError(f"the receipt of segment {receipt.number} is of another upload, {receipt.upload_id}")
            if found.setdefault(receipt.number, receipt) != receipt:
                raise ValueError(f"there are two receipts of segment {receipt.number}, of different parts")
        if missing := set(range(self.segments)) ^ found.keys():
            raise ValueError(f"the receipts are not those of segments 0 to {self.segments - 1}: see {sorted(missing)}")
        return [receipt for _, receipt in sorted(found.items())]


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

    The object is what the producers write, laid end to end in their order. If one of them raises, or its worker dies,
    or this process is interrupted, nothing is published, and the upload is aborted.

    Parameters:
        producers: callables that the executor can pickle. Each is called on a worker, perhaps more than once, with a
            `SegmentWriter`, which takes bytes and text as any writer does. They are taken from the iterable as they are
            needed.
        executor: its ``submit`` returns a ``concurrent.futures.Future``.
        client: makes a boto3 S3 client, with ``request_checksum_calculation="when_required"``; called once here and
            once for each segment. The executor pickles it too. None: the client that writers share.
        header, footer: what stands before and behind all segments.
        separator: what stands between two segments that are not empty.
        compression: "gzip", "bz2", "xz" or "zstd", for each segment by itself; the object is unpacked as a whole.
        window: so many segments are under way or wait for one before them, each in up to 10 MiB of this process's
            memory. More workers than that have nothing to do.
        progress: called with a number of bytes when a segment's parts, or those that join segments, are in S3.
        encoding, max_concurrency, max_memory: of each segment's writer; memory is that of its worker.
        part_size, expected_size, checksum, exclusive, commit_token, **s3_arguments: as in `SegmentedUpload.begin`.

    Raises TypeError or ValueError for an impossible parameter, before S3 is asked; what a producer has raised, or the
    executor if a worker died; and what `PendingUpload.commit` raises. Whatever could not be aborted is named in a note.

    """
    how_many = len(producers) if isinstance(producers, Sized) else None
    if not isinstance(window, int) or window < 1:
        raise ValueError(f"window={window!r} must be a number of segments, 1 or more")
    if compression is not None and compression not in FORMATS:
        raise ValueError(f"compression={compression!r} is neither None nor one of {', '.join(FORMATS)}")
    if client is not None and not callable(client):
        raise TypeError(f"client must be what makes a client, since one can't be pickled; not {type(client).__name__}")
    packed = [_packed(text, encoding, compression) for text in (header, separator, footer)]
    s3 = client() if client else None
    upload = SegmentedUpload.begin(
        bucket,
        key,
        segments=MAX_SEGMENTS if how_many is None else min(max(how_many, 1), MAX_SEGMENTS),
        client=s3,
        part_size=part_size,
        expected_size=expected_size,
        checksum=checksum,
        exclusive=exclusive,
        commit_token=commit_token,
        **s3_arguments,
    )
    of_parts = {name: value for name, value in s3_arguments.items() if name.startswith("SSECustomer")}
    options = {
        "max_concurrency": max_concurrency,
        "max_memory": max_memory,
        "encoding": encoding,
        **({"compression": compression} if compression else {}),
        **of_parts,
    }
    run = _Run(executor, _Call(client, options), window)
    try:
        with upload._glue(s3, packed[1], progress, of_parts) as glue:
            glue.add(packed[0])
            run.write(upload, producers, how_many, glue)
            glue.add(packed[2])
            parts = glue.finish()
        return upload._publish(parts, glue.checksum, s3, of_parts)
    except BaseException as error:
        run.cancel()
        _remove(upload, error, s3, of_parts)
        if run.wait(_PATIENCE_SECONDS):
            _remove(upload, error, s3, of_parts)
        raise


@dataclass(frozen=True)
class _Call:
    """What a worker does, as the executor pickles it."""

    client: Callable[[], Any] | None
    options: Mapping[str, Any]

    def __call__(self, segment: Segment, producer: Producer) -> SegmentReceipt:
        kind = CompressingSegmentWriter if "compression" in self.options else SegmentWriter
        with kind(segment, client=self.client() if self.client else None, **self.options) as stream:
            producer(stream)
        return stream.receipt


class _Run:
    """The segments that an executor is at work on, and those that wait for one before them."""

    def __init__(self, executor: Executor, call: _Call, window: int) -> None:
        self._executor = executor
        self._call = call
        self._window = window
        self._numbers = Numbers(window)
        self._started = self._taken = 0
        self._futures: dict[int, Future[SegmentReceipt]] = {}
        self._ready: dict[int, SegmentReceipt] = {}
        self._ended: SimpleQueue[int] = SimpleQueue()

    def write(self, upload: SegmentedUpload, producers: Iterable[Producer], how_many: int | None, glue: Glue) -> None:
        """Have all segments written, and ``glue`` take them."""
        for number, producer in enumerate(producers):
            if not callable(producer):
                raise TypeError(f"producers must be callable, but number {number} is a {type(producer).__name__}")
            self._take_until(self._window - 1, glue)
            to_come = None if how_many is None else how_many - number
            if self._numbers.should_wait(to_come):
                self._take_until(0, glue)
                self._numbers.begin_anew()
            share = self._numbers.share(to_come)
            if share < LEAST:
                raise ObjectTooLargeError(
                    f"s3://{upload.bucket}/{upload.key} does not fit into {MAX_PARTS:,} parts: make fewer segments, or "
                    "set a larger part_size",
                    upload.bucket,
                    upload.key,
                )
            self._start(upload._segment(number, self._numbers.take(share), share), producer)
        self._take_until(0, glue)

    def _start(self, segment: Segment, producer: Producer) -> None:
        self._futures[segment.number] = future = self._executor.submit(self._call, segment, producer)
        self._started += 1
        future.add_done_callback(lambda _: self._ended.put(segment.number))

    def _take_until(self, most: int, glue: Glue) -> None:
        """Wait until at most ``most`` segments are under way. Raises what a segment has raised, or its executor."""
        while self._started - self._taken > most:
            number = self._ended.get()
            self._ready[number] = self._futures.pop(number).result()
            while self._taken in self._ready:
                receipt = self._ready.pop(self._taken)
                self._taken += 1
                glue.take(receipt)
                self._numbers.use(glue.last_number, 1 + len(receipt.parts))

    def cancel(self) -> None:
        """Begin no segment any more."""
        self._futures = {number: future for number, future in self._futures.items() if not future.cancel()}

    def wait(self, seconds: float) -> bool:
        """Wait so long for the segments that are under way; whether there were any."""
        were_there, deadline = bool(self._futures), time.monotonic() + seconds
        while self._futures and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._futures.pop(self._ended.get(timeout=left), None)
        return were_there


def _remove(upload: SegmentedUpload, error: BaseException, client: Any, s3_arguments: Mapping[str, Any]) -> None:
    """Abort after ``error``, which is told what came of that."""
    try:
        if upload.abort(client=client, **s3_arguments):
            error.add_note(f"upload {upload.upload_id} of s3://{upload.bucket}/{upload.key} was aborted")
        if isinstance(error, NotCommittedError):
            error.upload_id = None
    except NotCommittedError as left:
        error.add_note(str(left.strerror))
    except BaseException as interrupt:
        interrupt.add_note(f"upload {upload.upload_id} of s3://{upload.bucket}/{upload.key} may be left: abort it")
        raise


def _checked(client: Any, s3_arguments: Mapping[str, Any]) -> tuple[Any, Arguments]:
    s3 = chosen_for_segments(client)
    return s3, Arguments(s3.meta.service_model, s3_arguments)


def _created(store: Store) -> str:
    """The id of a new upload."""
    try:
        return store.create()
    except Exception:
        raise
    except BaseException as interrupt:
        interrupt.add_note(store.lost_upload)
        raise


def _first_part_size(part_size: int, expected_size: int | None, segments: int) -> int:
    """Bytes in the first part of a segment, if all of them together are to hold ``expected_size``; ValueError if they
    can't.
    """
    make_plan(part_size=part_size, max_concurrency=1, max_memory=None, expected_size=expected_size, equal_parts=False)
    least = -(-(expected_size or 0) // ((NUMBERS - segments) * MIB)) * MIB
    if least > MAX_PART_BYTES:
        raise ValueError(
            f"expected_size={expected_size} does not fit into segments={segments}, each of which takes one of S3's "
            "part numbers: make fewer of them"
        )
    return max(part_size, least)


def _packed(text: bytes | str, encoding: str | None, compression: str | None) -> bytes:
    """A header, separator or footer as it is in the object."""
    data = text.encode(encoding or "utf-8") if isinstance(text, str) else bytes(text)
    if not data or compression is None:
        return data
    compressor = FORMATS[compression]()
    return compressor.compress(data) + compressor.flush()
