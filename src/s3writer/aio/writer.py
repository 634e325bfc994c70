"""The async writer: a `MultipartUploadWriter` whose waits happen in threads.

A write that fits into the room of the writer's fast path is done at once, in the event loop. All other calls are made
in a thread, one after the other, in the order of their arrival.

The thread that makes a call can't be interrupted. So if a task is cancelled meanwhile, the upload is given up as by a
finaliser: parts stop, and the thread's call fails. If the commit was sent by then, a note on the exception says what
became of the object.
"""

import asyncio
import codecs
import os
import sys
import weakref
from asyncio import CancelledError, Future
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from s3writer._errors import add_note
from s3writer._file.close_rule import CloseRule
from s3writer._file.intake import ROOM_BYTES
from s3writer._file.room import NoRoom
from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3.receipts import UploadResult
from s3writer._upload.lifecycle import State
from s3writer._upload.plan import MIB
from s3writer.aio.threads import start, turn
from s3writer.pending import PendingUpload

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Result = TypeVar("Result")

#: A longer write goes to the thread in pieces of this size, so that a cancelled task is soon heard.
_PIECE_BYTES = 8 * MIB
#: The default client has so many connections. If more parts are in flight, a writer that has one in flight waits.
_MOST_IN_FLIGHT = 64
_PAUSE_SECONDS = 0.01
#: After a cancellation, how long to wait for S3's answer to a commit that was sent.
_PATIENCE_SECONDS = 10.0

_writers: "weakref.WeakSet[AsyncWriter]" = weakref.WeakSet()


class AsyncWriter:
    """A binary file, write only, whose bytes become one S3 object when it is closed. `open` makes it.

    It keeps all promises of a `MultipartUploadWriter`. Several tasks may write: each `write` goes in as one piece, in
    the order of the calls. If a task is cancelled during a call, the upload is given up: nothing is published. If that
    happens after the commit was sent, a note on the ``CancelledError`` says what became of the object.

    Attributes:
        bucket, key: where the object is published.

    """

    def __init__(self, writer: MultipartUploadWriter, rule: CloseRule) -> None:
        self.bucket, self.key = writer._upload.calls.address
        self._writer = writer
        #: What was propagating when the writer was made, in the coroutine.
        self._rule = rule
        #: Calls that wait for their turn, the running one first.
        self._calls: deque[Future[None]] = deque()
        #: What a thread does for the running call.
        self._work: Future[Any] | None = None
        _writers.add(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """`close`. If the block raised, close without publishing."""
        self._rule.forget()
        if exc is None:
            await self.close()
        else:
            await self._give_up(exc)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._writer!r}>"

    @property
    def name(self) -> str:
        """``s3://bucket/key``."""
        return str(self._writer.name)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._writer.closed

    @property
    def result(self) -> UploadResult:
        """What was published. ValueError if nothing was, or nothing yet."""
        return self._writer.result

    @property
    def parts_in_flight(self) -> int:
        """How many parts are being sent just now."""
        return self._writer.parts_in_flight

    def tell(self) -> int:
        """The number of bytes written so far."""
        return self._writer.tell()

    async def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of ``data``. Don't change it before the call has returned. Waits while too many parts are in flight.

        Returns the number of bytes. Raises as `MultipartUploadWriter.write` does.
        """
        if type(data) is bytes and not self._calls and self._fits(data):
            return len(data)
        if isinstance(data, str):
            raise TypeError("write() takes bytes, not str: open the object in a text mode, such as 'w'")
        view = memoryview(data)
        if not view.c_contiguous:
            raise BufferError("write() takes C-contiguous buffers only")
        flat = view.cast("B") if view.nbytes else memoryview(b"")
        await self._in_turn(lambda: self._write(flat))
        return view.nbytes

    async def writelines(self, lines: "Iterable[ReadableBuffer]", /) -> None:
        """`write` each of them."""
        for line in lines:
            await self.write(line)

    async def commit(self) -> UploadResult:
        """Publish what was written, even if an exception is propagating, and close. Returns the result.

        Raises as `MultipartUploadWriter.commit` does.
        """
        return await self._in_turn(lambda: self._when_few_wait(self._writer.commit))

    async def prepare(self) -> PendingUpload:
        """Send everything and close, but don't publish yet. Any process can commit the `PendingUpload` later.

        If the task is cancelled, nobody gets the `PendingUpload`: it is aborted, or kept with ``on_error="keep"``.
        Raises as `MultipartUploadWriter.prepare` does.
        """
        made: list[PendingUpload] = []

        def prepare() -> PendingUpload:
            made.append(self._writer.prepare())
            return made[0]

        return await self._in_turn(lambda: self._when_few_wait(prepare), made)

    async def abort(self) -> None:
        """Close without publishing, and remove the upload. Does nothing if the writer is closed.

        It stops calls of other tasks that are running. Raises as `MultipartUploadWriter.abort` does.
        """
        upload = self._writer._upload
        if self._calls and not self.closed:
            upload.abandon()

        def abort() -> None:
            if upload.lifecycle.state is State.ABORTING:
                upload.fail(None)  # wait until it is removed
            self._writer.abort()

        await self._in_turn(lambda: self._in_thread(abort))

    async def close(self) -> None:
        """Publish the object, or abort if an exception is propagating. On a closed writer, do nothing.

        An exception counts if it was raised since the writer was made, also while an ``except`` block handles it.
        Raises as `MultipartUploadWriter.close` does.
        """
        exception = sys.exception()
        if self.closed and not self._calls:
            self._rule.forget()
        elif exception is not None and self._rule.counts(exception):
            await self._give_up(exception)
        else:
            await self._in_turn(lambda: self._when_few_wait(self._writer.close))
            self._rule.forget()

    aclose = close

    @property
    def _running(self) -> int:
        """How many parts are being sent, other than those that nobody has taken yet."""
        return self._writer._upload.pipeline.jobs.running

    def _fits(self, data: bytes) -> bool:
        """Take ``data`` if the fast path of `MultipartUploadWriter.write` would, and return whether it did."""
        writer = self._writer
        room = writer._room - len(data)
        if room < 0:
            return False
        writer._room = room
        try:
            writer._put(data)
        except BaseException:
            writer._has_failed = True
            writer._room = NoRoom.FAILED
            raise
        return True

    async def _write(self, view: memoryview) -> None:
        """Have a thread take ``view``, piece by piece."""
        for begin in range(0, max(1, len(view)), _PIECE_BYTES):
            while self._running and sum(one._running for one in _writers) >= _MOST_IN_FLIGHT:
                await asyncio.sleep(_PAUSE_SECONDS)
            await self._when_few_wait(partial(self._writer.write, view[begin : begin + _PIECE_BYTES]))

    async def _give_up(self, exception: BaseException) -> None:
        """Close without publishing because of ``exception``, as the block of a `MultipartUploadWriter` does. If the
        task is cancelled meanwhile, don't wait any longer.
        """
        if not self._calls and self.closed:
            return
        if not self._calls and self._work is not None and not self._work.done():
            self._tell(exception)  # a thread goes on with a cancelled call, and nobody waits for it
            return
        ended = partial(self._writer.__exit__, type(exception), exception, exception.__traceback__)
        await self._in_turn(lambda: self._in_thread(ended), waits=False)

    async def _in_turn(
        self, call: Callable[[], Awaitable[Result]], made: Sequence[PendingUpload] = (), *, waits: bool = True
    ) -> Result:
        """Await ``call()`` once all calls before it have ended. If the task is cancelled, give the upload up, and wait
        for that if ``waits``. ``made`` is what ``call`` has prepared by then.
        """
        mine: Future[None] = asyncio.get_running_loop().create_future()
        self._calls.append(mine)
        try:
            if self._calls[0] is not mine:
                await mine
            return await call()
        except CancelledError as cancelled:
            await self._stop(cancelled, made, waits=waits)
            raise
        finally:
            self._calls.remove(mine)
            if self._calls and not self._calls[0].done():
                self._calls[0].set_result(None)

    async def _when_few_wait(self, work: Callable[[], Result]) -> Result:
        """Have a thread do ``work`` as soon as few threads wait for other writers."""
        async with turn():
            return await self._in_thread(work)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Have a thread do ``work``, and await it. The thread goes on if the task is cancelled."""
        self._work = start(work)
        return await asyncio.shield(self._work)

    async def _stop(self, cancelled: CancelledError, made: Sequence[PendingUpload], *, waits: bool) -> None:
        """Give the upload up. If ``waits``, wait until that is done; a second cancellation ends the wait."""
        upload = self._writer._upload
        if upload.lifecycle.state in (State.OPEN, State.COMMITTING):
            upload.abandon()
        if not waits:
            self._tell(cancelled)
            return
        was_sent = upload.lifecycle.state is State.COMMIT_SENT
        if was_sent:
            upload.pipeline.jobs.stop(0)  # bytes that are being sent in a single request
        if self._work is not None and not self._work.done():
            await asyncio.wait([self._work], timeout=_PATIENCE_SECONDS if was_sent else None)
        if upload.lifecycle.state is State.ABORTING:
            await asyncio.wait([start(partial(upload.fail, None))])
        if made and not upload._cleanup.facts().keeps:
            removal = start(partial(made[0].abort, client=upload.calls.client))
            await asyncio.wait([removal])
            self._tell(cancelled, str(removal.exception() or ""))
        else:
            self._tell(cancelled)

    def _tell(self, error: BaseException, told: str | None = None) -> None:
        """Note on ``error`` what became of the upload, once."""
        told = self._writer._upload.told() if told is None else told
        add_note(error, told or f"{self.name} was not published: its task was cancelled")


class AsyncTextWriter(AsyncWriter):
    """A text file, write only, whose characters become one S3 object when it is closed. `open` makes it.

    It is an `AsyncWriter` that takes ``str``.
    """

    def __init__(
        self,
        writer: MultipartUploadWriter,
        rule: CloseRule,
        encoding: str,
        errors: str,
        newline: str | None,
    ) -> None:
        super().__init__(writer, rule)
        self._encoder = codecs.getincrementalencoder(encoding)(errors)
        self._line_end = os.linesep if newline is None else newline or "\n"

    async def write(self, text: str, /) -> int:  # type: ignore[override]
        """Take all of ``text``. Waits while too many parts are in flight. Returns the number of characters.

        UnicodeEncodeError means that the encoding has no such character. Raises as `AsyncWriter.write` does.
        """
        if not isinstance(text, str):
            raise TypeError(f"write() takes str, not {type(text).__name__}: open the object in mode 'wb'")
        if self._calls or len(text) > ROOM_BYTES:
            await self._in_turn(lambda: self._write_long(text))
        elif not self._fits(data := self._encode(text)):
            await self._in_turn(lambda: self._write(memoryview(data)))
        return len(text)

    async def _write_long(self, text: str) -> None:
        for begin in range(0, max(1, len(text)), ROOM_BYTES):
            await self._write(memoryview(self._encode(text[begin : begin + ROOM_BYTES])))

    def _encode(self, text: str) -> bytes:
        return self._encoder.encode(text if self._line_end == "\n" else text.replace("\n", self._line_end))
