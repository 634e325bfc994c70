"""Joins the ends of neighbouring segments until they are large enough, and sends them as parts."""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from s3writer._s3.body import Body
from s3writer._s3.calls import Calls
from s3writer._s3.checksums import Digest
from s3writer._s3.receipts import Receipt
from s3writer._upload.cleanup import STOP_SECONDS
from s3writer._upload.job_group import JobGroup
from s3writer._upload.plan import MIB
from s3writer.segments.segment import SegmentReceipt

#: Short segments are joined until they have this size or more. 10,000 parts of this size are 156 GiB.
_ENOUGH_BYTES = 16 * MIB
_IN_FLIGHT = 4


class Joiner:
    """Takes segments in order, and the bytes between them. Sends the parts that join them.

    A segment with parts of its own has a head of 5 MiB. So the part before its own parts is never too small.
    """

    def __init__(
        self,
        calls: Calls,
        upload_id: str,
        separator: bytes,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self._calls = calls
        self._upload_id = upload_id
        self._separator = separator
        self._progress = progress
        self._jobs: JobGroup[Receipt] = JobGroup()
        self._ends: list[bytes] = []
        self._held = 0
        self._follows = False
        self._parts: dict[int, Receipt] = {}
        #: The segment of each part that a segment has sent itself, by the part's number.
        self.segment_of: dict[int, int] = {}
        self.last_number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the parts in flight. After an exception, wait for them."""
        self._jobs.stop(STOP_SECONDS if exc else 0.0)

    @property
    def checksum(self) -> str | None:
        """The whole object's checksum, "NAME:base64"; for use after `finish`."""
        return self._calls.proof.of_whole(self._in_order())

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come yet."""
        return not self._held and not self.last_number

    def add(self, data: bytes) -> None:
        """Let ``data`` come next."""
        self._ends.append(data)
        self._held += len(data)

    def take(self, receipt: SegmentReceipt) -> None:
        """Let this segment come next."""
        if receipt.size:
            self.add(self._separator if self._follows else b"")
            self._follows = True
        self.add(receipt.head)
        if receipt.parts:
            self._send()
            self._record(receipt.parts)
            self.segment_of |= dict.fromkeys((part.number for part in receipt.parts), receipt.number)
        self.add(receipt.tail)
        if self._held >= _ENOUGH_BYTES:
            self._send()

    def finish(self) -> list[Receipt]:
        """Send the rest as the last part, and wait until S3 has all parts. Returns their receipts."""
        if self._held or self.is_empty:
            self._send()
        self._collect(0)
        return self._in_order()

    def _send(self) -> None:
        """Send the held bytes as a part with the next number. Each segment leaves one free before its own parts."""
        pieces, self._ends, self._held = [memoryview(end) for end in self._ends], [], 0
        self.last_number = number = self.last_number + 1
        digest = self._calls.proof.start_digest()
        self._collect(_IN_FLIGHT - 1)
        self._jobs.add(lambda: self._send_part(number, pieces, digest)).start()

    def _send_part(self, number: int, pieces: Sequence[memoryview], digest: Digest | None) -> Receipt:
        """Send one part; in its thread."""
        return self._calls.upload_part(self._upload_id, number, Body(pieces, self._jobs.check), pieces, digest)

    def _collect(self, most: int) -> None:
        """Wait until at most ``most`` parts are in flight, and record those that have arrived."""
        self._jobs.wait(most)
        self._record(self._jobs.take())

    def _record(self, parts: Iterable[Receipt]) -> None:
        for part in parts:
            self._parts[part.number] = part
            self.last_number = max(self.last_number, part.number)
            if self._progress:
                self._progress(part.size)

    def _in_order(self) -> list[Receipt]:
        return [part for _, part in sorted(self._parts.items())]
