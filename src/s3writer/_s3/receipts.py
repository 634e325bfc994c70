"""S3's answers as plain data."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Receipt:
    """S3's word that it has a part: its number, size in bytes, ETag, and checksums by the name of S3's field."""

    number: int
    size: int
    etag: str
    checksums: dict[str, str]


def bare(receipts: Iterable[Receipt]) -> list[Receipt]:
    """The receipts without checksums: S3 takes none in the commit of an upload that was begun without."""
    return [dataclasses.replace(receipt, checksums={}) for receipt in receipts]


@dataclass(frozen=True, slots=True)
class UploadResult:
    """What was published.

    Attributes:
        bucket: the bucket that holds the object.
        key: the object's name there.
        etag: S3's entity tag, quotes included; None if the store told none.
        version_id: the version that was made; None in a bucket without versions.
        size: bytes.
        parts: the number of parts; 1 if the object was sent in a single request.
        checksum: ``"CRC64NVME:<base64>"`` of the whole object, as S3 answered it. With SHA1 or SHA256, and more than
            one part, it is a checksum of the parts' checksums. It is None if S3 answered none: the store does not keep
            checksums, the answer was lost, the object came from segments, or the writer had ``checksum=None``.
        computed_checksum: the checksum of the whole object that the writer computed from the bytes that it sent. None
            with ``checksum=None``, and with SHA1 or SHA256 if there is more than one part.

    """

    bucket: str
    key: str
    etag: str | None
    version_id: str | None
    size: int
    parts: int
    checksum: str | None
    computed_checksum: str | None = None


class Answer(Enum):
    """What S3 answered to a commit."""

    YES = "yes"
    #: S3 refused the only attempt. The commit did nothing.
    NO = "no"
    #: Nobody knows what S3 did: the connection broke, S3 failed, a gateway answered, or an attempt was repeated.
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class CommitAnswer:
    """The outcome of the call that publishes: with `Answer.YES` a ``result``, else an ``error`` that says why not.

    ``computed`` is the whole object's checksum, "NAME:base64", or None if the parts don't yield one.
    """

    answer: Answer
    computed: str | None
    result: UploadResult | None = None
    error: Exception | None = None
