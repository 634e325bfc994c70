"""The calls of one writer: each in a thread, one after the other, in the order of their arrival.

If a task is cancelled meanwhile, the thread's wait for parts is interrupted: its call fails, and gives the upload up,
as after Ctrl-C. Only that thread decides what becomes of the upload. If the commit was sent by then, a note on the
exception says what became of the object.
"""

import asyncio
import weakref
from asyncio import AbstractEventLoop, CancelledError, Future
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from s3writer._errors import add_note
from s3writer._file.writer import MultipartUploadWriter
from s3writer.aio.threads import limits, start

Result = TypeVar("Result")

#: The default client has so many connections. If more parts are in flight, a writer that has one in flight waits.
_MOST_IN_FLIGHT = 64
_PAUSE_SECONDS = 0.01
#: After a cancellation, how long to wait until a thread has removed the upload, or has S3's answer to the commit.
PATIENCE_SECONDS = 10.0

_all: "weakref.WeakKeyDictionary[AbstractEventLoop, weakref.WeakSet[Turns]]" = weakref.WeakKeyDictionary()


class Turns:
    """Makes the calls of ``writer``. It belongs to the event loop in which it was made."""

    def __init__(self, writer: MultipartUploadWriter) -> None:
        self._writer = writer
        #: The calls that wait for their turn, the running one first.
        self._calls: deque[Future[None]] = deque()
        #: What threads are doing. After a cancellation they go on.
        self._under_way: set[Future[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._of_this_loop = _all.setdefault(self._loop, weakref.WeakSet())
        self._of_this_loop.add(self)

    @property
    def are_free(self) -> bool:
        """Whether no call is running or waiting."""
        return not self._calls

    @property
    def are_over(self) -> bool:
        """Whether a cancelled call was not waited for to its end: a thread goes on with it."""
        return self.are_free and bool(self._under_way)

    @property
    def parts_running(self) -> int:
        """How many parts are being sent, without those that have arrived and were not taken yet."""
        return self._writer._upload.pipeline.jobs.running

    async def take(
        self, call: Callable[[], Awaitable[Result]], *, undo: Callable[[], bool] = bool, waits: bool = True
    ) -> Result:
        """Await ``call()`` once all calls before it have ended. If the task is cancelled, give the upload up, and wait
        for that if ``waits``. A thread then calls ``undo``, which says whether it has removed what the call had made.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                f"{self._writer.name} belongs to another event loop: use a writer in the loop that made it"
            )
        mine: Future[None] = self._loop.create_future()
        self._calls.append(mine)
        try:
            if self._calls[0] is not mine:
                await mine
            return await call()
        except CancelledError as cancelled:
            await self._stop(cancelled, undo, waits=waits)
            raise
        finally:
            self._calls.remove(mine)
            if self._calls and not self._calls[0].done():
                self._calls[0].set_result(None)

    async def few_parts(self) -> None:
        """Wait while this writer has parts in flight, and all writers of the loop have many."""
        while self.parts_running and sum(one.parts_running for one in self._of_this_loop) >= _MOST_IN_FLIGHT:
            await asyncio.sleep(_PAUSE_SECONDS)

    async def when_few_wait(self, work: Callable[[], Result]) -> Result:
        """Have a thread do ``work`` as soon as few threads wait for other writers."""
        async with limits().calls:
            return await self.in_thread(work)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Have a thread do ``work``, and await it. The thread goes on if the task is cancelled."""
        return await asyncio.shield(self._start(work))

    def interrupt(self) -> None:
        """Let the running call fail, if there is one."""
        if self._calls:
            self._writer._upload.pipeline.jobs.interrupt()

    def tell(self, error: BaseException, *, was_removed: bool = False) -> None:
        """Note on ``error`` what becomes of the upload. ``was_removed`` says that a prepared one was removed."""
        upload = self._writer._upload
        told = "" if was_removed else upload.told()
        doing = "is being given up" if upload.is_open else "was not published"
        add_note(error, told or f"{self._writer.name} {doing}: its task was cancelled")

    async def _stop(self, cancelled: CancelledError, undo: Callable[[], bool], *, waits: bool) -> None:
        """Let a thread give the upload up. If ``waits``, wait until it has; a second cancellation ends the wait."""

        def end() -> None:
            self._writer._fail(cancelled)
            self.tell(cancelled, was_removed=undo())

        patience = PATIENCE_SECONDS if waits else 0
        self.interrupt()
        try:
            try:
                if waits and self._under_way:
                    await asyncio.wait(self._under_way, timeout=patience)
            finally:
                ended = self._start(end)
            await asyncio.wait([ended], timeout=patience)
        except CancelledError as again:
            self.tell(again)
            raise
        if not ended.done():
            self.tell(cancelled)
        elif (error := ended.exception()) is not None:
            add_note(cancelled, str(error))

    def _start(self, work: Callable[[], Result]) -> "Future[Result]":
        future = start(work)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future
