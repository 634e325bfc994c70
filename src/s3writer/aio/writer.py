"""The async writer: a `MultipartUploadWriter` whose waits happen in threads.

A write that fits into the room of the writer's fast path is done at once, in the event loop. All other calls are made
in a thread, one after the other, in the order of their arrival.

If a task is cancelled meanwhile, the thread's wait for parts is interrupted: its call fails, and gives the upload up,
as after Ctrl-C. Only that thread decides what becomes of the upload. If the commit was sent by then, a note on the
exception says what became of the object.
"""

import asyncio
import codecs
import contextlib
import os
import sys
import weakref
from asyncio import AbstractEventLoop, CancelledError, Future
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from s3writer._errors import add_note
from s3writer._file.close_rule import CloseRule
from s3writer._file.intake import ROOM_BYTES
from s3writer._file.room import NoRoom
from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3.receipts import UploadResult
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
#: After a cancellation, how long to wait until a thread has removed the upload, or has S3's answer to the commit.
PATIENCE_SECONDS = 10.0

_writers: "weakref.WeakKeyDictionary[AbstractEventLoop, weakref.WeakSet[AsyncWriter]]" = weakref.WeakKeyDictionary()


class AsyncWriter:
    """A binary file, write only, whose bytes become one S3 object when it is closed. `open` makes it.

    It keeps all promises of a `MultipartUploadWriter`. Several tasks may write: each `write` goes in as one piece, in
    the order of the calls. If a task is cancelled during a call, the upload is given up: nothing is published. If that
    happens after the commit was sent, a note on the ``CancelledError`` says what became of the object. A writer belongs
    to the event loop in which it was made. A thread of its own calls ``progress``.

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
        #: What a thread does after a cancellation: it gives the upload up.
        self._ending: Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._neighbours = _writers.setdefault(self._loop, weakref.WeakSet())
        self._neighbours.add(self)

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
        with _released(memoryview(data)) as view:
            if not view.c_contiguous:
                raise BufferError("write() takes C-contiguous buffers only")
            with _released(view.cast("B") if view.nbytes else memoryview(b"")) as flat:
                await self._in_turn(lambda: self._write(flat))
                return len(flat)

    async def writelines(self, lines: "Iterable[ReadableBuffer]", /) -> None:
        """`write` each of them."""
        for line in lines:
            await self.write(line)

    async def commit(self) -> UploadResult:
        """Publish what was written, even if an exception is propagating, and close. Returns the result.

        Raises as `MultipartUploadWriter.commit` does.
        """
        return await self._in_turn(lambda: self._end_with(self._writer.commit))

    async def prepare(self) -> PendingUpload:
        """Send everything and close, but don't publish yet. Any process can commit the `PendingUpload` later.

        If the task is cancelled, nobody gets the `PendingUpload`: it is aborted, or kept with ``on_error="keep"``.
        Raises as `MultipartUploadWriter.prepare` does.
        """
        made: list[PendingUpload] = []

        def prepare() -> PendingUpload:
            made.append(self._writer.prepare())
            return made[0]

        return await self._in_turn(lambda: self._end_with(prepare), made)

    async def abort(self) -> None:
        """Close without publishing, and remove the upload, even with ``on_error="keep"``.

        It stops calls of other tasks that are running. It does nothing if the object is published, or the upload
        prepared. Raises as `MultipartUploadWriter.abort` does.
        """
        upload = self._writer._upload
        if self._calls:
            upload.pipeline.jobs.interrupt()

        def abort() -> None:
            self._writer.abort()
            upload.abort()  # a call that was stopped has kept it

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
            await self._in_turn(lambda: self._end_with(self._writer.close))
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
            while self._running and sum(one._running for one in self._neighbours) >= _MOST_IN_FLIGHT:
                await asyncio.sleep(_PAUSE_SECONDS)
            with _released(view[begin : begin + _PIECE_BYTES]) as piece:
                await self._when_few_wait(partial(self._writer.write, piece))

    async def _end_with(self, work: Callable[[], Result]) -> Result:
        """Have a thread do ``work``, which ends the upload."""
        return await self._when_few_wait(work)

    async def _give_up(self, exception: BaseException) -> None:
        """Close without publishing because of ``exception``, as the block of a `MultipartUploadWriter` does. If the
        task is cancelled meanwhile, don't wait any longer.
        """
        if not self._calls and self.closed:
            return
        if not self._calls and any(future and not future.done() for future in (self._work, self._ending)):
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
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(f"{self.name} belongs to another event loop: use a writer in the loop that made it")
        mine: Future[None] = self._loop.create_future()
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
        """Let a thread give the upload up. If ``waits``, wait until it has; a second cancellation ends the wait."""
        upload = self._writer._upload
        upload.pipeline.jobs.interrupt()

        def end() -> None:
            self._writer._fail(cancelled)
            has_removed = bool(made) and not upload.keeps
            if has_removed:
                made[0].abort(client=upload.calls.client)
            self._tell(cancelled, has_removed=has_removed)

        try:
            try:
                if waits and self._work is not None and not self._work.done():
                    await asyncio.wait([self._work], timeout=PATIENCE_SECONDS)
            finally:
                ended = self._ending = start(end)
            await asyncio.wait([ended], timeout=PATIENCE_SECONDS if waits else 0)
        except CancelledError as again:
            self._tell(again)
            raise
        if not ended.done():
            self._tell(cancelled)
        elif (error := ended.exception()) is not None:
            add_note(cancelled, str(error))

    def _tell(self, error: BaseException, *, has_removed: bool = False) -> None:
        """Note on ``error`` what becomes of the upload. ``has_removed`` says that a prepared one was removed."""
        upload = self._writer._upload
        told = "" if has_removed else upload.told()
        doing = "is being given up" if upload.is_open else "was not published"
        add_note(error, told or f"{self.name} {doing}: its task was cancelled")


@contextlib.contextmanager
def _released(view: memoryview) -> Iterator[memoryview]:
    """Release ``view`` at the end, unless the thread of a cancelled call uses it even now."""
    try:
        yield view
    finally:
        with contextlib.suppress(BufferError):
            view.release()


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
            await self._in_turn(lambda: self._write_text(text))
        elif not self._fits(data := self._encode(text)):
            await self._in_turn(lambda: self._write(memoryview(data)))
        return len(text)

    async def _write_text(self, text: str) -> None:
        """Write ``text``. A long one is encoded in a thread, and as a whole: if that fails, nothing is taken."""
        is_long = len(text) > ROOM_BYTES
        await self._write(
            memoryview(await self._in_thread(partial(self._encode, text)) if is_long else self._encode(text))
        )

    async def _end_with(self, work: Callable[[], Result]) -> Result:
        """Write what the encoder holds back, and end the upload."""
        if not self.closed and (end := self._encoder.encode("", final=True)):
            await self._write(memoryview(end))
        return await super()._end_with(work)

    def _encode(self, text: str) -> bytes:
        return self._encoder.encode(text if self._line_end == "\n" else text.replace("\n", self._line_end))
