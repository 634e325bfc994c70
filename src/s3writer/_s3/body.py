"""The file from which botocore and its HTTP client read a part's bytes."""

import itertools
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

#: The first slice that the socket gets is twice as large as this, or half as large if it had to wait. The second size
#: is the largest of all. A socket's timeout (60 seconds with botocore) applies to a whole slice, so slices must be
#: small on a slow line. On a fast line large slices cost less.
_SLICE_BYTES = 256 * 1024
_MAX_SLICE_BYTES = 1024 * 1024
#: If a slice was sent within this time, the next may be twice as large; else it is half as large. If the end of a piece
#: cut a slice short, the next one does not grow.
_SLICE_SECONDS = 0.2
#: Smaller bodies are sent without asking S3 first: an answer would take longer than they do. AWS's SDKs for Go and
#: Kotlin take the same size (their setting ``ContinueHeaderThresholdBytes``).
ASKS_FROM_BYTES = 2 * 1024 * 1024


class Body:
    """A part's bytes as the file that botocore reads.

    http.client asks for 8 KiB at a time and urllib3 for 16 KiB, but both send whatever they get. So ``read`` returns
    larger slices. Only at the end does it return less than was asked for: botocore's ``AwsChunkedWrapper`` makes one
    chunk of each read, and S3 allows only the last chunk to be short.

    ``check`` is called before each slice, and may raise to stop the sending. ``asks_first`` says whether botocore asks
    S3, and waits for the answer, before it sends the bytes.
    """

    def __init__(self, pieces: Sequence[memoryview], check: Callable[[], object] = lambda: None) -> None:
        self._pieces = pieces
        self._ends = list(itertools.accumulate(map(len, pieces)))
        self._check = check
        self._position = 0
        self._slice_bytes = self._handed_out = _SLICE_BYTES
        self._slice_began = time.monotonic()
        self._is_sending = self._was_read = False
        #: How often botocore was about to send it, and how many of these attempts read the last byte.
        self.attempts = self.whole_attempts = 0
        self.asks_first = len(self) >= ASKS_FROM_BYTES

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def may_have_arrived(self) -> bool:
        """Whether S3 may have received all bytes in any attempt.

        That is so if an attempt has read the last byte. botocore also reads the bytes before `begin_sending`, to hash
        them for the signature; these reads don't count. But if `begin_sending` was never called, nobody can tell the
        reads apart, so any read of the last byte counts.
        """
        return self.whole_attempts > 0 or (self._was_read and not self.attempts)

    def begin_sending(self) -> None:
        """Called when an attempt is signed and about to go out."""
        self.attempts += 1
        self._is_sending = True

    def read(self, size: int | None = -1) -> bytes | memoryview:
        """The next slice: at least ``size`` bytes, or all that are left. After the last byte ``check`` is not called
        any more, so that S3's answer is not lost.
        """
        if self._position < len(self) or not self._was_read:
            self._check()
        if size is None or size < 0:
            data: bytes | memoryview = bytes(self._gather(len(self), len(self)))
        else:
            data = self._gather(size, self._next_slice(size))
        self._handed_out = len(data)
        if self._position == len(self):
            self._was_read = True
            self.whole_attempts += self._is_sending
            self._is_sending = False
        return data

    def readinto(self, target: memoryview) -> int:
        """Fill ``target``. Only awscrt's signer calls this, to hash."""
        count = 0
        while piece := self._next(len(target) - count):
            target[count : count + len(piece)] = piece
            count += len(piece)
        return count

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position. Reads from there count as sending only after `begin_sending`."""
        self._is_sending = False
        self._slice_bytes = self._handed_out = _SLICE_BYTES
        self._position = (0, self._position, len(self))[whence] + offset
        return self._position

    def _gather(self, least: int, most: int) -> bytes | memoryview:
        """The next bytes: up to ``most`` of one piece. If the piece has fewer than ``least``, more pieces follow."""
        found = [self._next(most)]
        count = len(found[0])
        while count < least and (piece := self._next(least - count)):
            found.append(piece)
            count += len(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def _next(self, most: int) -> memoryview:
        """The next bytes of one piece, at most so many."""
        index = bisect_right(self._ends, self._position)
        if index == len(self._ends):
            return memoryview(b"")
        piece = self._pieces[index]
        start = self._position - self._ends[index] + len(piece)
        found = piece[start : start + most]
        self._position += len(found)
        return found

    def _next_slice(self, least: int) -> int:
        began, self._slice_began = self._slice_began, time.monotonic()
        wanted = self._slice_bytes
        if self._slice_began - began >= _SLICE_SECONDS:
            wanted = min(wanted, self._handed_out) // 2
        elif self._handed_out >= wanted:
            wanted *= 2
        self._slice_bytes = max(least, min(wanted, _MAX_SLICE_BYTES))
        return self._slice_bytes


def add_no_checksum(params: dict[str, Any], **_: Any) -> None:
    """Forget the checksum that botocore means to add. By default it adds a CRC32 to what has none."""
    if isinstance(params["body"], Body):
        params["context"].pop("checksum", None)


def begin_sending(request: Any, **_: Any) -> None:
    """Tell the request's body that it is about to go out."""
    body = _unwrapped(request.body)
    if isinstance(body, Body):
        body.begin_sending()


def send_at_once(request: Any, **_: Any) -> None:
    """Don't ask S3 first if the body does not want it. botocore calls this when it has made a request, before it signs
    it.

    With ``Expect: 100-continue`` botocore asks S3 before it sends a body, and waits for the answer, but not longer than
    a second (RFC 9110, 10.1.1). That costs a round trip for each part. Once S3 has taken a part of an upload, it seldom
    refuses another. If it does, it closes the connection while the part is being sent, and its reason may be lost. So
    bytes that are sent again keep the header, and so do parts until S3 has taken one: without it, each upload that is
    refused would take retries from botocore's quota, which all uploads of the client share.
    """
    body = _unwrapped(request.data)
    is_first = request.context.get("retries", {}).get("attempt", 1) == 1
    if isinstance(body, Body) and not body.asks_first and is_first:
        del request.headers["Expect"]


def _unwrapped(body: Any) -> Any:
    """The file inside botocore's AwsChunkedWrapper; ``body`` itself if there is no wrapper."""
    return getattr(body, "_raw", body)
