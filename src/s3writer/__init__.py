"""An ordinary Python file whose bytes become one S3 object, wholly or not at all."""

from importlib.metadata import version

from s3writer._errors import (
    AbortedError,
    AccessDeniedError,
    BucketNotFoundError,
    ChecksumMismatchError,
    ConflictError,
    ConnectionFailedError,
    CredentialsError,
    KeyExistsError,
    NotCommittedError,
    ObjectTooLargeError,
    OutcomeUnknownError,
    PreconditionFailedError,
    S3WriterError,
    ThrottledError,
    WrongRegionError,
)
from s3writer._open import open
from s3writer._session import UploadResult
from s3writer._writer import MultipartUploadWriter
from s3writer.pending import PartlyCommittedError, PendingUpload, commit_all
from s3writer.unfinished import (
    CleanupRule,
    UnfinishedUpload,
    abort_uploads,
    add_cleanup_rule,
    cleanup_rules,
    list_uploads,
)

__version__ = version("s3writer")

__all__ = [
    "AbortedError",
    "AccessDeniedError",
    "BucketNotFoundError",
    "ChecksumMismatchError",
    "CleanupRule",
    "ConflictError",
    "ConnectionFailedError",
    "CredentialsError",
    "KeyExistsError",
    "MultipartUploadWriter",
    "NotCommittedError",
    "ObjectTooLargeError",
    "OutcomeUnknownError",
    "PartlyCommittedError",
    "PendingUpload",
    "PreconditionFailedError",
    "S3WriterError",
    "ThrottledError",
    "UnfinishedUpload",
    "UploadResult",
    "WrongRegionError",
    "abort_uploads",
    "add_cleanup_rule",
    "cleanup_rules",
    "commit_all",
    "list_uploads",
    "open",
]
