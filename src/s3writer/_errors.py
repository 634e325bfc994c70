"""What can go wrong, as types that say what happened and what the caller may do.

```text
OSError
└─ S3WriterError                 bucket, key, upload_id
   ├─ NotCommittedError          nothing published, the key is as it was
   │  ├─ BucketNotFoundError     and FileNotFoundError
   │  ├─ AccessDeniedError       and PermissionError
   │  ├─ CredentialsError        and PermissionError: missing, wrong, expired
   │  ├─ WrongRegionError
   │  ├─ ConnectionFailedError   and ConnectionError
   │  ├─ ThrottledError          slow down, until retries ran out
   │  ├─ KeyExistsError          and FileExistsError: exclusive=True
   │  ├─ PreconditionFailedError an IfMatch that no longer holds
   │  ├─ ConflictError           somebody else was writing the same key
   │  ├─ ChecksumMismatchError   S3 received other bytes than were sent
   │  ├─ ObjectTooLargeError     past 10,000 parts
   │  └─ AbortedError            the upload had been aborted before
   ├─ OutcomeUnknownError        the answer to the commit was lost
   └─ PartlyCommittedError       commit_all: published, failed, left
```

Every error survives pickling, ``errno`` included; what went wrong while cleaning up is in its notes.
"""

import contextlib
import errno
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class S3WriterError(OSError):
    """Base of all errors of this package.

    Attributes: ``bucket`` and ``key`` name the object; ``upload_id`` is the multipart upload that may still be
    there, stored and billed, or None when nothing was left behind that has a name (notes tell of an upload whose id
    was lost).
    """

    ERRNO: ClassVar[int] = errno.EIO

    def __init__(self, message: str, bucket: str, key: str, upload_id: str | None = None) -> None:
        super().__init__(self.ERRNO, message)
        self.bucket = bucket
        self.key = key
        self.upload_id = upload_id

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.strerror), self.__dict__


def add_note(error: BaseException, note: str) -> None:
    """Let ``error`` say it, if it is one that can be changed, and does not say it yet."""
    with contextlib.suppress(Exception):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)


def _revive(kind: type[S3WriterError], message: str) -> S3WriterError:
    error = kind.__new__(kind)
    OSError.__init__(error, kind.ERRNO, message)
    return error


class NotCommittedError(S3WriterError):
    """Nothing was published; the key is as it was. Writing the object anew, from its first byte, is safe."""


class BucketNotFoundError(NotCommittedError, FileNotFoundError):
    """The bucket does not exist."""

    ERRNO = errno.ENOENT


class AccessDeniedError(NotCommittedError, PermissionError):
    """The credentials are valid, but a policy or an ACL does not let them do this."""

    ERRNO = errno.EACCES


class CredentialsError(NotCommittedError, PermissionError):
    """The credentials are missing, wrong or expired."""

    ERRNO = errno.EPERM


class WrongRegionError(NotCommittedError):
    """The client's region or endpoint is not the bucket's."""

    ERRNO = errno.EREMOTE


class ConnectionFailedError(NotCommittedError, ConnectionError):
    """S3 could not be reached, or stopped answering."""

    ERRNO = errno.ECONNABORTED


class ThrottledError(NotCommittedError):
    """S3 asked to slow down, and went on asking through all of the client's retries."""

    ERRNO = errno.EAGAIN


class KeyExistsError(NotCommittedError, FileExistsError):
    """``exclusive=True``, and the key exists."""

    ERRNO = errno.EEXIST


class PreconditionFailedError(NotCommittedError):
    """A condition such as ``IfMatch`` did not hold when the object was to be published."""

    ERRNO = errno.ESTALE


class ConflictError(NotCommittedError):
    """Another writer of the same key was at work when this one was to publish a conditional write."""

    ERRNO = errno.EBUSY


class ChecksumMismatchError(NotCommittedError):
    """The store received other bytes than were sent."""

    ERRNO = errno.EBADMSG


class ObjectTooLargeError(NotCommittedError):
    """The stream needs more than S3's 10,000 parts of the sizes that the writer's settings allow."""

    ERRNO = errno.EFBIG


class AbortedError(NotCommittedError):
    """The upload had been aborted, or had failed, before this call; the first error is the cause."""

    ERRNO = errno.ECANCELED


class OutcomeUnknownError(S3WriterError):
    """The answer to the commit was lost, and what S3 shows does not settle whether the object was published.

    Besides ``bucket``, ``key`` and ``upload_id`` it carries what settles the question later: the object is this
    writer's if ``HeadObject`` shows ``size`` bytes and ``token`` under ``s3writer-token`` in its metadata
    (``token`` is None when the writer was made with ``commit_token=False``). ``parts`` are the upload's, as
    ``CompleteMultipartUpload`` takes them; empty if the object was sent in a single request.
    """

    def __init__(
        self,
        message: str,
        bucket: str,
        key: str,
        upload_id: str | None = None,
        token: str | None = None,
        size: int | None = None,
        parts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, bucket, key, upload_id)
        self.token = token
        self.size = size
        self.parts = list(parts)
