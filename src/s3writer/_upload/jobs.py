"""Threads that do jobs while the jobs' owner waits. No other module starts threads; `job_group` waits for many at once.

Python runs signal handlers in the main thread, between any two instructions. A handler may raise, as Ctrl-C's does. In
the middle of boto, urllib3 or awscrt that does harm: awscrt swallows the exception. So another thread makes each call
of S3, and the owner only waits. A handler can raise in that wait and nowhere else. Only if no thread can be had does
the owner make the call.

A thread that has done its job waits a moment for the next job, because to start a thread costs some 200 microseconds, a
fifth of the time for a small object. Then the thread ends, so nobody needs to shut a pool down.
"""

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import CodeType
from typing import Any, Generic, TypeVar

from s3writer._errors import S3WriterError
from s3writer._fork import in_each_child

Result = TypeVar("Result")

#: A thread that waits for a job to end checks at this interval.
_LOOK_SECONDS = 1.0

#: How long an idle thread waits for its next job.
_IDLE_SECONDS = 0.05
#: How many times it looks for one that it has been promised.
_TAKEN_LOOKS = 5

_this_thread = threading.local()
#: The inboxes of idle threads. The thread that became idle last gets the next job.
_idle: "list[_Inbox]" = []


class Stopped(BaseException):
    """Raised within a job that is to stop. It is no Exception, so boto does not retry the call."""


class Job(Generic[Result]):
    """One piece of work. The thread that starts the job owns it, and waits for its outcome. The thread that did the
    work then calls ``on_end`` with the job.
    """

    def __init__(
        self,
        work: Callable[[], Result],
        name: str = "s3writer-call",
        on_end: "Callable[[Job[Result]], object] | None" = None,
    ) -> None:
        self.is_done = self.was_cancelled = False
        self.error: BaseException | None = None
        self._work: Callable[[], Result] | None = work
        self.name = name
        self._on_end = on_end
        self._context = contextvars.Context()
        self._result: Result
        self._claim = threading.Lock()
        self._gate = threading.Lock()
        self._gate.acquire()

    def start(self, *, elsewhere: bool = False) -> bool:
        """Have a thread do the work. If no thread can be had, do it here; with ``elsewhere`` return False instead. No
        thread can be had at the system's limit, and at exit on Python 3.12 and newer.

        The thread gets the caller's context variables, so that a tracer knows whose work it is. If a signal handler
        raises while the thread starts, its exception is raised here. The work is then done once, or cancelled: whoever
        claims the job first decides.
        """
        self._context = contextvars.copy_context()
        if sys.is_finalizing():  # a thread could neither be started nor run
            if not elsewhere:
                self.do()
            return not elsewhere
        try:
            if (inbox := _free_inbox()) is not None:
                inbox.jobs.put(self)
            if inbox is None or inbox.is_left:
                inbox = _Inbox()
                inbox.jobs.put(self)
                threading.Thread(target=_work, args=(inbox,), name="s3writer-idle", daemon=True).start()
        except BaseException as error:
            if not _says_no_thread(error):
                self.cancel(error)
                raise _of_the_handler(error) from None
            if elsewhere:
                return False
        else:
            return True
        self.do()  # outside of the except block: the work may look for an exception that is propagating
        return True

    def cancel(self, error: BaseException | None = None) -> bool:
        """End the job with ``error``, or as stopped, unless a thread has begun the work. Returns whether it did so."""
        if self._claim.acquire(blocking=False):
            self.was_cancelled = True
            self._finish(Stopped() if error is None else error)
        return self.was_cancelled

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job has ended, ``timeout`` seconds at the most. Returns whether it has ended.

        The gate is a lock that is written in C: after an interrupt, Python's Event and Condition may hold their lock
        for ever. If an interrupt comes just when the gate opens, the gate may stay shut too. So waiting threads check
        each second.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_done:
            left = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return False
            if self._gate.acquire(timeout=left):
                self._gate.release()
        return True

    def outcome(self) -> Result:
        """Return what the work returned, or raise what it raised. The job must have ended.

        An error of this package comes without the frames of its thread, which say nothing to a user.
        """
        if self.error is None:
            return self._result
        raise self.error.with_traceback(None) if isinstance(self.error, S3WriterError) else self.error

    def do(self) -> None:
        """Do the work, unless somebody has claimed it."""
        if self._claim.acquire(blocking=False):
            self._context.run(self._do)

    def _do(self) -> None:
        assert self._work is not None
        error: BaseException | None = None
        _this_thread.is_working = True
        try:
            self._result = self._work()
        except Stopped as stopped:
            error = stopped.with_traceback(None)  # its frames hold the part's bytes
        except BaseException as raised:
            error = raised
        finally:
            _this_thread.is_working = False
            self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        self.error = error
        self.is_done = True
        self._work = None
        self._gate.release()
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)


class _Inbox:
    """Where a thread finds its next job.

    ``is_left`` says that the thread has looked for the last time: a signal handler may have held up the owner that had
    taken the inbox. The owner then starts another thread. Whichever thread claims the job first does it.
    """

    __slots__ = ("is_left", "jobs")

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job[Any]] = SimpleQueue()
        self.is_left = False


def _free_inbox() -> _Inbox | None:
    """Take the inbox of an idle thread away from the list; None if no thread is idle."""
    with contextlib.suppress(IndexError):
        return _idle.pop()
    return None


def _work(inbox: _Inbox) -> None:
    """Do the job in ``inbox``, and those that follow, until none comes for a moment."""
    thread = threading.current_thread()
    while True:
        job = _next_job(inbox)
        if job is None:
            return
        thread.name = job.name
        job.do()
        del job  # it may hold a part
        thread.name = "s3writer-idle"
        _idle.append(inbox)


def _next_job(inbox: _Inbox) -> "Job[Any] | None":
    """The next job for the thread with this inbox; None if it may end."""
    with contextlib.suppress(Empty):
        return _next_of(inbox.jobs, _IDLE_SECONDS)
    with contextlib.suppress(ValueError):
        _idle.remove(inbox)
        return None
    # Somebody has just taken the inbox to put a job into it, unless an interrupt keeps them from it.
    for _ in range(_TAKEN_LOOKS):
        with contextlib.suppress(Empty):
            return _next_of(inbox.jobs, _LOOK_SECONDS)
    inbox.is_left = True
    with contextlib.suppress(Empty):  # one that was put there before that
        job = inbox.jobs.get_nowait()
        inbox.is_left = False
        return job
    return None


def _next_of(queue: "SimpleQueue[Result]", timeout: float) -> Result:
    """The queue's next item. Raises Empty if none comes within ``timeout`` seconds. Not for the main thread.

    ``get`` of CPython 3.11 may wait for ever if its time is over before it begins to wait, but not if ``get_nowait``
    has just found nothing. In the main thread, it may also wait for ever if a signal handler takes longer than that.
    """
    with contextlib.suppress(Empty):
        return queue.get_nowait()
    return queue.get(timeout=timeout)


def _says_no_thread(error: BaseException) -> bool:
    """Whether ``Thread.start`` itself raised ``error``. A signal handler's exception comes from a frame below it."""
    code = _innermost(error)
    return (
        isinstance(error, RuntimeError)
        and code is not None
        and (
            code is threading.Thread.start.__code__ or (code.co_filename, code.co_name) == (threading.__file__, "start")
        )
    )


def _of_the_handler(error: BaseException) -> BaseException:
    """What the handler raised. If it interrupts threading itself, that may raise an error of its own in its place: a
    RuntimeError of a lock, or a KeyError for a thread that is registered no more.
    """
    code = _innermost(error)
    is_of_threading = code is not None and code.co_filename == threading.__file__
    is_its_own = is_of_threading and type(error) in (RuntimeError, KeyError)
    return error.__context__ if is_its_own and error.__context__ is not None else error


def _innermost(error: BaseException) -> CodeType | None:
    """The code that raised ``error``."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    return None if frames is None else frames.tb_frame.f_code


def run(work: Callable[[], Result], timeout: float | None = None) -> Result:
    """Have a thread do ``work``, and return what it returned or raise what it raised. TimeoutError if it takes more
    than ``timeout`` seconds.
    """
    job = Job(work)
    job.start()
    if not job.wait(timeout):
        raise TimeoutError
    return job.outcome()


#: Whose calls led to this one, the outermost first. A job gets it with the other context variables of its owner.
_owners: "contextvars.ContextVar[tuple[object, ...]]" = contextvars.ContextVar("owners", default=())


class WorkingFor:
    """A context manager that lets jobs started meanwhile know their ``owner``."""

    __slots__ = ("_owner", "_token")

    def __init__(self, owner: object) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        self._token = _owners.set((*_owners.get(), self._owner))

    def __exit__(self, *_: object) -> None:
        _owners.reset(self._token)


def is_worker_of(owner: object) -> bool:
    """Whether the calling thread does a job of ``owner``, which may be waiting for it."""
    return getattr(_this_thread, "is_working", False) and any(one is owner for one in _owners.get())


# A forked child has none of its parent's threads.
in_each_child(_idle.clear)
