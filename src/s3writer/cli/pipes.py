"""Reads a pipe or a file as its bytes come, and says so each second in which none do."""

import contextlib
import io
import os
import select
from abc import abstractmethod
from collections.abc import Callable
from queue import Empty, Queue
from typing import IO, Any

from s3writer._upload.jobs import Job

_IDLE_SECONDS = 1.0
_PIECE_BYTES = 1024 * 1024
_PIECES_AHEAD = 4


class Pipe(io.RawIOBase):
    """What comes out of ``file``, a pipe or a file of the system. ``idle`` is called each second in which nothing does.

    Each platform has its own way to wait, see `pipe`.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.idle: Callable[[], object] = bool
        #: How many bytes have come.
        self.size = 0
        self._file = file

    def readinto(self, target: Any, /) -> int:
        """Read what is there, or wait for it. Returns how many bytes, 0 at the end."""
        while (count := self._read(target)) is None:
            self.idle()
        self.size += count
        return count

    def end(self) -> None:
        """Read no more. Where pipes are polled, a program that goes on writing notices."""

    @abstractmethod
    def _read(self, target: Any) -> int | None:
        """Read into ``target``. Returns how many bytes, 0 at the end, or None if none have come for a second."""


class PolledPipe(Pipe):
    """Waits with ``poll``. It also waits where the descriptor was told not to block, which whoever shares the pipe may
    have done.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._poll = select.poll()
        self._poll.register(file.fileno(), select.POLLIN)

    def end(self) -> None:
        """Close the file, so that a program that goes on writing to it notices."""
        self._file.close()

    def _read(self, target: Any) -> int | None:
        if self._poll.poll(_IDLE_SECONDS * 1000):
            with contextlib.suppress(BlockingIOError):
                return os.readv(self._file.fileno(), [target])
        return None


class ThreadedPipe(Pipe):
    """Has a thread that reads ahead, where pipes can't be polled: on Windows."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._pieces: Queue[bytes | BaseException] = Queue(_PIECES_AHEAD)
        self._piece = memoryview(b"")
        self._is_at_end = False
        Job(self._read_ahead, "s3writer-pipe").start()

    def _read(self, target: Any) -> int | None:
        if not self._piece and not self._is_at_end:
            try:
                piece = self._pieces.get(timeout=_IDLE_SECONDS)
            except Empty:
                return None
            if isinstance(piece, BaseException):
                raise piece
            self._piece, self._is_at_end = memoryview(piece), not piece
        count = min(len(target), len(self._piece))
        target[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _read_ahead(self) -> None:
        piece = b"-"
        while piece:
            try:
                piece = os.read(self._file.fileno(), _PIECE_BYTES)
            except BaseException as error:
                self._pieces.put(error)
                return
            self._pieces.put(piece)


def pipe(file: IO[bytes]) -> Pipe:
    """``file`` as a `Pipe` of the kind that this platform has."""
    return PolledPipe(file) if hasattr(select, "poll") else ThreadedPipe(file)
