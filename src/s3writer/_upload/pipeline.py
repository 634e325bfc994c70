"""Parts in flight: a full part goes in, an empty one comes out, and S3's receipts are recorded."""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s3writer._errors import ChecksumMismatchError, S3WriterError
from s3writer._log import facts, log
from s3writer._s3 import faults
from s3writer._s3.body import Body
from s3writer._s3.calls import Calls
from s3writer._s3.checksums import Digest
from s3writer._s3.operations import PART
from s3writer._s3.receipts import Receipt
from s3writer._upload.beginning import Beginning
from s3writer._upload.heap import give_back_after
from s3writer._upload.job_group import JobGroup
from s3writer._upload.ledger import Ledger
from s3writer._upload.pace import Arrival, Pace
from s3writer._upload.part import Part


@dataclass(frozen=True, slots=True)
class _Sent:
    """A part that S3 has, and when its thread began and ended."""

    receipt: Receipt
    part: Part
    attempts: int
    began: float
    ended: float


class Pipeline:
    """Sends the parts of one upload side by side. The thread that writes owns it.

    It calls ``progress`` with the number of bytes that S3 has acknowledged. Start ``beginning`` before the first part
    is sent: the part's thread waits for the upload's id.
    """

    def __init__(
        self,
        calls: Calls,
        pace: Pace,
        ledger: Ledger,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self.ledger = ledger
        self.beginning = Beginning(calls)
        self.calls = calls
        self._pace = pace
        self._progress = progress
        self.jobs: JobGroup[_Sent] = JobGroup()
        self._spare: list[Part] = []
        self._asks_first = True
        #: Whether the answer to an attempt of a part was lost, so that S3 may still be at work on it. Threads set it.
        self.may_land = False
        self.digest = calls.proof.start_digest()

    @property
    def upload_id(self) -> str | None:
        """The upload's id, None until it has begun."""
        return self.beginning.upload_id

    def facts(self, **others: Any) -> dict[str, Any]:
        """The ``extra`` of a log record about the upload, with ``others``."""
        return facts(*self.calls.address, self.upload_id, **others)

    @property
    def size(self) -> int:
        """The bytes of all parts that were sent."""
        return self.ledger.size

    @property
    def next_size(self) -> int:
        """The size in bytes of the part that is next to be filled."""
        return self._pace.size(self.ledger.next_part)

    def size_of(self, number: int) -> int:
        """The size in bytes of part ``number``."""
        return self._pace.size(number)

    @property
    def is_altered(self) -> bool:
        """Whether S3 has received other bytes than were sent."""
        return any(isinstance(failure, ChecksumMismatchError) for failure in self.jobs.failures)

    def update_digest(self, part: Part, piece: memoryview) -> None:
        """Digest the bytes that were put into ``part`` since the last call. ``piece`` is the end of them.

        They are still in the processor's cache. With a slow algorithm do nothing here: the threads that send the parts
        digest them, side by side. Digest the part's copy, not the caller's buffer, which the caller may change during
        the write; only ``bytes`` can't change.
        """
        algorithm = self.calls.proof.algorithm
        if self.digest is None or algorithm is None or not algorithm.outruns_memory:
            return
        if type(piece.obj) is bytes and self.digest.size + len(piece) == part.size:
            self.digest.update(piece)
            return
        with part.pieces(self.digest.size) as fresh:
            for each in fresh:
                self.digest.update(each)

    def forget_digest(self) -> None:
        """Begin the next part's digest anew."""
        self.digest = self.calls.proof.start_digest()

    def poll(self) -> None:
        """Record the parts that have arrived since the last call. Raise if a part has failed."""
        if self.jobs.has_ended:
            self.collect(self._pace.in_flight(self.ledger.next_part))

    def send(self, part: Part) -> None:
        """Wait until one more part may be in flight, and hand ``part`` to a thread."""
        number, digest = self.ledger.allot(part.size), self.digest
        self.digest = self.calls.proof.start_digest()
        self.collect(self._pace.most_in_flight - 1)
        self._pace.handed_over(number, time.monotonic())
        self.jobs.add(lambda: self._send_part(number, part, digest)).start()

    def empty_part(self) -> Part:
        """An empty part, once there is memory for it. A spare part is used again unless its memory is too large."""
        self.collect(self._pace.in_flight(self.ledger.next_part))
        while self._spare:
            if (spare := self._spare.pop()).most_copied <= self.next_size:
                return spare
        return Part()

    def collect(self, most: int) -> None:
        """Wait until at most ``most`` parts are in flight, and record those that have arrived; raise if one failed."""
        self.jobs.wait(most)
        self.beginning.settle()
        if self.upload_id is not None:
            self._pace.begun(self.beginning.seconds)
        for sent in self.jobs.take():
            receipt = sent.receipt
            about = self.facts(part=receipt.number, size=receipt.size)
            log(logging.DEBUG, "%s part %d: %d bytes", self.calls.url, receipt.number, receipt.size, extra=about)
            self._pace.arrived(Arrival(receipt.number - self.ledger.first, receipt.size, sent.began, sent.ended))
            self.ledger.record(receipt)
            self._asks_first = sent.attempts > 1
            self.acknowledge(receipt.size)
            with contextlib.suppress(BufferError):  # a view of its bytes is not released
                sent.part.reuse()
                self._spare.append(sent.part)
        del self._spare[max(0, most - self.jobs.in_flight) + 1 :]

    def acknowledge(self, size: int) -> None:
        """Tell ``progress`` of bytes that S3 has."""
        if self._progress:
            self._progress(size)

    def acknowledge_published(self, size: int) -> None:
        """Tell ``progress`` of a published object. If it raises, log that: the object stays published."""
        if self._progress is None:
            return
        try:
            self._progress(size)
        except Exception:
            said = "progress raised after %s was published"
            log(logging.ERROR, said, self.calls.url, extra=self.facts(), exc_info=True)

    def let_go(self) -> None:
        """Let go of all memory; nothing is sent after this."""
        self._spare.clear()
        self.jobs.let_go()
        give_back_after(self.size)

    def _send_part(self, number: int, part: Part, digest: Digest | None) -> _Sent:
        """Send one part; in its thread."""
        body: Body | None = None
        try:
            upload_id = self.beginning.id_for_part(self.jobs.check)
            began = time.monotonic()
            with part.pieces() as pieces:
                body = Body(pieces, self.jobs.check)
                body.asks_first &= self._asks_first
                number_in_s3 = self.ledger.first + number
                receipt = self.calls.upload_part(upload_id, number_in_s3, body, pieces, digest)
        except BaseException as error:
            was_answered = isinstance(error, S3WriterError) and (
                error.__cause__ is None or faults.is_refusal(error.__cause__, PART)
            )
            if body is not None and body.may_have_arrived and not was_answered:
                self.may_land = True
            part.clear()  # an error that somebody keeps has frames, and they hold the part
            raise
        if body.whole_attempts > 1:
            self.may_land = True
        return _Sent(receipt, part, body.attempts, began, time.monotonic())
