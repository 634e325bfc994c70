"""The error types. Each type says what happened and what the caller can do.

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
   │  ├─ IncompleteError         a wrapper holds bytes back, or exact_size is another
   │  └─ AbortedError            the upload had been aborted before
   ├─ OutcomeUnknownError        the answer to the commit was lost
   └─ PartlyCommittedError       commit_all: published, failed, left
```

Every error survives pickling, ``errno`` included. Its notes say what went wrong during the cleanup.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar


class S3WriterError(OSError):
    """Base of all errors of this package.

    Attributes: ``bucket`` and ``key`` name the object. ``upload_id`` names a multipart upload that may still be in S3,
    stored and billed. It is None if no upload is left. It is also None if S3's answer with the id was lost: a note then
    says so.
    """

    ERRNO: ClassVar[int] = errno.EIO

    def __init__(self, message: str, bucket: str, key: str, upload_id: str | None = None) -> None:
        super().__init__(self.ERRNO, message)
        self.bucket = bucket
        self.key = key
        self.upload_id = upload_id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).__new__, (type(self),), (self.strerror, self.__dict__)

    def __setstate__(self, state: Any) -> None:
        """Restore what ``__reduce__`` saved: the message, and the attributes with the notes."""
        message, attributes = state
        OSError.__init__(self, self.ERRNO, message)
        self.__dict__.update(attributes)


def add_note(error: BaseException, note: str) -> bool:
    """Add ``note`` to ``error``. Returns False if the note is there already.

    It does not call ``error.add_note``: a user's exception may override that, and raise anything.
    """
    notes = vars(error).setdefault("__notes__", [])
    if not isinstance(notes, list) or note in notes:
        return False
    notes.append(note)
    return True


def drop_note(error: BaseException, note: str) -> None:
    """Remove a note that `add_note` added."""
    notes = vars(error).get("__notes__", [])
    notes.remove(note)
    if not notes:
        vars(error).pop("__notes__")


def say_first(error: BaseException | None, note: str) -> Callable[[], None]:
    """Add ``note`` to ``error`` before something is tried. Returns a function to call once it turned out well: it takes
    the note back, unless the note was there before. Without an ``error``, or with an empty note, do nothing.
    """
    if error is not None and note and add_note(error, note):
        return partial(drop_note, error, note)
    return lambda: None


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
    """S3 answered "slow down" to every attempt of the client."""

    ERRNO = errno.EAGAIN


class KeyExistsError(NotCommittedError, FileExistsError):
    """``exclusive=True``, and the key exists."""

    ERRNO = errno.EEXIST


class PreconditionFailedError(NotCommittedError):
    """A condition, such as ``IfMatch``, did not hold when S3 was asked to publish the object."""

    ERRNO = errno.ESTALE


class ConflictError(NotCommittedError):
    """S3 refused a conditional write because another write to the same key was running."""

    ERRNO = errno.EBUSY


class ChecksumMismatchError(NotCommittedError):
    """S3 received other bytes than the writer sent, or a part in S3 differs from the source that `resume` verifies."""

    ERRNO = errno.EBADMSG


class ObjectTooLargeError(NotCommittedError):
    """The stream does not fit into S3's 10,000 parts, if they are as large as the writer's settings allow."""

    ERRNO = errno.EFBIG


class IncompleteError(NotCommittedError):
    """Bytes are missing, or there are too many: a wrapper still holds some back, or ``exact_size`` differs."""

    ERRNO = errno.ENODATA


class AbortedError(NotCommittedError):
    """The upload had been aborted, or had failed, before this call. The first error is this error's cause.

    If the first error is a `NotCommittedError` of some type, this error is of that type as well: ``except
    AccessDeniedError`` catches what a wrapper's ``close`` raises after a ``write`` that was denied.
    """

    ERRNO = errno.ECANCELED


def aborted_after(first: BaseException | None) -> type[AbortedError]:
    """The type of the error to raise after ``first``."""
    return _aborted_and(type(first)) if isinstance(first, NotCommittedError) else AbortedError


_aborted_kinds: dict[Any, type[AbortedError]] = {}


def _aborted_and(kind: type[NotCommittedError]) -> type[AbortedError]:
    """The type that is both `AbortedError` and ``kind``. Tracebacks show it as ``kind``."""
    if issubclass(kind, AbortedError) or kind is NotCommittedError:
        return AbortedError
    both = {
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
        "__reduce__": lambda self: (_revive_aborted, (kind,), (self.strerror, self.__dict__)),
        "ERRNO": kind.ERRNO,
    }
    return _aborted_kinds.setdefault(kind, type(kind.__name__, (kind, AbortedError), both))


def _revive_aborted(kind: type[NotCommittedError]) -> AbortedError:
    return AbortedError.__new__(_aborted_and(kind))


class OutcomeUnknownError(S3WriterError):
    """S3's answer to the commit was lost, and S3 does not show whether the object was published.

    You can find out later: the object is this writer's if ``HeadObject`` shows ``size`` bytes, and ``token`` as
    ``s3writer-token`` in the metadata. ``token`` is None if the writer was made with ``commit_token=False``. ``parts``
    are the upload's parts, as ``CompleteMultipartUpload`` takes them; the list is empty if the object was sent in a
    single request.
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
