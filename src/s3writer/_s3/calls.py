"""S3 itself: one object in the making, as the few calls that make it.

What boto changes ends here. Errors leave as this package's own; a commit whose answer was lost leaves as
`LostAnswerError`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from s3writer._errors import ChecksumMismatchError, NotCommittedError, OutcomeUnknownError, S3WriterError
from s3writer._log import facts, warn
from s3writer._s3 import body as _body
from s3writer._s3 import faults as _faults
from s3writer._s3.arguments import ABORT, COMPLETE, CREATE, HEAD, LIST, PART, PUT, Arguments
from s3writer._s3.body import Body
from s3writer._s3.checksums import Algorithm, Digest, best, named
from s3writer._upload.lifecycle import Receipt, UploadResult

#: Under this name a random token goes into the object's metadata.
TOKEN_NAME = "s3writer-token"

#: A part that lands after an abort needs another one; S3's API reference of AbortMultipartUpload.
_ABORT_ATTEMPTS = 3
_ABORT_PAUSE_SECONDS = 0.2

_METHODS = {
    PUT: "put_object",
    CREATE: "create_multipart_upload",
    PART: "upload_part",
    COMPLETE: "complete_multipart_upload",
    ABORT: "abort_multipart_upload",
    LIST: "list_parts",
    HEAD: "head_object",
}


class LostAnswerError(Exception):
    """A commit may or may not have happened.

    ``error`` is what to raise if it turns out that it did not: this package's word for the fault, or the interrupt
    that came in between. ``answered`` says whether S3 answered every attempt, ``checksum`` is the whole object's.
    """

    def __init__(self, error: BaseException, *, answered: bool, checksum: str | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.answered = answered
        self.checksum = checksum

    @property
    def interrupt(self) -> BaseException | None:
        """What came in between, if it was no fault."""
        return None if isinstance(self.error, S3WriterError) else self.error


class Store:
    """The calls that make the object ``key`` in ``bucket``, through a boto3 client and with the caller's arguments.

    ``is_undecided`` is true once a commit has been sent that S3 has not refused.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        key: str,
        *,
        arguments: Arguments,
        algorithm: Algorithm | None = None,
        exclusive: bool = False,
        token: str | None = None,
    ) -> None:
        self.bucket = bucket
        self.key = key
        self.token = token
        self._client = client
        self.arguments = arguments
        self._algorithm = algorithm
        self._combines = True
        self._asks_first = True
        self.is_undecided = False
        self.exclusive = exclusive

    def start_digest(self) -> Digest | None:
        """A digest for the next part, or None without checksums."""
        return self._algorithm.start() if self._algorithm else None

    @property
    def digests_early(self) -> bool:
        """Whether bytes are best digested as soon as they are written."""
        return self._algorithm is not None and self._algorithm.outruns_memory

    def put(self, pieces: Sequence[memoryview], digest: Digest | None) -> UploadResult:
        """Publish ``pieces`` as the whole object, in one request."""
        checksums = self._checksums(pieces, digest)
        body = Body(pieces, lambda: None)
        events = self._client.meta.events
        events.register_first(f"before-send.s3.{PUT}", _body.begin_sending, unique_id="s3writer-send")
        events.register_first(f"needs-retry.s3.{PUT}", _body.note_lost_answer, unique_id="s3writer-answer")
        checksum = _labelled(checksums)
        parameters = {"Body": body, **checksums, **self._metadata(), **self._condition()}
        self.is_undecided = True
        try:
            answer = _checked(self._send(PUT, parameters), "ETag")
            return self._result(answer, len(body), 1, checksum)
        except BaseException as error:
            self._raise(error, body.handed_over, body.lost_answers, checksum)

    def create(self) -> str:
        """Begin a multipart upload; its id."""
        declared = {}
        if self._algorithm:
            kind = "FULL_OBJECT" if self._algorithm.crc else "COMPOSITE"
            declared = {"ChecksumAlgorithm": self._algorithm.name, "ChecksumType": kind}
        try:
            answer = _checked(self._send(CREATE, {**declared, **self._metadata()}), "UploadId")
        except Exception as error:
            failure = _faults.translate(error, "beginning the upload to", self.bucket, self.key)
            if not _faults.is_refusal(error):
                failure.add_note(self.lost_upload)
            raise failure from error
        if _was_sent_again(answer):
            warn(self.lost_upload, facts(self.bucket, self.key, None))
        return str(answer["UploadId"])

    def upload_part(
        self,
        upload_id: str,
        number: int,
        pieces: Sequence[memoryview],
        digest: Digest | None,
        check: Callable[[], None],
    ) -> Receipt:
        """Send part ``number``, of which ``digest`` has seen a beginning; ``check`` may raise to stop it on its way."""
        checksums = self._checksums(pieces, digest)
        body = Body(pieces, check)
        answer = self._send_part(upload_id, number, body, checksums)
        answered = {name: value for name, value in answer.items() if _is_checksum(name)}
        for name, value in checksums.items():
            if answered.get(name, value) != value:
                raise ChecksumMismatchError(
                    f"uploading part {number} to {self.url} failed: S3 has {name} {answered[name]}, not {value}",
                    self.bucket,
                    self.key,
                )
        return Receipt(number, len(body), answer.get("ETag", ""), checksums or answered)

    def manifest(self, receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
        """The parts as CompleteMultipartUpload wants them."""
        return [{"PartNumber": receipt.number, "ETag": receipt.etag, **receipt.checksums} for receipt in receipts]

    def whole_checksum(self, receipts: Sequence[Receipt]) -> str | None:
        """The object's checksum, "NAME:base64", from those of its parts; None if they don't yield it."""
        if not self._algorithm or not self._algorithm.crc or not self._combines:
            return None
        name = self._algorithm.field
        if any(name not in receipt.checksums for receipt in receipts):
            return None
        combined = self._algorithm.crc.combine((receipt.checksums[name], receipt.size) for receipt in receipts)
        return _labelled({name: combined})

    def complete(self, upload_id: str, receipts: Sequence[Receipt], checksum: str | None) -> UploadResult:
        """Publish the object that consists of these parts, and has this checksum as a whole."""
        size = sum(receipt.size for receipt in receipts)
        whole: dict[str, str] = {}
        if checksum:
            algorithm, _, value = checksum.partition(":")
            whole = {"ChecksumType": "FULL_OBJECT", f"Checksum{algorithm}": value}
        is_text = self.arguments.takes(COMPLETE, "MpuObjectSize").type_name == "string"
        parameters = {
            "UploadId": upload_id,
            "MultipartUpload": {"Parts": self.manifest(receipts)},
            "MpuObjectSize": str(size) if is_text else size,
            **whole,
            **self._condition(),
        }
        field = self._algorithm.field if self._algorithm else ""
        self.is_undecided = True
        try:
            answer = _checked(self._send(COMPLETE, parameters), "ETag", "Location", "Key")
            return self._result(answer, size, len(receipts), checksum or _labelled({field: answer.get(field)}))
        except BaseException as error:
            self._raise(error, True, True, checksum)

    def abort(self, upload_id: str) -> bool:
        """Abort the upload; whether S3 knew it."""
        try:
            self._call("aborting the upload to", ABORT, UploadId=upload_id)
        except NotCommittedError as error:
            if says_gone(error):
                return False
            raise
        return True

    def remove(self, upload_id: str, is_sending: Callable[[], object] = bool) -> bool:
        """Abort the upload until it does not show; whether S3 knew it. ``is_sending`` says if parts are on their way.
        `NotCommittedError` with its id if it may still be there.
        """
        was_there, reason = False, ""
        for attempt in range(_ABORT_ATTEMPTS):
            time.sleep(attempt * _ABORT_PAUSE_SECONDS)
            still_sending = is_sending()
            try:
                was_there |= self.abort(upload_id)
                if not self.shows(upload_id) and not still_sending:
                    return was_there
                reason = "S3 shows it even now"
            except NotCommittedError as error:
                reason = _faults.said(error.__cause__)
        raise self.left_behind(upload_id, reason)

    def left_behind(self, upload_id: str, reason: str) -> NotCommittedError:
        """What to say of an upload that could not be aborted."""
        return NotCommittedError(
            f"upload {upload_id} of {self.url} could not be aborted, S3 stores and bills its parts until it is: "
            f"{reason}",
            self.bucket,
            self.key,
            upload_id,
        )

    def take_over(self, upload_id: str, token: str | None) -> list[Receipt]:
        """Go on with an upload that was begun elsewhere: its parts, in order. From now on its token counts, and its
        checksum algorithm where S3 tells it. One that is listed as two different parts (SeaweedFS does that with a part
        that was sent twice) is left out, and so are those whose size S3 does not tell.
        """
        self.token = token
        found: dict[int, Receipt | None] = {}
        for page in self._listing(upload_id):
            for part in page.get("Parts", []):
                number, receipt = part["PartNumber"], _receipt(part)
                found[number] = receipt if found.get(number, receipt) == receipt else None
            if algorithm := page.get("ChecksumAlgorithm"):
                self._algorithm = named(algorithm)
            self._combines = page.get("ChecksumType") != "COMPOSITE"
        return [receipt for _, receipt in sorted(found.items()) if receipt is not None]

    def held(self, upload_id: str) -> list[Mapping[str, Any]] | None:
        """ListParts' entries of the upload, None if there is no such upload."""
        try:
            return [part for page in self._listing(upload_id) for part in page.get("Parts", [])]
        except NotCommittedError as error:
            if says_gone(error):
                return None
            raise

    def shows(self, upload_id: str) -> bool | None:
        """Whether S3 shows the upload; None if it won't tell."""
        try:
            answer = self._call("listing the parts of", LIST, UploadId=upload_id)
        except NotCommittedError as error:
            return False if says_gone(error) else None
        return answer.get("UploadId") == upload_id or bool(answer.get("Parts"))

    def head(self) -> Mapping[str, Any] | None:
        """What S3 says of the key now, None if there is no object."""
        try:
            answer: Mapping[str, Any] = self._call("looking at", HEAD)
        except NotCommittedError as error:
            if says_gone(error):
                return None
            raise
        return answer

    def recognize(
        self, head: Mapping[str, Any] | None, size: int, parts: int, checksum: str | None
    ) -> UploadResult | None:
        """The result of this upload if ``head`` shows its token, None if it shows another object or none.
        `NotCommittedError` if it shows what can't be: the token and another ``size``, or nothing of an object.
        """
        if head is None:
            return None
        if not self._is_ours(head):
            if not head.get("ETag"):
                raise NotCommittedError("the answer describes no object", self.bucket, self.key)
            return None
        if head.get("ContentLength") != size:
            shown = head.get("ContentLength")
            raise NotCommittedError(f"the object is shown with {shown} bytes instead of {size}", self.bucket, self.key)
        return self._result(head, size, parts, checksum)

    def _is_ours(self, head: Mapping[str, Any]) -> bool:
        metadata = {name.lower(): value for name, value in head.get("Metadata", {}).items()}
        return self.token is not None and metadata.get(TOKEN_NAME) == self.token

    def gone(self, upload_id: str) -> S3WriterError:
        """What to say of an upload that S3 does not know any more."""
        said = f"upload {upload_id} to {self.url} is gone"
        with contextlib.suppress(NotCommittedError):
            if (head := self.head()) is not None and self._is_ours(head):
                return S3WriterError(f"{said}: its object was published before", self.bucket, self.key)
        message = f"{said}: it was published, was aborted, or has expired. Look at the object"
        return OutcomeUnknownError(message, self.bucket, self.key, None, self.token)

    def unknown(
        self, reason: object, upload_id: str | None, size: int, parts: Sequence[Receipt]
    ) -> OutcomeUnknownError:
        """What to say of a commit whose outcome ``reason`` kept from being known."""
        mark = f"{self.token} as {TOKEN_NAME} in its metadata" if self.token else "the content that was written"
        return OutcomeUnknownError(
            f"whether {self.url} was published is not known: {_said(reason)}. Look at the object: it is this "
            f"writer's if it has {size} bytes and {mark}",
            self.bucket,
            self.key,
            upload_id,
            self.token,
            size,
            self.manifest(parts),
        )

    def published_all_the_same(self, result: UploadResult) -> str:
        """What an interrupt is to say that came too late to change that."""
        return f"{self.url} was published all the same: {result}"

    @property
    def options(self) -> dict[str, Any]:
        """What a writer that resumes this upload must be given, but for secrets."""
        exclusive = {"exclusive": True} if self.exclusive else {}
        checksum = self._algorithm.name if self._algorithm else None
        return {"token": self.token, "checksum": checksum, **exclusive, **self.arguments.for_commit()}

    @property
    def url(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"

    def _listing(self, upload_id: str) -> Iterator[Mapping[str, Any]]:
        """ListParts' answers, page by page."""
        marker = 0
        while True:
            answer = self._call("listing the parts of", LIST, UploadId=upload_id, PartNumberMarker=marker)
            yield answer
            following = answer.get("NextPartNumberMarker") or 0
            if not answer.get("IsTruncated") or following <= marker:
                return
            marker = following

    def _send_part(self, upload_id: str, number: int, body: Body, proof: Mapping[str, str]) -> Any:
        body.asks_first = self._asks_first
        answer = self._call(
            f"uploading part {number} to", PART, UploadId=upload_id, PartNumber=number, Body=body, **proof
        )
        self._asks_first = _was_sent_again(answer)
        return answer

    def _call(self, doing: str, operation: str, **parameters: Any) -> Any:
        try:
            return self._send(operation, parameters)
        except Exception as error:
            raise _faults.translate(error, doing, self.bucket, self.key) from error

    def _raise(self, error: BaseException, handed_over: bool, lost_answers: bool, checksum: str | None) -> NoReturn:
        """Say of a commit that raised ``error`` that it did not happen, or that nobody knows."""
        failure = error
        if isinstance(error, Exception):
            failure = _faults.translate(error, "publishing", self.bucket, self.key, exclusive=self.exclusive)
            failure.__cause__ = error
        if not handed_over or _faults.is_refusal(error):
            self.is_undecided = False
            raise failure
        answered = _faults.is_answer(error) and not lost_answers
        cause = error if isinstance(error, Exception) else None
        raise LostAnswerError(failure, answered=answered, checksum=checksum) from cause

    @property
    def lost_upload(self) -> str:
        """What to say when nobody knows whether an upload has begun."""
        return (
            f"an upload to {self.url} may have begun whose id was lost with S3's answer; look for it among the "
            "unfinished uploads of this key"
        )

    def _send(self, operation: str, parameters: dict[str, Any]) -> Any:
        given = self.arguments.of(operation)
        return getattr(self._client, _METHODS[operation])(Bucket=self.bucket, Key=self.key, **{**given, **parameters})

    def _checksums(self, pieces: Sequence[memoryview], digest: Digest | None) -> dict[str, str]:
        if self._algorithm is None or digest is None:
            return {}
        seen = digest.size
        for piece in pieces:
            with piece[seen:] as rest:
                digest.update(rest)
            seen = max(0, seen - len(piece))
        return {self._algorithm.field: digest.value()}

    def _metadata(self) -> dict[str, Any]:
        if self.token is None:
            return {}
        return {"Metadata": {**self.arguments.of(PUT).get("Metadata", {}), TOKEN_NAME: self.token}}

    def _condition(self) -> dict[str, str]:
        return {"IfNoneMatch": "*"} if self.exclusive else {}

    def _result(self, answer: Mapping[str, Any], size: int, parts: int, checksum: str | None) -> UploadResult:
        return UploadResult(
            bucket=self.bucket,
            key=self.key,
            etag=answer.get("ETag", ""),
            version_id=answer.get("VersionId"),
            size=size,
            parts=parts,
            checksum=checksum,
        )


def algorithm_for(checksum: str | None, client: Any, *, is_ours: bool) -> Algorithm | None:
    """The algorithm that ``checksum`` names; "auto" is the best there is, or none if the client wants none."""
    if checksum is None:
        return None
    if checksum != "auto":
        return named(checksum)
    wants_none = client.meta.config.request_checksum_calculation == "when_required"
    return None if wants_none and not is_ours else best()


def _is_checksum(name: str) -> bool:
    return name.startswith("Checksum") and name not in {"ChecksumType", "ChecksumAlgorithm"}


def _said(reason: object) -> str:
    """An error's words, as a part of a sentence."""
    return (str(getattr(reason, "strerror", None) or reason) or type(reason).__name__).rstrip(".")


def _checked(answer: Any, *fields: str) -> Any:
    """``answer``, if it has one of these; a server in between may say 200 to anything, and then it has none. Only what
    comes over the wire has metadata: a stub may leave out what it likes.
    """
    if "ResponseMetadata" in answer and not answer.keys() & fields:
        raise ValueError(f"the answer has no {fields[0]}, and may be that of a server in between")
    return answer


def _was_sent_again(answer: Any) -> bool:
    return bool(answer.get("ResponseMetadata", {}).get("RetryAttempts"))


def _labelled(checksums: Mapping[str, Any]) -> str | None:
    """The first of S3's checksum fields, as "NAME:base64"."""
    return next((f"{name.removeprefix('Checksum')}:{value}" for name, value in checksums.items() if value), None)


def _receipt(part: Mapping[str, Any]) -> Receipt | None:
    """One of ListParts' entries, None if it lacks what a commit needs."""
    if "Size" not in part or not part.get("ETag"):
        return None
    checksums = {name: value for name, value in part.items() if _is_checksum(name)}
    return Receipt(part["PartNumber"], part["Size"], part["ETag"], checksums)


def says_gone(error: NotCommittedError) -> bool:
    cause = error.__cause__
    return isinstance(cause, _faults.botocore.ClientError) and _faults.code(cause) in {
        "NoSuchUpload",
        "NoSuchKey",
        "404",
    }
