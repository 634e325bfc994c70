"""The jobs of one owner, which run side by side."""

import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from s3writer._upload.jobs import Job, Stopped

Result = TypeVar("Result")


class JobGroup(Generic[Result]):
    """Jobs of one owner, which run side by side. Only the owner calls `add`, `wait` and `take`.

    ``alarm`` is called when a job has failed, by the job's thread.
    """

    def __init__(self) -> None:
        self.alarm: Callable[[], object] = bool
        self._jobs: list[Job[Result]] = []
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._stops = self._is_interrupted = False

    def add(self, work: Callable[[], Result]) -> Job[Result]:
        """Make a job for ``work``. The caller starts it at once."""
        job = Job(work, "s3writer-part", self._on_end)
        self._jobs.append(job)
        return job

    @property
    def in_flight(self) -> int:
        """How many jobs are running, or have succeeded and were not taken yet."""
        return sum(job.error is None and not job.was_cancelled for job in self._jobs)

    @property
    def running(self) -> int:
        """How many jobs have not ended."""
        return sum(not job.is_done for job in self._jobs)

    @property
    def failures(self) -> list[BaseException]:
        """What the jobs that failed have raised, and `Stopped` after `interrupt`."""
        failed = [job.error for job in self._jobs if job.error is not None]
        return [*failed, Stopped()] if self._is_interrupted else failed

    @property
    def has_ended(self) -> bool:
        """Whether `take` would return or raise something."""
        return self._is_interrupted or any(job.is_done for job in self._jobs)

    def wait(self, most: int) -> None:
        """Wait until at most ``most`` jobs are running, or one has failed."""
        while not self.failures and self.running > most:
            self._ended.get()

    def take(self) -> list[Result]:
        """The results of the jobs that have ended since the last call. If one failed, each call raises its error; after
        `interrupt`, `Stopped`.
        """
        if failed := next((job for job in self._jobs if job.error is not None), None):
            failed.outcome()
        if self._is_interrupted:
            raise Stopped
        ended = [job for job in self._jobs if job.is_done]
        results = [job.outcome() for job in ended]
        self._jobs = [job for job in self._jobs if job not in ended]
        return results

    def let_go(self) -> None:
        """Forget results that nobody took; they hold buffers."""
        self._jobs = [job for job in self._jobs if not job.is_done or job.error is not None]

    def stop(self, timeout: float) -> int:
        """Tell all jobs to stop, and wait for them, ``timeout`` seconds at the most. Returns how many still run."""
        self._stops = True
        deadline = time.monotonic() + timeout
        running = 0
        for job in list(self._jobs):
            running += not (job.cancel() or job.wait(max(0.0, deadline - time.monotonic())))
        return running

    def interrupt(self) -> None:
        """Tell all jobs to stop, let `wait` end, and let `take` raise `Stopped`. Any thread may call this."""
        self._stops = self._is_interrupted = True
        self._ended.put(None)
        self.alarm()

    def check(self) -> None:
        """Raise `Stopped` if the jobs are to stop. A job calls this before each piece that it sends."""
        if self._stops:
            raise Stopped

    def _on_end(self, job: Job[Result]) -> None:
        self._ended.put(None)
        if job.error is not None:
            self.alarm()
