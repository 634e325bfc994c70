"""Lets threads do what may wait, while the event loop goes on."""

import asyncio
import contextlib
import weakref
from asyncio import AbstractEventLoop, Future, Semaphore
from collections.abc import Callable
from typing import Any, TypeVar

from s3writer._upload.jobs import Job

Result = TypeVar("Result")

#: At most so many threads of one event loop wait in calls, and at most so many more make writers.
_MOST = 32


class Limits:
    """Limits the threads of one event loop. Further calls wait in the loop. Threads that abort uploads are not counted:
    an abort must not wait for others whose S3 does not answer.
    """

    def __init__(self) -> None:
        #: For calls that write or publish.
        self.calls = Semaphore(_MOST)
        #: For calls that make a writer.
        self.openings = Semaphore(_MOST)


_limits: "weakref.WeakKeyDictionary[AbstractEventLoop, Limits]" = weakref.WeakKeyDictionary()


def limits() -> Limits:
    """The limits of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _limits:
        _limits[loop] = Limits()
    return _limits[loop]


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
