"""Continues an upload that was left in S3: finds the parts that can be reused, and compares them with the source."""

import base64
import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from s3writer._errors import ChecksumMismatchError, NotCommittedError
from s3writer._s3 import faults
from s3writer._s3.body import Body
from s3writer._s3.calls import Calls, receipt_of
from s3writer._s3.checksums import MD5, Digest, algorithms, named
from s3writer._s3.proof import Proof
from s3writer._s3.receipts import Receipt
from s3writer._upload import outcome
from s3writer._upload.jobs import run
from s3writer._upload.plan import MIN_PART_BYTES

_PIECE_BYTES = 1024 * 1024
_MD5 = re.compile('"?([0-9a-fA-F]{32})"?')


class Readable(Protocol):
    """A binary file."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


def take_over(calls: Calls, upload_id: str, token: str | None, source: Readable | None) -> tuple[Calls, list[Receipt]]:
    """The calls for an upload that was begun elsewhere with ``token``, and its parts that can be reused.

    If there is a ``source``, the parts are compared with it. Nothing in S3 is changed before they have proved equal.
    """
    calls.arguments.refuse_late_ones()
    calls = dataclasses.replace(calls, token=token)
    try:
        calls, parts = run(lambda: _list(calls, upload_id))
    except NotCommittedError as error:
        raise (outcome.gone(calls, upload_id) if faults.says_gone(error) else error) from error.__cause__
    used = usable(parts)
    if source is not None:
        verify(used, source, *calls.address, upload_id)
    for part in misleading(parts, used):
        _overwrite(calls, upload_id, part)
    return calls, used


def usable(parts: Iterable[Receipt]) -> list[Receipt]:
    """The parts from number 1 on, up to the first that is missing, or that is smaller than 5 MiB."""
    found: list[Receipt] = []
    for part in parts:
        if part.number != len(found) + 1 or part.size < MIN_PART_BYTES:
            break
        found.append(part)
    return found


def misleading(parts: Iterable[Receipt], used: Sequence[Receipt]) -> list[Receipt]:
    """Parts of 5 MiB or more after the gap. A writer with other part sizes may have sent them, so they may belong to
    another place of the stream. A later resume could take them for ours.
    """
    return [part for part in parts if part.number > len(used) and part.size >= MIN_PART_BYTES]


def verify(parts: Sequence[Receipt], source: Readable, bucket: str, key: str, upload_id: str) -> None:
    """Compare ``source`` with the parts. `NotCommittedError` if bytes differ, or if S3 tells no digest of a part."""

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


def _list(calls: Calls, upload_id: str) -> tuple[Calls, list[Receipt]]:
    """The calls, with the upload's own checksum algorithm if S3 tells it, and the upload's parts in order.

    Ignore a part without a size, and a number that is listed twice with different content. SeaweedFS lists a part twice
    that was sent twice.
    """
    found: dict[int, Receipt | None] = {}
    proof = dataclasses.replace(calls.proof, is_declared=False)
    for page in calls.list_parts(upload_id):
        for part in page.get("Parts", []):
            number, receipt = part["PartNumber"], receipt_of(part)
            found[number] = receipt if found.get(number, receipt) == receipt else None
        if name := page.get("ChecksumAlgorithm"):
            proof = Proof(named(name), combines=page.get("ChecksumType") != "COMPOSITE")
    return dataclasses.replace(calls, proof=proof), [
        receipt for _, receipt in sorted(found.items()) if receipt is not None
    ]


def _overwrite(calls: Calls, upload_id: str, part: Receipt) -> None:
    """Replace a part in S3 by one byte."""
    pieces = [memoryview(b"-")]
    run(lambda: calls.upload_part(upload_id, part.number, Body(pieces), pieces, calls.proof.start_digest()))


def _known(part: Receipt) -> tuple[Digest, str, type[NotCommittedError]] | None:
    """How to verify a part: a new digest, its expected value, and the error if it differs. None if S3 tells none.

    The ETag of a part is its MD5, unless the part is encrypted; S3's API reference, data type Object.
    """
    for field, value in part.checksums.items():
        if algorithm := algorithms().get(field.removeprefix("Checksum")):
            return algorithm.start(), value, ChecksumMismatchError
    if found := _MD5.fullmatch(part.etag):
        return MD5.start(), base64.b64encode(bytes.fromhex(found[1])).decode(), NotCommittedError
    return None
