"""The writer of one segment: a `MultipartUploadWriter` whose upload ends in a receipt for the driver."""

import inspect
import io
import time
from collections.abc import Callable
from typing import Any, NoReturn, Unpack

from s3writer._errors import ObjectTooLargeError
from s3writer._file.compression import Compression, compressor
from s3writer._file.intake import encoding_named
from s3writer._file.stream import compressing
from s3writer._file.writer import MultipartUploadWriter
from s3writer._log import log_end, warn
from s3writer._s3 import client as clients
from s3writer._s3.arguments import Arguments, check_address
from s3writer._s3.calls import Calls
from s3writer._s3.operations import PART
from s3writer._s3.watching import watch
from s3writer._upload.cleanup import STOP_SECONDS
from s3writer._upload.destination import Destination
from s3writer._upload.ledger import Ledger
from s3writer._upload.lifecycle import State
from s3writer._upload.pace import Pace
from s3writer._upload.part import Part
from s3writer._upload.pipeline import Pipeline
from s3writer._upload.plan import FIRST_IN_FLIGHT, MIN_PART_BYTES, make_plan
from s3writer.options import CompressionFormat, PartArguments
from s3writer.pending import check_customer_key
from s3writer.segments.segment import Segment, SegmentPlan, SegmentReceipt, segment_proof

#: Options that were settled when the upload began, and can't be given for one of its segments.
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


class Ends:
    """A segment's bytes: first the head, then parts, then the tail. Head and tail are kept for the driver."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.head: bytes | None = None
        self.tail = b""
        self._pipeline = pipeline

    @property
    def size(self) -> int:
        """How many bytes were sent or kept."""
        return len(self.head or b"") + self._pipeline.size + len(self.tail)

    @property
    def next_size(self) -> int:
        """The size in bytes of what is filled next: the head, a part, or, once no part number is left, the tail."""
        is_part = self.head is not None and not self._pipeline.ledger.is_full
        return self._pipeline.next_size if is_part else MIN_PART_BYTES

    def poll(self) -> None:
        """Raise if a part has failed."""
        self._pipeline.poll()

    def update_digest(self, part: Part, piece: memoryview) -> None:
        """Digest what is new in ``part``; ``piece`` is the end of it. The head is no part, and needs no digest."""
        if self.head is not None:
            self._pipeline.update_digest(part, piece)


class SegmentUpload(Destination):
    """A segment's share of an upload that the driver has begun, and will end."""

    def __init__(
        self, segment: Segment, calls: Calls, plan: SegmentPlan, progress: Callable[[int], object] | None
    ) -> None:
        pipeline = Pipeline(calls, Pace(plan), Ledger(segment.first, segment.parts), progress=progress)
        pipeline.beginning.upload_id = segment.upload_id
        super().__init__(pipeline)
        watch(calls.client)
        self.sink = Ends(pipeline)
        self.receipt: SegmentReceipt | None = None
        self.result = None
        self._segment = segment
        self._began = time.monotonic()

    def send(self, part: Part) -> Part:
        """Keep the first part as the head, and send all others. Returns an empty part."""
        if self.sink.head is None:
            self.sink.head = _joined(part)
            return Part()
        self._send(part)
        return self.pipeline.empty_part()

    def commit(self, rest: Part) -> None:
        """Wait until S3 has all parts, and make the receipt. ``rest`` becomes the head, a last part, or the tail."""
        self.lifecycle.move(State.COMMITTING)
        if self.sink.head is None:
            self.sink.head = _joined(rest)
        elif rest.size >= MIN_PART_BYTES:
            self._send(rest)
        else:
            self.sink.tail = _joined(rest)
        self.pipeline.collect(0)
        parts = tuple(self.pipeline.ledger.manifest())
        segment = self._segment
        self.receipt = SegmentReceipt(segment.upload_id, segment.number, parts, self.sink.head, self.sink.tail)
        self._end(State.PREPARED, "sent")

    def fail(self, error: BaseException | None) -> None:
        """Stop the parts in flight, and wait for them. The upload stays in S3, since it is the driver's."""
        if self.is_ours and self.lifecycle.state in (State.OPEN, State.COMMITTING):
            self.lifecycle.move(State.ABORTING, error)
            self._give_up(STOP_SECONDS)

    def abort(self) -> None:
        """`fail` without an error, because the caller wants it."""
        self.fail(None)

    def abandon(self) -> str:
        """`fail` without waiting, for finalisers."""
        self.lifecycle.move(State.ABORTING)
        self._give_up(0.0)
        return ""

    def _give_up(self, timeout: float) -> None:
        if (in_flight := self.pipeline.jobs.stop(timeout)) or self.pipeline.may_land:
            said = f"segment {self._segment.number} of {self.calls.url} has failed with {in_flight} parts under way"
            warn(f"{said}; upload {self._segment.upload_id} may have to be aborted twice", self.extra)
        self._end(State.ABORTED, "failed")

    def _send(self, part: Part) -> None:
        if self.pipeline.ledger.is_full:
            raise ObjectTooLargeError(
                f"segment {self._segment.number} of {self.calls.url} does not fit into its {self._segment.parts} "
                f"parts, of which the last was {self.pipeline.size_of(self._segment.parts):,} bytes: make more of "
                "fewer bytes, or set expected_size, or a larger max_memory or part_size",
                *self.calls.address,
            )
        self.pipeline.send(part)

    def _end(self, state: State, outcome: str) -> None:
        self.lifecycle.move(state)
        self.pipeline.let_go()
        log_end(
            f"segment {self._segment.number} {outcome}",
            *self.calls.address,
            self._segment.upload_id,
            size=self.sink.size,
            parts=self.pipeline.ledger.parts,
            began=self._began,
        )


class SegmentWriter(MultipartUploadWriter):
    """A binary file, write only, whose bytes become one ``segment`` of an object.

    It takes what a `MultipartUploadWriter` takes, but does not publish: once it is closed, it has a ``receipt``, with
    which the driver publishes. If anything goes wrong, there is no receipt, and the bytes are not used. A segment may
    be written again, even while another run is still writing it: the driver commits the parts of one run. If another
    run has overwritten one of them with other bytes, S3 refuses the commit.

    Parameters:
        segment: the segment, from the driver.
        **options: those of `MultipartUploadWriter` that were not settled when the upload began: ``client``,
            ``max_concurrency``, which is 7 by default, ``max_memory``, ``encoding``, and ``progress``, which is called
            for parts but not for the bytes that go to the driver. Of S3's arguments, those that UploadPart takes, such
            as ``SSECustomerKey``.

    Raises TypeError or ValueError for a wrong option, and if ``client`` adds checksums to parts.

    """

    def __init__(
        self,
        segment: Segment,
        *,
        client: Any = None,
        max_concurrency: int = FIRST_IN_FLIGHT,
        max_memory: int | None = None,
        encoding: str | None = "utf-8",
        progress: Callable[[int], object] | None = None,
        **s3_arguments: Unpack[PartArguments],
    ) -> None:
        s3 = chosen_for_segments(client)
        of_parts = s3.meta.service_model.operation_model(PART.name).input_shape.members.keys()
        late = {name for name in s3_arguments if name[:1].isupper() and name not in of_parts}
        if settled := s3_arguments.keys() & _SETTLED | late:
            raise TypeError(f"{', '.join(sorted(settled))} can't be given: it was settled when the upload began")
        check_encoding(encoding)
        check_customer_key(segment.key, segment.s3_arguments, s3_arguments)
        check_address(segment.bucket, segment.key)
        given = {name: value for name, value in segment.s3_arguments.items() if name in of_parts} | s3_arguments
        plan = make_plan(part_size=segment.part_size, max_concurrency=max_concurrency, max_memory=max_memory)
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be callable, not {type(progress).__name__}")
        calls = Calls(
            s3,
            segment.bucket,
            segment.key,
            Arguments(s3.meta.service_model, given, _OWN_NAMES),
            segment_proof(segment.checksum),
        )
        self._segment_upload = SegmentUpload(segment, calls, SegmentPlan.of(plan, segment), progress)
        self._write_to(self._segment_upload, encoding)

    @property
    def receipt(self) -> SegmentReceipt:
        """What the driver needs to commit the segment. ValueError if the writer is not closed, or has failed."""
        if self._segment_upload.receipt is None:
            raise ValueError(f"{self!r} has no receipt: it is not closed, or failed, or was closed by a finaliser")
        return self._segment_upload.receipt

    def commit(self) -> NoReturn:
        """Raise io.UnsupportedOperation: only the driver can commit, with the receipts of all segments."""
        raise io.UnsupportedOperation("commit: close the segment, and commit the object with its receipt")

    def prepare(self) -> NoReturn:
        """Raise io.UnsupportedOperation: a segment can't be prepared by itself."""
        raise io.UnsupportedOperation("prepare: close the segment, and prepare the object with its receipt")

    @classmethod
    def resume(cls, *_: Any, **__: Any) -> NoReturn:
        """Raise io.UnsupportedOperation: a run of a segment can't use the parts of another run."""
        raise io.UnsupportedOperation("resume: write the segment anew")


class CompressingSegmentWriter(SegmentWriter):
    """A `SegmentWriter` with the option ``compression``: "gzip", "bz2", "xz" or "zstd". Each segment is compressed by
    itself, but the object can be unpacked as a whole. If nothing is written to a segment, it stays empty.
    """

    def __init__(self, segment: Segment, *, compression: CompressionFormat, **options: Any) -> None:
        stage = Compression(compressor(compression), keeps_empty=False)
        super().__init__(segment, **options)
        compressing(self, stage)


def _joined(part: Part) -> bytes:
    with part.pieces() as pieces:
        return b"".join(pieces)


def check_encoding(encoding: str | None) -> None:
    """ValueError for an unknown encoding, or for one that would begin each segment with a byte order mark."""
    encoding_named(encoding)
    if encoding is not None and "".encode(encoding):
        raise ValueError(
            f"encoding={encoding!r} would put a byte order mark before each segment: take utf-16-le or utf-8"
        )


def chosen_for_segments(client: Any) -> Any:
    """``client``, or the default client for None. TypeError or ValueError if it can't write segments."""
    s3 = clients.chosen(client)
    if s3.meta.config.request_checksum_calculation != "when_required":
        raise ValueError(
            "client must be made with Config(request_checksum_calculation='when_required'): with the checksums that it "
            "adds to parts now, S3 takes no gaps between the numbers of one segment and the next"
        )
    return s3


_OWN_NAMES = frozenset(inspect.signature(SegmentWriter).parameters)
