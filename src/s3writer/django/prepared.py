"""An uploaded file's upload, which waits in S3 for its commit, and is removed if none comes."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from s3writer import (
    ConnectionFailedError,
    MultipartUploadWriter,
    NotCommittedError,
    OutcomeUnknownError,
    PendingUpload,
    S3WriterError,
    UploadResult,
)
from s3writer._log import facts, warn
from s3writer._upload import at_exit
from s3writer._upload.jobs import Job
from s3writer._upload.telling import INTERRUPTED, NO_TIME, not_aborted


class Prepared:
    """An upload that has to be committed or removed before the process exits. If it is dropped, it is removed.

    ``secrets`` are what its commit and its abort need beside the `PendingUpload`.
    """

    #: Whether nothing is to be done any more. True of one that an interrupt has kept from being made.
    is_over = True

    def __init__(self, secrets: dict[str, Any]) -> None:
        #: The upload, once it is prepared. It is in a list, which takes it without a call that could be interrupted.
        self._made: list[PendingUpload] = []
        self._secrets = secrets
        self._process = os.getpid()
        self.is_over = False
        #: Whether S3 may publish the object even now, after the answer to a commit was lost.
        self._is_in_doubt = False
        at_exit.watch(self)

    def by(self, writer: MultipartUploadWriter) -> None:
        """Let ``writer`` prepare it."""
        self._made += (writer.prepare(),)

    @property
    def upload(self) -> PendingUpload:
        """The upload, once it is prepared."""
        return self._made[0]

    @property
    def is_alive(self) -> bool:
        """Whether it must still be removed. False in a forked child, which must leave it alone."""
        is_there = not (self.is_over or self._is_in_doubt) and self._made and self._made[0].result is None
        return bool(is_there) and os.getpid() == self._process

    def __del__(self) -> None:
        """If the client goes away, Django's ASGI handler drops the request unclosed."""
        self.remove_elsewhere()

    def commit(self) -> UploadResult:
        """Publish the object. Raises as `PendingUpload.commit` does."""
        try:
            return self._made[0].commit(**self._secrets)
        except OutcomeUnknownError:
            self._is_in_doubt = True
            raise
        except NotCommittedError as error:
            self._is_in_doubt &= isinstance(error, ConnectionFailedError)  # else S3 has answered
            raise

    def remove(self) -> None:
        """Abort the upload if it must still be removed. If that fails, the log says so."""
        if not self.is_alive:
            return
        try:
            self.is_over = True  # set before the abort, so that no finaliser aborts too
            with failure_logged():
                self._made[0].abort(**self._secrets)
        except BaseException:
            self.is_over = False  # an interrupt: the exit removes the upload
            raise

    def remove_elsewhere(self) -> None:
        """`remove` without waiting for it, for finalisers."""
        if self.is_alive:
            removal = Job(self.remove, "s3writer-abort")
            if removal.start(elsewhere=True):
                at_exit.wait_for(removal)
            else:
                at_exit.adopt(self)

    def end_at_exit(self, *, has_time: bool) -> None:
        """Remove it, if there is time; else say in the log that it is left."""
        try:
            if has_time:
                self.remove()
        finally:
            if self.is_alive:
                it, reason = self._made[0], INTERRUPTED if has_time else NO_TIME
                told = not_aborted(f"s3://{it.bucket}/{it.key}", it.upload_id, reason)
                warn(told, facts(it.bucket, it.key, it.upload_id))


@contextlib.contextmanager
def failure_logged() -> Iterator[None]:
    """Log an upload that can't be removed: nobody would see the error, or another error is propagating."""
    try:
        yield
    except S3WriterError as error:
        warn(str(error.strerror), facts(error.bucket, error.key, error.upload_id))
