"""An ordinary Python file whose bytes become one S3 object, wholly or not at all."""

from typing import TYPE_CHECKING, Any

from s3writer._errors import (
    AbortedError,
    AccessDeniedError,
    BucketNotFoundError,
    ChecksumMismatchError,
    ConflictError,
    ConnectionFailedError,
    CredentialsError,
    IncompleteError,
    KeyExistsError,
    NotCommittedError,
    ObjectTooLargeError,
    OutcomeUnknownError,
    PreconditionFailedError,
    S3WriterError,
    ThrottledError,
    WrongRegionError,
)
from s3writer._file.open import open
from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3.receipts import Receipt as Receipt
from s3writer._s3.receipts import UploadResult
from s3writer.pending import PartlyCommittedError, PendingUpload, commit_all
from s3writer.unfinished import (
    CleanupRule,
    UnfinishedUpload,
    abort_uploads,
    add_cleanup_rule,
    cleanup_rules,
    list_uploads,
)

if TYPE_CHECKING:
    __version__: str

__all__ = [
    "AbortedError",
    "AccessDeniedError",
    "BucketNotFoundError",
    "ChecksumMismatchError",
    "CleanupRule",
    "ConflictError",
    "ConnectionFailedError",
    "CredentialsError",
    "IncompleteError",
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

#: Tracebacks, `help` and pickles show what a user would import.
for _name in (*__all__, "Receipt"):
    globals()[_name].__module__ = __name__


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    """``__version__``, which takes longer to read than all the rest."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError as error:
        raise AttributeError(f"{__name__} was not installed, but copied: it has no {name!r}") from error
