"""Lets threads do what may wait, while the event loop goes on."""

import asyncio
import contextlib
import contextvars
import threading
import weakref
from asyncio import AbstractEventLoop, Future, Semaphore
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from s3writer._upload.jobs import Job

Result = TypeVar("Result")

#: So many calls of one loop may wait in threads at once. Further calls wait in the loop.
MOST_WAITING = 32
#: So many threads at once do the work of one loop, so that half of them are left for what does not wait for parts.
MOST_THREADS = 64

_semaphores: "weakref.WeakKeyDictionary[AbstractEventLoop, Semaphore]" = weakref.WeakKeyDictionary()
_crews: "weakref.WeakKeyDictionary[AbstractEventLoop, _Crew]" = weakref.WeakKeyDictionary()


def few_wait() -> Semaphore:
    """The running loop's semaphore for calls that wait in threads. Those that give an upload up don't need it."""
    return _semaphores.setdefault(asyncio.get_running_loop(), Semaphore(MOST_WAITING))


def start(work: Callable[[], Result]) -> "Future[Result]":
    """Have a thread do ``work``, as soon as one is free. Returns a future of its outcome. Shield it: nobody may cancel
    it.
    """
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    crew = _crews.setdefault(loop, _Crew())
    future: Future[Result] = loop.create_future()
    future.add_done_callback(_notice)

    def settle(job: Job[Result]) -> None:
        if job.error is None:
            future.set_result(job.outcome())
        else:
            future.set_exception(_as_future_takes(job.error))

    def on_end(job: Job[Result]) -> None:
        crew.one_has_ended()
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(settle, job)

    crew.start(Job(lambda: context.run(work), "s3writer-aio", on_end))
    return future


class _Crew:
    """The threads of one loop. What they can't do yet waits for them, and is done even if the loop ends meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs = 0
        self._waiting: deque[Job[Any]] = deque()

    def start(self, job: Job[Any]) -> None:
        with self._lock:
            self._jobs += 1
            if self._jobs > MOST_THREADS:
                self._waiting.append(job)
                return
        job.start()

    def one_has_ended(self) -> None:
        with self._lock:
            self._jobs -= 1
            following = self._waiting.popleft() if self._waiting else None
        if following is not None:
            following.start()


def _notice(future: "Future[Any]") -> None:
    """Look at the exception, so that asyncio does not complain that nobody did: the task may have been cancelled."""
    future.exception()


def _as_future_takes(error: BaseException) -> BaseException:
    """``error``; a future refuses StopIteration."""
    return RuntimeError(f"a thread raised {error!r}") if isinstance(error, StopIteration) else error
