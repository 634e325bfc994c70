"""The call that begins an upload, and the upload's id, which may come late or get lost."""

import time
from collections.abc import Callable

from s3writer._errors import NotCommittedError
from s3writer._log import facts, warn
from s3writer._s3.calls import Begun, Calls, lost_upload
from s3writer._upload.jobs import Job, Stopped

#: A part's thread that waits for the id checks at this interval, in seconds, whether it is to stop.
_CHECK_SECONDS = 0.2


class Beginning:
    """Begins an upload when it is needed. For an upload that was begun elsewhere, set ``upload_id``.

    The owner goes on while S3 is asked. The threads that send the first parts wait for the id.
    """

    def __init__(self, calls: Calls) -> None:
        self.upload_id: str | None = None
        self._calls = calls
        self._job: Job[Begun] | None = None
        #: How many seconds S3 took to begin the upload.
        self.seconds = 0.0
        #: Whether the log was told of a second upload.
        self._has_warned = False

    @property
    def has_begun(self) -> bool:
        """Whether an upload has begun, or may have."""
        return self.upload_id is not None or self._job is not None

    def start(self) -> None:
        """Have a thread begin the upload, unless that was done before. Don't wait for S3's answer. If an interrupt
        keeps the thread from being started, there is no upload.
        """
        if not self.has_begun:
            self._job = Job(self._create)
            try:
                self._job.start()
            except BaseException:
                self._job.cancel()
                raise

    def begin(self) -> str:
        """Begin the upload, and wait for S3's answer. Returns the id."""
        self.start()
        while self.wait(_CHECK_SECONDS) is None:
            self.settle()
        self.settle()
        return str(self.upload_id)

    def settle(self) -> None:
        """If S3 has refused to begin the upload, raise the error. If a second upload may have begun, warn of it, once.

        Only the owner calls this: a handler of the log may wait for the owner.
        """
        if self._job is None or not self._job.is_done:
            return
        if self._job.outcome().may_have_begun_another and not self._has_warned:
            warn(lost_upload(self._calls), facts(*self._calls.address, None))
            self._has_warned = True

    def wait(self, timeout: float) -> str | None:
        """The upload's id. If S3 has not told it, wait for that, up to ``timeout`` seconds. None if there is no upload,
        or no answer. Any thread may call this.
        """
        job = self._job
        if self.upload_id is None and job is not None and job.wait(timeout) and job.error is None:
            self.upload_id = job.outcome().upload_id
        return self.upload_id

    def id_for_part(self, check: Callable[[], object]) -> str:
        """The upload's id, as soon as S3 tells it. A part's thread calls this. If there is no upload, raise `Stopped`:
        the owner learns the reason from `settle`. ``check`` may raise to end the wait.
        """
        while (upload_id := self.wait(_CHECK_SECONDS)) is None:
            check()
            if self._job is None or (self._job.is_done and self._job.error is not None):
                raise Stopped
        return upload_id

    def find_id(self, timeout: float) -> str | None:
        """`wait`, but if S3 has not been asked yet, don't ask."""
        if self._job is not None:
            self._job.cancel()
        return self.wait(timeout)

    @property
    def lost(self) -> str | None:
        """A sentence that says that an upload may have begun whose id nobody knows; None if there is no such upload, or
        the log has it already.
        """
        job, lost = self._job, lost_upload(self._calls)
        if job is None or job.was_cancelled:
            return None
        if job.is_done and job.error is None:
            may_be = job.outcome().may_have_begun_another and not self._has_warned
        else:
            may_be = not isinstance(job.error, NotCommittedError) or lost in getattr(job.error, "__notes__", ())
        return lost if may_be else None

    def _create(self) -> Begun:
        began = time.monotonic()
        begun = self._calls.create()
        self.seconds = time.monotonic() - began
        return begun
