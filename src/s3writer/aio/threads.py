"""Lets threads do what may wait, while the event loop goes on."""

import asyncio
import contextlib
import contextvars
import threading
import weakref
from asyncio import AbstractEventLoop, Future, Semaphore
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from s3writer._upload.jobs import Job

Result = TypeVar("Result")

#: So many calls of one event loop may write or end an upload in threads at once. So many more may make a writer, and so
#: many more may give an upload up.
_MOST = 32
_NAME = "s3writer-aio"


class Lane:
    """Threads for jobs of one kind, a limited number at once. Further jobs stand in line. The threads go on if the
    event loop is closed.
    """

    def __init__(self) -> None:
        self._line: deque[Job[Any]] = deque()
        self._running = 0
        self._lock = threading.Lock()

    def add(self, job: Job[Any]) -> None:
        """Let ``job`` be done."""
        self._line.append(job)
        self._go_on()

    def _go_on(self, _: object = None) -> None:
        with self._lock:
            if not self._line or self._running == _MOST:
                return
            self._running += 1
        Job(self._work, _NAME, self._end).start()

    def _work(self) -> None:
        with contextlib.suppress(IndexError):  # nobody stands in line
            while True:
                self._line.popleft().do()

    def _end(self, _: object) -> None:
        with self._lock:
            self._running -= 1
        self._go_on()


class Lanes:
    """What limits the threads of one event loop."""

    def __init__(self) -> None:
        #: For calls that write or end an upload. A cancelled task leaves its place to the next.
        self.waiting = Semaphore(_MOST)
        self.opening, self.giving_up = Lane(), Lane()


_lanes: "weakref.WeakKeyDictionary[AbstractEventLoop, Lanes]" = weakref.WeakKeyDictionary()


def lanes() -> Lanes:
    """Those of the running event loop."""
    loop = asyncio.get_running_loop()
    return _lanes.get(loop) or _lanes.setdefault(loop, Lanes())


def start(work: Callable[[], Result], lane: Lane | None = None) -> "Future[Result]":
    """Have a thread do ``work``, at once or as soon as ``lane`` lets it. Returns a future of its outcome. Shield it:
    nobody may cancel it.
    """
    loop = asyncio.get_running_loop()
    future: Future[Result] = loop.create_future()
    future.add_done_callback(_notice)

    def settle(job: Job[Result]) -> None:
        if job.error is None:
            future.set_result(job.outcome())
        else:
            future.set_exception(_as_future_takes(job.error))

    def on_end(job: Job[Result]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(settle, job)

    if lane is None:
        Job(work, _NAME, on_end).start()
    else:
        lane.add(Job(partial(contextvars.copy_context().run, work), _NAME, on_end))
    return future


def _notice(future: "Future[Any]") -> None:
    """Look at the exception, so that asyncio does not complain that nobody did: the task may have been cancelled."""
    future.exception()


def _as_future_takes(error: BaseException) -> BaseException:
    """``error``; a future refuses StopIteration."""
    return RuntimeError(f"a thread raised {error!r}") if isinstance(error, StopIteration) else error
