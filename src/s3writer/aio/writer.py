"""The async files: a `MultipartUploadWriter` whose waits happen in threads.

A write that fits into the room of the writer's fast path is done at once, in the event loop. `turns` makes all other
calls.
"""

import codecs
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from s3writer._file.close_rule import CloseRule
from s3writer._file.intake import ROOM_BYTES
from s3writer._file.open import Text
from s3writer._file.stream import put_at_once
from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3.receipts import UploadResult
from s3writer._upload.plan import MIB
from s3writer.aio.turns import Turns
from s3writer.pending import PendingUpload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer

Result = TypeVar("Result")

#: A longer write goes to the thread in pieces of this size, so that a cancelled task is soon heard.
_PIECE_BYTES = 8 * MIB


class AsyncFile:
    """What `AsyncWriter` and `AsyncTextWriter` have in common.

    Attributes:
        bucket, key: where the object is published.

    """

    def __init__(self, writer: MultipartUploadWriter, rule: CloseRule, rest: Callable[[], bytes] = bytes) -> None:
        self.bucket, self.key = writer._upload.calls.address
        self._writer = writer
        #: What was propagating when the writer was made, in the coroutine.
        self._rule = rule
        #: Returns the last bytes of the file.
        self._rest = rest
        self._turns = Turns(writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Call `close`. If the block raised, close without publishing."""
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
        """How many parts are being sent, or have arrived since the writer's last call."""
        return self._writer.parts_in_flight

    def tell(self) -> int:
        """The number of bytes written so far."""
        return self._writer.tell()

    async def commit(self) -> UploadResult:
        """Publish what was written, even if an exception is propagating, and close. Returns the result.

        Raises as `MultipartUploadWriter.commit` does.
        """
        return await self._turns.take(lambda: self._end_with(self._writer.commit))

    async def prepare(self) -> PendingUpload:
        """Send everything and close, but don't publish yet. Any process can commit the `PendingUpload` later.

        If the task is cancelled, nobody gets the `PendingUpload`: it is aborted, or kept with ``on_error="keep"``.
        Raises as `MultipartUploadWriter.prepare` does.
        """
        made: list[PendingUpload] = []
        upload = self._writer._upload

        def prepare() -> PendingUpload:
            made.append(self._writer.prepare())
            return made[0]

        def undo() -> bool:
            if not made or upload.keeps:
                return False
            made[0].abort(client=upload.calls.client)
            return True

        return await self._turns.take(lambda: self._end_with(prepare), undo=undo)

    async def abort(self) -> None:
        """Close without publishing, and remove the upload, even with ``on_error="keep"``.

        It stops calls of other tasks that are running. It does nothing if the object is published, or the upload
        prepared. Raises as `MultipartUploadWriter.abort` does.
        """

        def abort() -> None:
            self._writer.abort()
            self._writer._upload.abort()  # a call that was stopped has kept it

        self._turns.interrupt()
        await self._turns.take(lambda: self._turns.in_thread(abort))

    async def close(self) -> None:
        """Publish the object, or abort if an exception is propagating. On a closed writer, do nothing.

        An exception counts if it was raised since the writer was made, also while an ``except`` block handles it. (To
        publish there, use `commit`.)
        Raises as `MultipartUploadWriter.close` does.
        """
        exception = sys.exception()
        if exception is not None and self._rule.counts(exception):
            await self._give_up(exception)
        elif not self._is_done:
            await self._turns.take(lambda: self._end_with(self._writer.close))
        self._rule.forget()

    aclose = close

    @property
    def _is_done(self) -> bool:
        """Whether the file is closed, and no call is running or waiting."""
        return self.closed and self._turns.are_free

    async def _write(self, view: memoryview) -> None:
        """Have a thread take ``view``, piece by piece."""
        for begin in range(0, max(1, len(view)), _PIECE_BYTES):
            await self._turns.few_parts()
            with released(view[begin : begin + _PIECE_BYTES]) as piece:
                await self._turns.when_few_wait(partial(self._writer.write, piece))

    async def _end_with(self, work: Callable[[], Result]) -> Result:
        """Write the last bytes, and have a thread do ``work``, which ends the upload."""
        if not self.closed and (rest := self._rest()):
            await self._write(memoryview(rest))
        return await self._turns.when_few_wait(work)

    async def _give_up(self, exception: BaseException) -> None:
        """Close without publishing because of ``exception``, as the block of a `MultipartUploadWriter` does. If the
        task is cancelled meanwhile, don't wait any longer.
        """
        if self._turns.are_over:
            self._turns.tell(exception)
        elif not self._is_done:
            ended = partial(self._writer.__exit__, type(exception), exception, exception.__traceback__)
            await self._turns.take(lambda: self._turns.in_thread(ended), waits=False)


class AsyncWriter(AsyncFile):
    """A binary file, write only, whose bytes become one S3 object when it is closed. `open` makes it.

    It keeps all promises of a `MultipartUploadWriter`. Several tasks may write: the bytes of each `write` stay
    together, in the order of the calls. If a task is cancelled during a call, the upload is given up: nothing is
    published. If that happens after the commit was sent, a note on the ``CancelledError`` says what became of the
    object. A writer belongs to the event loop in which it was made. ``progress`` is called in threads.

    Attributes:
        bucket, key: where the object is published.

    """

    async def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of ``data``. Don't change it before the call has returned. Waits while too many parts are in flight.

        Returns the number of bytes. Raises as `MultipartUploadWriter.write` does.
        """
        if type(data) is bytes and self._turns.are_free and put_at_once(self._writer, data):
            return len(data)
        if isinstance(data, str):
            raise TypeError("write() takes bytes, not str: open the object in a text mode, such as 'w'")
        with released(memoryview(data)) as view:
            if not view.c_contiguous:
                raise BufferError("write() takes C-contiguous buffers only")
            with released(view.cast("B") if view.nbytes else memoryview(b"")) as flat:
                await self._turns.take(lambda: self._write(flat))
                return len(flat)

    async def writelines(self, lines: "Iterable[ReadableBuffer]", /) -> None:
        """`write` each of them."""
        for line in lines:
            await self.write(line)


class AsyncTextWriter(AsyncFile):
    """A text file, write only, whose characters become one S3 object when it is closed. `open` makes it.

    It is like an `AsyncWriter`, but takes ``str``.

    Attributes:
        bucket, key: where the object is published.

    """

    def __init__(self, writer: MultipartUploadWriter, rule: CloseRule, text: Text) -> None:
        encoder = codecs.getincrementalencoder(text.encoding)(text.errors)
        super().__init__(writer, rule, rest=lambda: encoder.encode("", final=True))
        self._encoder = encoder
        self._line_end = os.linesep if text.newline is None else text.newline or "\n"

    async def write(self, text: str, /) -> int:
        """Take all of ``text``. Waits while too many parts are in flight. Returns the number of characters.

        UnicodeEncodeError means that the encoding has no such character; nothing was taken then. Raises as
        `AsyncWriter.write` does.
        """
        if not isinstance(text, str):
            raise TypeError(f"write() takes str, not {type(text).__name__}: open the object in mode 'wb'")
        if not self._turns.are_free or len(text) > ROOM_BYTES:
            await self._turns.take(lambda: self._write_long(text))
        elif not put_at_once(self._writer, data := self._encode(text)):
            await self._turns.take(lambda: self._write(memoryview(data)))
        return len(text)

    async def writelines(self, lines: "Iterable[str]", /) -> None:
        """`write` each of them."""
        for line in lines:
            await self.write(line)

    async def _write_long(self, text: str) -> None:
        """Have a thread encode ``text``, as a whole: if that fails, nothing is taken. Then write it."""
        await self._write(memoryview(await self._turns.when_few_wait(partial(self._encode, text))))

    def _encode(self, text: str) -> bytes:
        before = self._encoder.getstate()
        try:
            return self._encoder.encode(text if self._line_end == "\n" else text.replace("\n", self._line_end))
        except UnicodeError:
            self._encoder.setstate(before)  # it may have moved on, as that of ISO-2022-JP and the mark of UTF-8-SIG do
            raise


@contextlib.contextmanager
def released(view: memoryview) -> Iterator[memoryview]:
    """Release ``view`` at the end, unless the thread of a cancelled call uses it even now."""
    try:
        yield view
    finally:
        with contextlib.suppress(BufferError):
            view.release()
