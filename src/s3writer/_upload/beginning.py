"""The call that begins an upload, and the upload's id, which may come late or get lost."""

from s3writer._errors import NotCommittedError
from s3writer._log import facts, warn
from s3writer._s3.calls import Begun, Calls, lost_upload
from s3writer._upload.jobs import Job


class Beginning:
    """Begins an upload when it is needed. For an upload that was begun elsewhere, set ``upload_id``."""

    def __init__(self, calls: Calls) -> None:
        self.upload_id: str | None = None
        self._calls = calls
        self._job: Job[Begun] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether an upload has begun, or may have."""
        return self.upload_id is not None or self._job is not None

    def begin(self) -> str:
        """Begin the upload, unless it has an id. Returns the id."""
        if self.upload_id is None:
            self._job = Job(self._calls.create)
            self._job.start()
            self._job.wait()
            begun = self._job.outcome()
            if begun.was_sent_again:
                warn(lost_upload(self._calls), facts(*self._calls.address, None))
            self.upload_id = begun.upload_id
        return self.upload_id

    def find_id(self, timeout: float) -> str | None:
        """The upload's id, even if `begin` was interrupted: wait up to ``timeout`` seconds for S3's answer, or cancel
        the call if it has not begun. None if there is no upload, or no answer. Any thread may call this.
        """
        job = self._job
        if self.upload_id is None and job is not None and not job.cancel() and job.wait(timeout) and job.error is None:
            self.upload_id = job.outcome().upload_id
        return self.upload_id

    @property
    def lost(self) -> str | None:
        """A sentence that says that an upload may have begun whose id nobody knows; None if there is no such upload."""
        job = self._job
        if self.upload_id is not None or job is None or job.was_cancelled or isinstance(job.error, NotCommittedError):
            return None
        return lost_upload(self._calls)
