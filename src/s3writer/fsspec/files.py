"""The files that the file system opens for writing."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from s3writer import pending as uploads
from s3writer._errors import KeyExistsError, NotCommittedError, add_note
from s3writer._file.writer import MultipartUploadWriter, prepared
from s3writer._log import warn
from s3writer._s3.calls import Calls
from s3writer._s3.receipts import UploadResult
from s3writer._upload.jobs import run
from s3writer._upload.outcome import published_all_the_same
from s3writer.pending import PendingUpload

Ended = TypeVar("Ended")


class PublishedFile(MultipartUploadWriter):
    """A writer of a file system. When it is closed, the file system forgets its listings of the object's folder.

    It calls ``forget`` for that. ``path`` is the path in the file system; all other parameters are the writer's.
    """

    def __init__(self, path: str, bucket: str, key: str, forget: Callable[[], object], **options: Any) -> None:
        super().__init__(bucket, key, **options)
        self.path = path
        self.bucket = bucket
        self.key = key
        self._forget = forget

    def close(self) -> None:
        """Publish the object, or abort: see `MultipartUploadWriter.close`."""
        if self.closed:
            super().close()
        else:
            self._end_and_forget(super().close)

    def commit(self) -> UploadResult:
        """Publish what was written: see `MultipartUploadWriter.commit`."""
        return self._end_and_forget(super().commit)

    def _end_and_forget(self, end: Callable[[], Ended]) -> Ended:
        """Call ``end``, and let the file system forget. An interrupt of that gets a note if the object is published."""
        try:
            return end()
        finally:
            try:
                self._forget()
            except BaseException as interrupt:
                if (result := self._published) is not None:
                    add_note(interrupt, published_all_the_same(self._upload.calls, result))
                raise

    @property
    def _published(self) -> UploadResult | None:
        return self._upload.result

    def check_absence(self) -> None:
        """If the key exists, close the writer and raise `KeyExistsError`. If S3 won't tell, do nothing.

        This only saves work: S3 decides when the object is published.
        """
        calls, found = self._upload.calls, None
        try:
            with contextlib.suppress(NotCommittedError):
                found = run(calls.head)
            if found is not None:
                raise KeyExistsError(f"{calls.url} exists already", *calls.address)
        except BaseException:
            self.abort()
            raise


class DeferredFile(PublishedFile):
    """A file of a transaction: `close` uploads all of it, and `commit` or `discard` decides later."""

    def __init__(self, path: str, bucket: str, key: str, forget: Callable[[], object], **options: Any) -> None:
        super().__init__(path, bucket, key, forget, **options)
        self.was_discarded = self._is_gone = False
        #: Whether somebody knows the upload that waits in S3.
        self.is_told = False
        #: The prepared upload, once there is one. `_end_well` holds this list, not the file: that would be a cycle.
        self._kept: list[PendingUpload] = []
        upload, kept = self._upload, self._kept
        self._end_well = lambda rest: kept.append(prepared(upload, rest))

    @property
    def pending(self) -> PendingUpload | None:
        """The `PendingUpload` that a transaction commits. None before everything is uploaded."""
        return self._kept[0] if self._kept else None

    @property
    def calls(self) -> Calls:
        """The calls that upload the file, and publish the object."""
        return self._upload.calls

    @property
    def result(self) -> UploadResult:
        """What was published. ValueError if nothing was, or nothing yet."""
        return self._published or super().result

    @property
    def _published(self) -> UploadResult | None:
        return None if self.pending is None else self.pending.result

    @property
    def left(self) -> str:
        """A sentence that names the upload if it may wait in S3, else "". A forked child says nothing."""
        pending = self.pending
        if pending is None or self._is_gone or pending.result is not None or not self._upload.is_ours:
            return ""
        return f"upload {pending.upload_id} of {self.name} may wait in S3: commit it, or abort it"

    def close(self) -> None:
        """Upload everything, and publish nothing yet; or abort, as `MultipartUploadWriter.close` does."""
        super().close()

    def prepare(self) -> PendingUpload:
        """Upload everything, and return the `PendingUpload` that a transaction would commit."""
        if not self._upload.is_ours:
            self._upload.check()
        self.is_told = True
        if not self._kept:
            self.check_open()
            self._finish(self._end_well)
        if (pending := self.pending) is None:
            raise ValueError(f"{self.name} was closed by another thread")
        return pending

    def commit(self) -> UploadResult:
        """Publish the object. If it was not closed yet, close it first."""
        return self._end_and_forget(lambda: uploads.commit(self.prepare(), self.calls))

    def __del__(self) -> None:
        """Tell of an upload that waits in S3 if nobody else has: an interrupt has kept a transaction from its end."""
        super().__del__()
        if hasattr(self, "_kept") and not self.is_told and (left := self.left):
            warn(left, self._upload.extra)

    def discard(self) -> None:
        """Abort, whether the file is closed or not. It does not count for its transaction any more."""
        self.was_discarded = True
        self.abort()
        if self.pending is not None and self.left:
            self.pending.abort(client=self.calls.client)
            self._is_gone = True
