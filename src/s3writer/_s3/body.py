"""A part's bytes as botocore and its HTTP client want to read them."""

import itertools
import string
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

#: About how much of a part is handed to the socket at once to begin with. A socket's timeout (botocore's are 60
#: seconds) counts for the whole slice, so on a slow line slices must be small; on a fast one large ones cost less.
_SLICE_BYTES = 256 * 1024
_MAX_SLICE_BYTES = 1024 * 1024
#: A slice is up to twice as large as the last one if that was sent within this time, else half as large. One that was
#: cut short by the end of a piece is no reason for larger ones.
_SLICE_SECONDS = 0.2


class Body:
    """A part's bytes as the file that botocore reads, in large slices.

    ``read`` hands out slices of its own size if it is asked for less: http.client asks for 8 KiB, urllib3 for 16 KiB,
    and either sends what it gets. Less than it is asked for it hands out at the end alone: of each MiB that botocore's
    ``AwsChunkedWrapper`` reads it makes a chunk, and S3 takes a short one as the last one only. ``check`` is called
    before each slice and may raise to stop the sending. ``handed_over`` turns true once all bytes were given out to be
    sent, and not to be hashed for the signature: that is what is read between ``begin_sending`` and the ``seek`` before
    the next attempt. (awscrt's signer hashes with ``readinto``, which nothing else uses.) ``lost_answers`` turns true
    if nothing came back after that. ``asks_first`` says whether S3 is to be asked before anything is sent.
    """

    def __init__(self, pieces: Sequence[memoryview], check: Callable[[], None]) -> None:
        self._pieces = pieces
        self._ends = list(itertools.accumulate(map(len, pieces)))
        self._check = check
        self._position = 0
        self._slice_bytes = self._handed_out = _SLICE_BYTES
        self._slice_began = time.monotonic()
        self._is_sending = False
        self.asks_first = True
        self.handed_over = False
        self.lost_answers = False

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def begin_sending(self) -> None:
        self._is_sending = True

    def read(self, size: int | None = -1) -> bytes | memoryview:
        self._check()
        if size is None or size < 0:
            data: bytes | memoryview = bytes(self._gather(len(self), len(self)))
        else:
            data = self._gather(size, self._next_slice(size))
        self._handed_out = len(data)
        if self._is_sending and self._position == len(self):
            self.handed_over = True
        return data

    def readinto(self, target: memoryview) -> int:
        count = 0
        while piece := self._next(len(target) - count):
            target[count : count + len(piece)] = piece
            count += len(piece)
        return count

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._is_sending = False
        self._slice_bytes = self._handed_out = _SLICE_BYTES
        self._position = (0, self._position, len(self))[whence] + offset
        return self._position

    def _gather(self, least: int, most: int) -> bytes | memoryview:
        """The next bytes: at most ``most`` of a single piece, or ``least`` of several where that one has less."""
        found = [self._next(most)]
        count = len(found[0])
        while count < least and (piece := self._next(least - count)):
            found.append(piece)
            count += len(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def _next(self, most: int) -> memoryview:
        """The next bytes, at most so many and of a single piece."""
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


def begin_sending(request: Any, **_: Any) -> None:
    """Called by botocore when a request is signed and about to go out."""
    body = _unwrapped(request.body)
    if isinstance(body, Body):
        body.begin_sending()


def send_at_once(request: Any, **_: Any) -> None:
    """Called by botocore when it has made a request, before it signs it.

    With ``Expect: 100-continue`` botocore asks before it sends a body, and waits for the answer, or for a second (RFC
    9110, 10.1.1): a round trip a part. S3 seldom says no once it has taken a part of the same upload. If it does, it
    closes the connection while the part is on its way, and its reason may be lost; so before a part is sent again S3 is
    asked.
    """
    body = _unwrapped(request.data)
    is_first = request.context.get("retries", {}).get("attempt", 1) == 1
    if isinstance(body, Body) and not body.asks_first and is_first:
        del request.headers["Expect"]


def note_lost_answer(response: tuple[Any, dict[str, Any]] | None, request_dict: dict[str, Any], **_: Any) -> None:
    """Called by botocore after each attempt. What a server in between answers has no code, or its status for one."""
    body = _unwrapped(request_dict.get("body"))
    error = {"Code": ""} if response is None else response[1].get("Error")
    if isinstance(body, Body) and error is not None and not error.get("Code", "").strip(string.digits):
        body.lost_answers |= body.handed_over


def _unwrapped(body: Any) -> Any:
    """What is inside of botocore's AwsChunkedWrapper, if there is one."""
    return getattr(body, "_raw", body)
