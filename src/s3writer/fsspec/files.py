"""The files that the file system opens for writing."""

from collections.abc import Callable
from typing import Any

from s3writer._errors import KeyExistsError, NotCommittedError
from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3.receipts import UploadResult
from s3writer._upload.part import Part
from s3writer.pending import PendingUpload


class PublishedFile(MultipartUploadWriter):
    """A writer that lets a file system forget its listings of the object's folder when it is closed.

    ``forget`` is called then. ``path`` is the path in the file system; all other parameters are the writer's.
    """

    def __init__(self, path: str, bucket: str, key: str, forget: Callable[[], object], **options: Any) -> None:
        super().__init__(bucket, key, **options)
        self.path = path
        self.bucket = bucket
        self.key = key
        self._forget = forget

    def close(self) -> None:
        """Publish the object, or abort: see `MultipartUploadWriter.close`."""
        was_closed = self.closed
        try:
            super().close()
        finally:
            if not was_closed:
                self._forget()

    def commit(self) -> UploadResult:
        """Publish what was written: see `MultipartUploadWriter.commit`."""
        try:
            return super().commit()
        finally:
            self._forget()

    def check_absence(self) -> None:
        """Raise `KeyExistsError` if the key exists, and end the upload that has not begun. S3 decides when the object
        is published; this spares a producer its work. If S3 won't tell, do nothing.
        """
        calls = self._upload.calls
        try:
            found = calls.head()
        except NotCommittedError:
            return
        if found is not None:
            self.abort()
            raise KeyExistsError(f"{calls.url} exists already", *calls.address)


class DeferredFile(PublishedFile):
    """A file of a transaction: `close` uploads all of it, and `commit` or `discard` decides later."""

    def __init__(self, path: str, bucket: str, key: str, forget: Callable[[], object], **options: Any) -> None:
        super().__init__(path, bucket, key, forget, **options)
        self.pending: PendingUpload | None = None
        self.was_discarded = False
        self.customer_key = {name: options[name] for name in ("SSECustomerKey",) if name in options}
        self._end_well = self._keep

    @property
    def client(self) -> Any:
        """The boto3 client that the file is uploaded with."""
        return self._upload.calls.client

    def close(self) -> None:
        """Upload everything, and publish nothing yet; or abort, as `MultipartUploadWriter.close` does."""
        super().close()

    def prepare(self) -> PendingUpload:
        """Upload everything, and return the `PendingUpload` that a transaction would commit."""
        if self.pending is None:
            self.pending = super().prepare()
        return self.pending

    def commit(self) -> UploadResult:
        """Publish the object. If it was not closed yet, close it first."""
        try:
            return self.prepare().commit(client=self.client, **self.customer_key)
        finally:
            self._forget()

    def discard(self) -> None:
        """Abort, whether the file is closed or not. It does not count for its transaction any more."""
        self.was_discarded = True
        self.abort()
        if self.pending is not None:
            self.pending.abort(client=self.client, **self.customer_key)

    def _keep(self, rest: Part) -> None:
        self.pending = self._prepared(rest)
