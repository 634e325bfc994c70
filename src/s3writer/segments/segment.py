"""One segment of an object that many machines write: its place in an upload of the driver's, and the writer for it.

S3 puts an object together from parts that may come from anywhere, in the order of their numbers. So each segment is
given numbers of its own beforehand, and its worker sends parts under them without asking anybody. Only the last part of
an object may be smaller than 5 MiB, and no worker knows what stands before its own bytes: it keeps the first 5 MiB (the
*head*) and what is left at its end (the *tail*, less than 5 MiB). Both go to the driver, which makes parts of the ends
of neighbours.

A segment that turns out short leaves numbers unused. S3 takes such gaps only if the parts have no checksums of its
newer kinds (API reference, CompletedPart). So each part goes with its MD5, which S3 compares with what it has received,
and the CRC, of which the whole object's is combined, stays in the receipt.

Parts grow: as those of any upload while memory is cheap, then so that the last of ``parts`` is S3's largest,

```text
size(n) = max(grown(n), part_size * (5 GiB / part_size) ** ((n - 1) / (parts - 1)))
```

which holds ``parts * 5 GiB / ln(5 GiB / part_size)`` bytes or more: 0.7 GiB a number with parts of 5 MiB, and nearly 5
with larger ones. If it is known how long the object will be, the first three quarters of a segment's parts are of one
size, and only what it has beyond its even share is in growing ones.
"""

import base64
import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from s3writer._errors import ObjectTooLargeError
from s3writer._file.compression import CompressingWriter
from s3writer._file.writer import MultipartUploadWriter
from s3writer._log import log_end, warn
from s3writer._s3 import client as _client
from s3writer._s3.arguments import PART
from s3writer._s3.body import Body
from s3writer._s3.calls import Store
from s3writer._s3.checksums import MD5, Digest
from s3writer._upload.lifecycle import Receipt, State
from s3writer._upload.pace import Pace
from s3writer._upload.part import PartBuffer
from s3writer._upload.plan import MAX_PART_BYTES, MIN_PART_BYTES, Plan
from s3writer._upload.upload import STOP_SECONDS, Upload
from s3writer.pending import check_customer_key

#: What the log says of a segment where it says this of an upload.
_OUTCOMES = {State.PREPARED.value: "sent", State.ABORTED.value: "failed"}
#: What was settled when the upload began, and can't be said again of one of its segments.
_SETTLED = {
    "bucket",
    "checksum",
    "commit_token",
    "equal_parts",
    "exclusive",
    "expected_size",
    "key",
    "on_error",
    "part_size",
}


@dataclass(frozen=True)
class Segment:
    """Where the bytes of one segment go. Plain data: it pickles, and holds no secret.

    Attributes:
        bucket: where the object will be.
        key: its name there.
        upload_id: the upload of which it is a segment.
        number: which one, counted from 0.
        first: the part number that is left free for what stands before its own parts; these are the ``parts``
            numbers after it.
        part_size: bytes in the first of them.
        steady: how many of them are no larger than that.
        checksum: the name of the CRC, or None.
        s3_arguments: those that parts need, without the key of SSE-C.

    """

    bucket: str
    key: str
    upload_id: str
    number: int
    first: int
    parts: int
    part_size: int = MIN_PART_BYTES
    steady: int = 0
    checksum: str | None = None
    s3_arguments: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SegmentReceipt:
    """What became of a segment. Plain data: it pickles, and goes to JSON and back.

    Attributes:
        upload_id: of which upload.
        number: which segment, counted from 0.
        parts: those that S3 has.
        head: what stands before them, 5 MiB at the most.
        tail: what stands behind them, less than 5 MiB.

    """

    upload_id: str
    number: int
    parts: tuple[Receipt, ...] = field(repr=False, hash=False)
    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """The segment's bytes."""
        return len(self.head) + sum(part.size for part in self.parts) + len(self.tail)

    def to_json(self) -> str:
        """All of it as a JSON object, for `from_json`; up to 14 MB, as text."""
        ends = {name: base64.b64encode(getattr(self, name)).decode() for name in ("head", "tail")}
        return json.dumps({**dataclasses.asdict(self), **ends})

    @classmethod
    def from_json(cls, text: str | bytes) -> "SegmentReceipt":
        """What `to_json` has made; else ValueError."""
        try:
            given = json.loads(text)
            given["parts"] = tuple(Receipt(**part) for part in given["parts"])
            given.update((name, base64.b64decode(given[name], validate=True)) for name in ("head", "tail"))
            receipt = cls(**given)
            if not isinstance(receipt.upload_id, str) or type(receipt.number) is not int:
                raise ValueError("it says of no segment what it is of")
            return receipt
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no SegmentReceipt: {error}") from error


@dataclass(frozen=True, slots=True)
class SegmentPlan(Plan):
    """The sizes in bytes of a segment's own ``parts``; the first ``steady`` ones don't grow. They depend on nothing
    else: a segment that is run twice must be cut into the same parts.
    """

    parts: int
    steady: int

    adapts: ClassVar[bool] = False

    def size(self, number: int) -> int:
        """Bytes in the segment's own part ``number``, counted from 1."""
        if number <= self.steady:
            return min(self.part_size, self.ceiling)
        growing = self.parts - self.steady
        progress = min(1.0, (number - self.steady - 1) / (growing - 1)) if growing > 1 else 1.0
        demanded: int = round(self.part_size * (MAX_PART_BYTES / self.part_size) ** progress)
        return min(max(Plan.size(self, number), demanded), self.ceiling)


class SegmentStore(Store):
    """The calls of an upload whose part numbers may have gaps. The segment's own parts come after number ``first``."""

    first = 0

    def upload_part(
        self,
        upload_id: str,
        number: int,
        pieces: Sequence[memoryview],
        digest: Digest | None,
        check: Callable[[], None],
    ) -> Receipt:
        """Send part ``number`` with its MD5; the CRC is in the receipt alone."""
        checksums = self._checksums(pieces, digest)
        proof = {"ContentMD5": _md5(pieces)} if checksums else {}
        body = Body(pieces, check)
        answer = self._send_part(upload_id, self.first + number, body, proof)
        return Receipt(number, len(body), answer.get("ETag", ""), checksums)


class SegmentUpload(Upload):
    """A segment's share of an upload that began elsewhere, and is ended there."""

    _store: SegmentStore
    _segment: Segment
    _head: bytes | None = None
    _tail = b""

    def join(self, segment: Segment) -> None:
        """Send parts to where ``segment`` says."""
        self._segment = segment
        plan = dataclasses.asdict(self._pace.plan)
        self._pace = Pace(SegmentPlan(**plan, parts=segment.parts, steady=segment.steady))
        self._store.first = segment.first
        self.upload_id = segment.upload_id

    @property
    def kept(self) -> int:
        """Bytes that were not sent, but kept for the driver."""
        return len(self._head or b"") + len(self._tail)

    def room(self) -> int:
        """The size in bytes of the head, then of the part that is next to be filled, then of the tail."""
        is_part = self._head is not None and self.session.next_part() <= self._segment.parts
        return super().room() if is_part else MIN_PART_BYTES

    def send(self, buffer: PartBuffer) -> PartBuffer:
        """Keep the head; send all others."""
        if self._head is None:
            self._keep_head(buffer)
            return PartBuffer()
        self._start(buffer)
        return self._empty_buffer()

    def finish(self, rest: PartBuffer) -> SegmentReceipt:
        """Wait until S3 has all parts; ``rest`` is one more, or goes to the driver."""
        self.session.move(State.COMMITTING)
        try:
            if self._head is None:
                self._keep_head(rest)
            elif rest.size >= MIN_PART_BYTES:
                self._start(rest)
            else:
                self._tail = _joined(rest)
            self._collect(0)
            where = self._segment
            parts = (dataclasses.replace(part, number=where.first + part.number) for part in self.session.manifest())
            receipt = SegmentReceipt(where.upload_id, where.number, tuple(parts), self._head or b"", self._tail)
        except BaseException as error:
            self.fail(error)
            raise
        self._end(State.PREPARED, None)
        return receipt

    def _news(self) -> None:
        """Nothing: what becomes of the upload is not known here."""

    def _keep_head(self, buffer: PartBuffer) -> None:
        self._head = _joined(buffer)
        self._digest = self._store.start_digest()

    def _check_for_room(self) -> None:
        if self.session.next_part() > self._segment.parts:
            raise ObjectTooLargeError(
                f"segment {self._segment.number} of {self._store.url} does not fit into its {self._segment.parts} "
                f"parts, of which the last was {self._pace.size(self._segment.parts):,} bytes: make more of fewer "
                "bytes, or set expected_size, or a larger max_memory or part_size",
                *self._address,
            )

    def _log_end(self, outcome: str) -> None:
        """Of the segment: the upload goes on."""
        said = f"segment {self._segment.number} {_OUTCOMES.get(outcome, outcome)}"
        size, parts = self.session.size + self.kept, self.session.next_part() - 1
        log_end(said, *self._address, self.upload_id, size=size, parts=parts, began=self._began)

    def _remove(self, _upload_id: str) -> bool:
        """Nothing but to let no part be sent any more: other segments need the upload."""
        if under_way := self._sender.stop(STOP_SECONDS):
            said = f"segment {self._segment.number} of {self._store.url} has failed with {under_way} parts under way"
            warn(f"{said}; upload {self.upload_id} may have to be aborted twice", self.extra())
        return True


class SegmentWriter(MultipartUploadWriter):
    """A binary file, write only, whose bytes become one ``segment`` of an object.

    It does all that a `MultipartUploadWriter` does, but for publishing: once it is closed, ``receipt`` is what the
    driver needs for that. If anything goes wrong there is none, and nothing becomes of the bytes. A segment may be
    written again, also while another run of it is going on: the driver commits the parts of one run, and S3 refuses
    parts that another one has overwritten with other bytes.

    Parameters:
        segment: which one, from the driver.
        **options: those of `MultipartUploadWriter` that were not settled when the upload began: ``client``,
            ``max_concurrency``, ``max_memory``, ``encoding``, ``progress`` (which is told of parts, not of what goes to
            the driver), and of S3's arguments those that go with parts, such as ``SSECustomerKey``.

    Raises TypeError or ValueError for a wrong option, and if ``client`` adds checksums to parts.

    """

    _store_type = SegmentStore
    _upload_type = SegmentUpload
    _upload: SegmentUpload

    def __init__(self, segment: Segment, **options: Any) -> None:
        options["client"] = s3 = chosen_for_segments(options.get("client"))
        of_parts = s3.meta.service_model.operation_model(PART).input_shape.members.keys()
        late = {name for name in options if name[:1].isupper() and name not in of_parts}
        if settled := options.keys() & _SETTLED | late:
            raise TypeError(f"{', '.join(sorted(settled))} can't be given: it was settled when the upload began")
        check_encoding(options.get("encoding"))
        check_customer_key(segment.key, segment.s3_arguments, options)
        super().__init__(
            segment.bucket,
            segment.key,
            part_size=segment.part_size,
            checksum=segment.checksum,
            commit_token=False,
            **{**{name: value for name, value in segment.s3_arguments.items() if name in of_parts}, **options},
        )
        self._receipt: SegmentReceipt | None = None
        self._upload.join(segment)

    @property
    def receipt(self) -> SegmentReceipt:
        """What the driver needs to commit the segment; ValueError before it was closed, or if it failed."""
        if self._receipt is None:
            raise ValueError(f"{self!r} has no receipt: it is not closed, or failed, or was closed by a finaliser")
        return self._receipt

    def commit(self) -> NoReturn:
        """The driver does that, with all segments."""
        raise io.UnsupportedOperation("commit: close the segment, and commit the object with its receipt")

    def prepare(self) -> NoReturn:
        """There is no way: see `commit`."""
        raise io.UnsupportedOperation("prepare: close the segment, and prepare the object with its receipt")

    @classmethod
    def resume(cls, *_: Any, **__: Any) -> NoReturn:
        """There is no way: what a run of a segment has sent is of no use to another one."""
        raise io.UnsupportedOperation("resume: write the segment anew")

    @property
    def _size(self) -> int:
        return super()._size + self._upload.kept

    def _commit(self) -> None:
        self._receipt = self._upload.finish(self._take_rest())


class CompressingSegmentWriter(SegmentWriter, CompressingWriter):
    """A `SegmentWriter` with the option ``compression``: "gzip", "bz2", "xz" or "zstd". Segments, each compressed by
    itself, are unpacked as a whole; one of which nothing was written is empty.
    """

    def _take_rest(self) -> PartBuffer:
        rest = super()._take_rest()
        return rest if self._taken else PartBuffer()


def _joined(buffer: PartBuffer) -> bytes:
    with buffer.pieces() as pieces:
        return b"".join(pieces)


def _md5(pieces: Sequence[memoryview]) -> str:
    """As S3 takes it."""
    digest = MD5.start()
    for piece in pieces:
        digest.update(piece)
    return digest.value()


def check_encoding(encoding: str | None) -> None:
    """ValueError if there is none of that name, or if it would begin each segment with a byte order mark."""
    try:
        mark = "".encode("utf-8" if encoding is None else encoding)
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r} can't be used: {error}") from None
    if mark:
        raise ValueError(
            f"encoding={encoding!r} would put a byte order mark before each segment: take utf-16-le or utf-8"
        )


def chosen_for_segments(client: Any) -> Any:
    """``client``, or the default one for None; TypeError or ValueError if it is none that can write segments."""
    s3 = _client.chosen(client)
    if s3.meta.config.request_checksum_calculation != "when_required":
        raise ValueError(
            "client must be made with Config(request_checksum_calculation='when_required'): with the checksums that it "
            "adds to parts now, S3 takes no gaps between the numbers of one segment and the next"
        )
    return s3
