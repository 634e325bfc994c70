"""Parts made of what segments leave over: the ends of neighbours, joined until they are large enough."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from s3writer._upload.lifecycle import Receipt
from s3writer._upload.plan import MIB
from s3writer._upload.sender import Sender
from s3writer._upload.upload import STOP_SECONDS
from s3writer.segments.segment import SegmentReceipt, SegmentStore

#: Short segments are joined up to this size, and then by one more. 10,000 parts of it are 156 GiB.
_ENOUGH_BYTES = 16 * MIB
_IN_FLIGHT = 4


class Glue:
    """Takes segments in their order, and bytes that stand between them.

    The head of a segment with parts of its own is 5 MiB long, so that what is joined before these is never too small.
    """

    def __init__(
        self,
        store: SegmentStore,
        upload_id: str,
        separator: bytes,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self._store = store
        self._upload_id = upload_id
        self._separator = separator
        self._progress = progress
        self._sender: Sender[Receipt] = Sender()
        self._ends: list[bytes] = []
        self._held = 0
        self._follows = False
        self._parts: dict[int, Receipt] = {}
        self.last_number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let no part be sent any more."""
        self._sender.stop(STOP_SECONDS if exc else 0.0)

    @property
    def checksum(self) -> str | None:
        """The whole object's, once all is there: "NAME:base64"."""
        return self._store.whole_checksum(self._in_order())

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
            self._keep(receipt.parts)
        self.add(receipt.tail)
        if self._held >= _ENOUGH_BYTES:
            self._send()

    def finish(self) -> list[Receipt]:
        """Send what is left over as the last part; all parts, once S3 has them."""
        if self._held or self.is_empty:
            self._send()
        self._collect(0)
        return self._in_order()

    def _send(self) -> None:
        """Make a part of what is held, under the next number: each segment has left one free before its own parts."""
        pieces, self._ends, self._held = [memoryview(end) for end in self._ends], [], 0
        self.last_number = number = self.last_number + 1
        store, upload_id, check, digest = self._store, self._upload_id, self._sender.check, self._store.start_digest()
        self._collect(_IN_FLIGHT - 1)
        self._sender.start(lambda: store.upload_part(upload_id, number, pieces, digest, check))

    def _collect(self, most: int) -> None:
        self._keep(self._sender.wait(most))

    def _keep(self, parts: Iterable[Receipt]) -> None:
        for part in parts:
            self._parts[part.number] = part
            self.last_number = max(self.last_number, part.number)
            if self._progress:
                self._progress(part.size)

    def _in_order(self) -> list[Receipt]:
        return [part for _, part in sorted(self._parts.items())]
