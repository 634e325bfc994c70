"""Jobs run in parallel, a bounded number at a time, each in a thread of its own.

The only module with threads; it knows nothing of S3. A thread a job is cheaper than it looks (some 100 microseconds
against the milliseconds that sending a part takes) and leaves no idle threads, no pool to shut down and nothing for a
forked child to inherit. Workers share no state: a worker puts what came of its job into a queue, and the thread that
owns the sender takes it out.
"""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Result = TypeVar("Result")

_this_thread = threading.local()


class Stopped(BaseException):
    """Raised by `Sender.check` within a job; no Exception, so that nobody takes it for a fault to be retried."""


class Sender(Generic[Result]):
    """Runs jobs for one owner, the only one to call `start`, `wait` and `stop`; jobs may call `check`.

    ``has_failed`` turns true when a job has raised, and ``alarm`` is called then, by the job's thread.
    """

    def __init__(self, alarm: Callable[[], object] = lambda: None) -> None:
        self.has_failed = False
        self._alarm = alarm
        self._outcomes: SimpleQueue[Result | BaseException] = SimpleQueue()
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self.outstanding = 0
        self._stopping = False

    def start(self, job: Callable[[], Result]) -> None:
        """Run ``job`` in a thread, or here where no thread is to be had: at exit, or at the system's limit. The thread
        has the caller's context variables, so that a tracer finds whose part it is.
        """
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run, job), name="s3writer-part", daemon=True)
        self.outstanding += 1
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.remove(thread)
            self._run(job)

    @property
    def has_news(self) -> bool:
        """Whether a job has ended of which `wait` has not told yet."""
        return not self._outcomes.empty()

    def wait(self, most: int, timeout: float | None = None) -> list[Result]:
        """Wait until at most ``most`` jobs are running; the results that have come in, or the first failure raised.
        TimeoutError if nothing comes in for ``timeout`` seconds.
        """
        results: list[Result] = []
        while True:
            try:
                outcome = self._outcomes.get(block=self.outstanding > most, timeout=timeout)
            except Empty:
                if self.outstanding > most:
                    raise TimeoutError from None
                return results
            self.outstanding -= 1
            if isinstance(outcome, BaseException):
                self._failures.append(outcome)
                raise outcome
            results.append(outcome)

    def failures(self) -> list[BaseException]:
        """All that jobs have raised so far, also those that nobody waited for; what others have returned is let go."""
        with contextlib.suppress(Empty):
            while True:
                outcome = self._outcomes.get_nowait()
                self.outstanding -= 1
                if isinstance(outcome, BaseException):
                    self._failures.append(outcome)
        return self._failures

    def stop(self, timeout: float) -> int:
        """Let no job send any more, and wait ``timeout`` seconds for them; how many are running even then."""
        self._stopping = True
        deadline = time.monotonic() + timeout
        started = [thread for thread in self._threads if thread.ident is not None]
        for thread in started:
            thread.join(max(0.0, deadline - time.monotonic()))
        return sum(thread.is_alive() for thread in started)

    def check(self) -> None:
        """Raise `Stopped` if the sender is stopping; for jobs, before each piece that they send."""
        if self._stopping:
            raise Stopped

    def _run(self, job: Callable[[], Result]) -> None:
        _this_thread.is_working = True
        try:
            outcome: Result | BaseException = job()
        except Stopped as stopped:
            outcome = stopped.with_traceback(None)
        except BaseException as error:
            outcome = error
        finally:
            _this_thread.is_working = False
        self._outcomes.put(outcome)
        if isinstance(outcome, BaseException):
            self.has_failed = True
            self._alarm()


def is_worker() -> bool:
    """Whether the calling thread is running a job: then it must not wait for the owner, which may wait for it."""
    return getattr(_this_thread, "is_working", False)
