"""A part's bytes as botocore and its HTTP client want to read them."""

import string
import time
from collections.abc import Callable
from typing import Any

#: About how much of a part is handed to the socket at once to begin with. A socket's timeout (botocore's are 60
#: seconds) counts for the whole slice, so on a slow line slices must be small; on a fast one large ones cost less.
_SLICE_BYTES = 256 * 1024
_MAX_SLICE_BYTES = 1024 * 1024
#: A slice is up to twice as large as the last one if that was sent within this time, else half as large.
_SLICE_SECONDS = 0.2


class Body:
    """A part's bytes as the file that botocore reads, in large pieces and without a copy.

    ``read`` hands out slices of its own size if it is asked for less: http.client asks for 8 KiB, urllib3 for 16 KiB,
    and either sends what it gets. ``check`` is called before each slice and may raise to stop the sending.
    ``handed_over`` turns true once all bytes were given out to be sent, and not to be hashed for the signature: that
    is what is read between ``begin_sending`` and the ``seek`` before the next attempt. (awscrt's signer hashes with
    ``readinto``, which nothing else uses.) ``lost_answers`` turns true if nothing came back after that.
    """

    def __init__(self, data: memoryview, check: Callable[[], None]) -> None:
        self._data = data
        self._check = check
        self._position = 0
        self._slice_bytes = _SLICE_BYTES
        self._slice_began = time.monotonic()
        self._is_sending = False
        self.handed_over = False
        self.lost_answers = False

    def __len__(self) -> int:
        return len(self._data)

    def begin_sending(self) -> None:
        self._is_sending = True

    def read(self, size: int | None = -1) -> bytes | memoryview:
        self._check()
        start, reads_all = self._position, size is None or size < 0
        self._position = len(self._data)
        if size is not None and not reads_all:
            self._position = min(start + self._next_slice(size), self._position)
        if self._is_sending and self._position == len(self._data):
            self.handed_over = True
        piece = self._data[start : self._position]
        return piece.tobytes() if reads_all else piece

    def readinto(self, target: memoryview) -> int:
        piece = self._data[self._position : self._position + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._is_sending = False
        self._slice_bytes = _SLICE_BYTES
        self._position = (0, self._position, len(self._data))[whence] + offset
        return self._position

    def _next_slice(self, least: int) -> int:
        began, self._slice_began = self._slice_began, time.monotonic()
        was_fast = self._slice_began - began < _SLICE_SECONDS
        wanted = self._slice_bytes * 2 if was_fast else self._slice_bytes // 2
        self._slice_bytes = max(least, min(wanted, _MAX_SLICE_BYTES))
        return self._slice_bytes


def begin_sending(request: Any, **_: Any) -> None:
    """Called by botocore when a request is signed and about to go out."""
    body = _unwrapped(request.body)
    if isinstance(body, Body):
        body.begin_sending()


def note_lost_answer(response: tuple[Any, dict[str, Any]] | None, request_dict: dict[str, Any], **_: Any) -> None:
    """Called by botocore after each attempt. What a server in between answers has no code, or its status for one."""
    body = _unwrapped(request_dict.get("body"))
    error = {"Code": ""} if response is None else response[1].get("Error")
    if isinstance(body, Body) and error is not None and not error.get("Code", "").strip(string.digits):
        body.lost_answers |= body.handed_over


def _unwrapped(body: Any) -> Any:
    """What is inside of botocore's AwsChunkedWrapper, if there is one."""
    return getattr(body, "_raw", body)
