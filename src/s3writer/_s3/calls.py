"""The calls of S3 that make one object. Each takes arguments, and returns S3's answer or raises. No state is kept.

Errors are this package's, with botocore's as the cause.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3writer._errors import ChecksumMismatchError, NotCommittedError
from s3writer._s3 import faults
from s3writer._s3.arguments import Arguments
from s3writer._s3.attempts import attempts_of_call
from s3writer._s3.body import Body
from s3writer._s3.checksums import Digest
from s3writer._s3.operations import ABORT, COMPLETE, CREATE, HEAD, LIST, PART, PUT, Operation
from s3writer._s3.proof import NO_CHECKSUMS, Proof, labelled
from s3writer._s3.receipts import Answer, CommitAnswer, Receipt, UploadResult

#: The object's metadata holds a random token under this name.
TOKEN_NAME = "s3writer-token"


@dataclass(frozen=True, slots=True)
class Begun:
    """The id of a new multipart upload. If the call may have reached S3 before, S3 may have begun a second upload."""

    upload_id: str
    may_have_begun_another: bool


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls for the object ``key`` in ``bucket``, through a boto3 client and with the caller's arguments.

    ``proof`` says which checksums go with them.
    """

    client: Any
    bucket: str
    key: str
    arguments: Arguments
    proof: Proof = NO_CHECKSUMS
    exclusive: bool = False
    token: str | None = None

    @property
    def url(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def address(self) -> tuple[str, str]:
        """Bucket and key."""
        return self.bucket, self.key

    def put(self, body: Body, pieces: Sequence[memoryview], digest: Digest | None) -> CommitAnswer:
        """Publish ``pieces`` as the whole object, in one request that sends ``body``."""
        checksums = self.proof.of(pieces, digest)
        checksum = labelled(checksums)
        parameters = {"Body": body, **checksums, **_metadata(self), **_condition(self)}
        with attempts_of_call() as attempts:
            try:
                answer = _checked(self._send(PUT, **parameters), "ETag")
            except Exception as error:
                refused = faults.is_refusal(error, PUT, attempts) or not body.may_have_arrived
                return self._failed(error, Answer.NO if refused else Answer.NOTHING, checksum)
        return self._published(answer, len(body), 1, checksum)

    def create(self) -> Begun:
        """Begin a multipart upload."""
        with attempts_of_call() as attempts:
            try:
                answer = _checked(self._send(CREATE, **self.proof.declaration, **_metadata(self)), "UploadId")
            except Exception as error:
                failure = faults.translate(error, "beginning the upload to", *self.address)
                if not faults.is_refusal(error, CREATE, attempts):
                    failure.add_note(lost_upload(self))
                raise failure from failure.__cause__
        return Begun(str(answer["UploadId"]), not faults.reached_once(answer, attempts))

    def upload_part(
        self, upload_id: str, number: int, body: Body, pieces: Sequence[memoryview], digest: Digest | None
    ) -> Receipt:
        """Send ``pieces`` as part ``number``, through ``body``. ``digest`` has seen the first of their bytes."""
        checksums = self.proof.of(pieces, digest)
        proofs = self.proof.of_part(checksums, pieces)
        doing = f"uploading part {number} to"
        answer = self._call(doing, PART, UploadId=upload_id, PartNumber=number, Body=body, **proofs)
        for name, value in checksums.items():
            if answer.get(name, value) != value:
                raise ChecksumMismatchError(
                    f"{doing} {self.url} failed: S3 has {name} {answer[name]}, not {value}", *self.address
                )
        return Receipt(number, len(body), answer.get("ETag", ""), checksums)

    def complete(self, upload_id: str, receipts: Sequence[Receipt], checksum: str | None) -> CommitAnswer:
        """Publish the object that consists of these parts, and has this checksum as a whole."""
        size = sum(receipt.size for receipt in receipts)
        whole: dict[str, str] = {}
        if checksum:
            algorithm, _, value = checksum.partition(":")
            whole = {"ChecksumType": "FULL_OBJECT", f"Checksum{algorithm}": value}
        is_text = self.arguments.takes(COMPLETE, "MpuObjectSize").type_name == "string"
        parameters = {
            "UploadId": upload_id,
            "MultipartUpload": {"Parts": listed(receipts)},
            "MpuObjectSize": str(size) if is_text else size,
            **whole,
            **_condition(self),
        }
        with attempts_of_call() as attempts:
            try:
                answer = _checked(self._send(COMPLETE, **parameters), "ETag", "Location", "Key")
            except Exception as error:
                refused = faults.is_refusal(error, COMPLETE, attempts)
                return self._failed(error, Answer.NO if refused else Answer.NOTHING, checksum)
        return self._published(answer, size, len(receipts), checksum)

    def abort(self, upload_id: str) -> bool:
        """Abort the upload. Returns whether S3 knew it."""
        try:
            self._call("aborting the upload to", ABORT, UploadId=upload_id)
        except NotCommittedError as error:
            if faults.says_gone(error):
                return False
            raise
        return True

    def list_parts(self, upload_id: str) -> Iterator[Mapping[str, Any]]:
        """ListParts' answers, page by page."""
        marker = 0
        while True:
            answer = self._call("listing the parts of", LIST, UploadId=upload_id, PartNumberMarker=marker)
            yield answer
            following = answer.get("NextPartNumberMarker") or 0
            if not answer.get("IsTruncated") or following <= marker:
                return
            marker = following

    def shows(self, upload_id: str) -> bool | None:
        """Whether S3 shows the upload; None if it won't tell."""
        try:
            answer = self._call("listing the parts of", LIST, UploadId=upload_id)
        except NotCommittedError as error:
            return False if faults.says_gone(error) else None
        return answer.get("UploadId") == upload_id or bool(answer.get("Parts"))

    def head(self) -> Mapping[str, Any] | None:
        """HeadObject's answer; None if there is no object."""
        try:
            answer: Mapping[str, Any] = self._call("looking at", HEAD)
        except NotCommittedError as error:
            if faults.says_gone(error):
                return None
            raise
        return answer

    def is_ours(self, head: Mapping[str, Any]) -> bool:
        """Whether the object of this HeadObject answer has our token."""
        metadata = {name.lower(): value for name, value in head.get("Metadata", {}).items()}
        return self.token is not None and metadata.get(TOKEN_NAME) == self.token

    def result(self, answer: Mapping[str, Any], size: int, parts: int, computed: str | None) -> UploadResult:
        """The result, made of S3's ``answer`` and of the caller's knowledge."""
        etag = (answer.get("ETag") or "").strip('"')
        quoted = f'"{etag}"' if etag else None
        confirmed = self.proof.confirmed(answer, computed)
        return UploadResult(self.bucket, self.key, quoted, answer.get("VersionId"), size, parts, confirmed, computed)

    def _published(self, answer: Mapping[str, Any], size: int, parts: int, computed: str | None) -> CommitAnswer:
        """S3's yes to a commit. Some stores leave the ETag out of it; then HeadObject is asked."""
        if not answer.get("ETag"):
            with contextlib.suppress(NotCommittedError):
                head = self.head() or {}
                answer = {**answer, "ETag": head.get("ETag") if self.is_ours(head) else None}
        return CommitAnswer(Answer.YES, computed, self.result(answer, size, parts, computed))

    def _failed(self, error: Exception, answer: Answer, computed: str | None) -> CommitAnswer:
        failure = faults.translate(error, "publishing", *self.address, exclusive=self.exclusive)
        return CommitAnswer(answer, computed, error=failure)

    def _call(self, doing: str, operation: Operation, **parameters: Any) -> Any:
        try:
            return self._send(operation, **parameters)
        except Exception as error:
            failure = faults.translate(error, doing, *self.address)
            raise failure from failure.__cause__

    def _send(self, operation: Operation, **parameters: Any) -> Any:
        given = self.arguments.of(operation)
        return getattr(self.client, operation.method)(Bucket=self.bucket, Key=self.key, **{**given, **parameters})


def _metadata(calls: Calls) -> dict[str, Any]:
    """The object's metadata, with the token."""
    if calls.token is None:
        return {}
    return {"Metadata": {**calls.arguments.of(PUT).get("Metadata", {}), TOKEN_NAME: calls.token}}


def _condition(calls: Calls) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if calls.exclusive else {}


def lost_upload(calls: Calls) -> str:
    """The warning for a lost answer to CreateMultipartUpload: an upload may have begun whose id nobody knows."""
    return (
        f"an upload to {calls.url} may have begun whose id was lost with S3's answer; look for it among the unfinished "
        "uploads of this key"
    )


def listed(receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
    """The parts as CompleteMultipartUpload takes them."""
    return [{"PartNumber": receipt.number, "ETag": receipt.etag, **receipt.checksums} for receipt in receipts]


def receipt_of(part: Mapping[str, Any]) -> Receipt | None:
    """One of ListParts' entries; None if it lacks what a commit needs."""
    if "Size" not in part or not part.get("ETag"):
        return None
    checksums = {name: value for name, value in part.items() if name.startswith("Checksum")}
    return Receipt(part["PartNumber"], part["Size"], part["ETag"], checksums)


def _checked(answer: Any, *fields: str) -> Any:
    """``answer``, if it has one of these fields; else ValueError. A gateway may answer 200 to anything, without them. A
    user's stub may leave fields out: it has no ResponseMetadata, as answers over the network do.
    """
    if "ResponseMetadata" in answer and not answer.keys() & fields:
        raise ValueError(f"the answer has no {fields[0]}, and may be that of a server in between")
    return answer
