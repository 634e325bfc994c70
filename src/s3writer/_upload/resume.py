"""What of an unfinished upload can be built upon, and whether it is what its producer would write again."""

import base64
import contextlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from s3writer._errors import ChecksumMismatchError, NotCommittedError
from s3writer._s3.checksums import MD5, Digest, algorithms
from s3writer._upload.lifecycle import Receipt
from s3writer._upload.plan import MIN_PART_BYTES

_PIECE_BYTES = 1024 * 1024
_MD5_BYTES = 16


class Readable(Protocol):
    """A binary file."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


def usable(parts: Iterable[Receipt]) -> list[Receipt]:
    """The parts from number 1 on that have no gap between them, up to the first that is too small to be followed by
    another one. All others are sent again, in place of what S3 has (see `misleading`).
    """
    found: list[Receipt] = []
    for part in parts:
        if part.number != len(found) + 1 or part.size < MIN_PART_BYTES:
            break
        found.append(part)
    return found


def misleading(parts: Iterable[Receipt], used: Sequence[Receipt]) -> list[Receipt]:
    """The parts behind those that are used which a later look would take for their continuation, though they may stand
    at another place of the stream: another writer may have cut it into parts of other sizes.
    """
    return [part for part in parts if part.number > len(used) and part.size >= MIN_PART_BYTES]


def verify(parts: Sequence[Receipt], source: Readable, bucket: str, key: str, upload_id: str) -> None:
    """Read ``source`` as far as the parts go, or `NotCommittedError`: it holds other bytes, or nothing tells which."""

    def refuse(kind: type[NotCommittedError], part: Receipt, why: str) -> NotCommittedError:
        return kind(f"part {part.number} of upload {upload_id} to s3://{bucket}/{key} {why}", bucket, key, upload_id)

    for part in parts:
        if (known := _known(part)) is None:
            raise refuse(NotCommittedError, part, f"can't be verified: its ETag {part.etag} is all that S3 tells of it")
        digest, expected, kind = known
        while left := part.size - digest.size:
            piece = source.read(min(left, _PIECE_BYTES))
            if not piece:
                raise refuse(ChecksumMismatchError, part, f"has {left} bytes more than the source")
            digest.update(memoryview(piece))
        if digest.value() != expected:
            encrypted = "" if kind is ChecksumMismatchError else ", or is encrypted, so that its ETag tells nothing"
            raise refuse(kind, part, f"holds other bytes than the source{encrypted}")


def _known(part: Receipt) -> tuple[Digest, str, type[NotCommittedError]] | None:
    """A digest to be taken of a part's bytes, what it must come to, and what is wrong if it does not. The ETag of a
    part is an MD5, unless it is encrypted; S3's API reference, data type Object.
    """
    for field, value in part.checksums.items():
        if algorithm := algorithms().get(field.removeprefix("Checksum")):
            return algorithm.start(), value, ChecksumMismatchError
    with contextlib.suppress(ValueError):
        if len(md5 := bytes.fromhex(part.etag.strip('"'))) == _MD5_BYTES:
            return MD5.start(), base64.b64encode(md5).decode(), NotCommittedError
    return None
