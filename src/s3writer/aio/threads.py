"""Lets threads do what may wait, while the event loop goes on."""

import asyncio
import contextlib
import weakref
from asyncio import AbstractEventLoop, Future, Semaphore
from collections.abc import Callable
from typing import Any, TypeVar

from s3writer._upload.jobs import Job

Result = TypeVar("Result")

#: So many calls of one loop may wait in threads at once. Further calls wait in the loop.
MOST_WAITING = 32

_semaphores: "weakref.WeakKeyDictionary[AbstractEventLoop, Semaphore]" = weakref.WeakKeyDictionary()


def few_wait() -> Semaphore:
    """The running loop's semaphore for calls that wait in threads. Those that give an upload up don't need it."""
    return _semaphores.setdefault(asyncio.get_running_loop(), Semaphore(MOST_WAITING))


def start(work: Callable[[], Result]) -> "Future[Result]":
    """Have a thread do ``work``. Returns a future of its outcome. Shield it: nobody may cancel it."""
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

    Job(work, "s3writer-aio", on_end).start()
    return future


def _notice(future: "Future[Any]") -> None:
    """Look at the exception, so that asyncio does not complain that nobody did: the task may have been cancelled."""
    future.exception()


def _as_future_takes(error: BaseException) -> BaseException:
    """``error``; a future refuses StopIteration."""
    return RuntimeError(f"a thread raised {error!r}") if isinstance(error, StopIteration) else error
