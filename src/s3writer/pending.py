"""Uploads whose parts are all in S3. Any process on any machine can publish them later.

S3 keeps the parts of an upload until anybody completes or aborts it. So you can publish an object after something else
has happened, such as a database's commit:

```python
with transaction.atomic():
    with MultipartUploadWriter(bucket, key) as stream:
        export(stream)
        pending = stream.prepare()
    transaction.on_commit(pending.commit)
```
"""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Unpack

from s3writer._errors import (
    AbortedError,
    ConflictError,
    KeyExistsError,
    NotCommittedError,
    OutcomeUnknownError,
    PreconditionFailedError,
    S3WriterError,
    add_note,
    say_first,
)
from s3writer._log import log_end
from s3writer._s3 import client as clients
from s3writer._s3.arguments import Arguments, check_address
from s3writer._s3.calls import Calls
from s3writer._s3.checksums import algorithms
from s3writer._s3.proof import Proof
from s3writer._s3.receipts import Receipt, UploadResult
from s3writer._s3.watching import watch
from s3writer._upload.cleanup import remove_now
from s3writer._upload.commit import Commit
from s3writer._upload.jobs import run
from s3writer._upload.lifecycle import Ending, Facts
from s3writer._upload.outcome import Inquiry, published_all_the_same
from s3writer.options import CommitArguments

#: The format of `PendingUpload.to_json`. A version of this package refuses formats that are newer than its own.
_FORMAT = 1

#: If the upload was committed before, its own object may be the reason for these refusals.
_CONDITIONS = (KeyExistsError, PreconditionFailedError)


@dataclass(frozen=True)
class PendingUpload:
    """An upload that only has to be committed. Plain data: it pickles, goes to JSON and back, and holds no secret.

    Until it is committed or aborted, S3 stores and bills its parts, and no listing of objects shows them.

    Attributes:
        bucket: the bucket that will hold the object.
        key: the object's name there.
        upload_id: S3's name for the upload.
        size: bytes, all parts together.
        parts: each with number, size in bytes, etag, and checksums by the name of S3's field.
        checksum: ``"CRC64NVME:<base64>"`` of the whole object, or None.
        token: the ``s3writer-token`` that the object will have in its metadata, or None.
        exclusive: publish only if the key does not exist.
        s3_arguments: those of S3's arguments that the commit needs, without the SSE-C key.

    """

    bucket: str
    key: str
    upload_id: str
    size: int
    parts: Sequence[Receipt] = field(repr=False, hash=False)
    checksum: str | None = None
    token: str | None = None
    exclusive: bool = False
    s3_arguments: Mapping[str, str] = field(default_factory=dict, hash=False)
    #: Whether `abort` has removed it, and what `commit` has published. No fields: `to_json` and ``==`` leave them out.
    _was_aborted: ClassVar[bool] = False
    _result: ClassVar[UploadResult | None] = None

    @property
    def result(self) -> UploadResult | None:
        """What `commit` has returned; None before. A copy, such as one from JSON, knows only of its own commits."""
        return self._result

    def commit(self, *, client: Any = None, **s3_arguments: Unpack[CommitArguments]) -> UploadResult:
        """Publish the object. Returns the result. If the upload was committed before, and the key still holds its
        object, do nothing and return the result again.

        Parameters:
            client: a boto3 S3 client; None: the one that writers share.
            **s3_arguments: S3's own. ``SSECustomerKey`` must be given again if the writer had one.

        Raises `NotCommittedError` if S3 refuses: the type says why, the upload stays as it was, and you can commit it
        again. Raises `AbortedError` after `abort`. Raises `OutcomeUnknownError` if S3's answer was lost, and the key
        does not show the object: as long as the upload is there, it is safe to commit again. Raises TypeError if an
        argument is missing, or had to be given when the upload began.

        """
        return commit(self, checked(self, client, s3_arguments))

    def abort(self, *, client: Any = None, **s3_arguments: Unpack[CommitArguments]) -> bool:
        """Remove the upload from S3. Returns whether it was there. If it is gone, or was published, do nothing.

        Raises `NotCommittedError` with the ``upload_id`` if the upload may still be there. ``client`` and
        ``s3_arguments`` are those of `commit`.
        """
        given = {**self.s3_arguments, **s3_arguments}
        if "SSECustomerKey" not in given:
            given.pop("SSECustomerAlgorithm", None)
        began, calls = time.monotonic(), _calls(self, client, given)
        is_gone = False
        try:
            was_shown = run(lambda: calls.shows(self.upload_id))
            was_known = remove_now(calls, self.upload_id)
            is_gone = True
            was_there = was_known if was_shown is None else was_shown
            object.__setattr__(self, "_was_aborted", was_there and was_known)
            _log_end(self, "aborted" if was_there else "was gone", began)
        except BaseException as interrupt:
            if is_gone:
                add_note(interrupt, f"upload {self.upload_id} of {calls.url} was aborted before")
            raise
        return was_there

    def to_json(self) -> str:
        """Return the upload as JSON, for `from_json`."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str | bytes) -> "PendingUpload":
        """Read what `to_json` of this version, or of an older one, has made. ValueError for anything else."""
        try:
            given = json.loads(text)
            if given.pop("format") != _FORMAT:
                raise ValueError("it has a format that this version of s3writer does not know")
            given["parts"] = tuple(Receipt(**part) for part in given["parts"])
            pending = cls(**given)
            check_address(pending.bucket, pending.key)
            if not isinstance(pending.upload_id, str) or pending.size != sum(part.size for part in pending.parts):
                raise ValueError("its parts don't add up")
            return pending
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no PendingUpload: {error}") from error


def pending_of(calls: Calls, upload_id: str, parts: Sequence[Receipt]) -> PendingUpload:
    """A `PendingUpload` with these parts."""
    return PendingUpload(
        *calls.address,
        upload_id,
        sum(part.size for part in parts),
        tuple(parts),
        calls.proof.of_whole(parts),
        calls.token,
        calls.exclusive,
        calls.arguments.for_commit(),
    )


def checked(pending: PendingUpload, client: Any, s3_arguments: Mapping[str, Any]) -> Calls:
    """The calls for a commit; TypeError if an argument is missing."""
    check_customer_key(pending.key, pending.s3_arguments, s3_arguments)
    return _calls(pending, client, {**pending.s3_arguments, **s3_arguments})


def commit(pending: PendingUpload, calls: Calls, checksum: str | None = None) -> UploadResult:
    """`publish`. If it fails, the error gets a note: the upload stays as it was, and can be committed again."""
    if pending._was_aborted:
        raise AbortedError(f"{calls.url} was not published: upload {pending.upload_id} was aborted", *calls.address)
    try:
        published = publish(pending, calls, checksum)  # asks S3 whether the key still holds the object
        first = pending._result or published  # no call: an interrupt in it would not be told
        object.__setattr__(pending, "_result", first)
        return first
    except NotCommittedError as refusal:
        refusal.upload_id = pending.upload_id
        if not isinstance(refusal, ConflictError):
            add_note(refusal, f"This call has left upload {pending.upload_id} as it was: commit it again, or abort it.")
        raise
    except OutcomeUnknownError as unknown:
        if run(lambda: calls.shows(pending.upload_id)):
            add_note(unknown, "The upload is still in S3: it is safe to commit it again.")
        raise


def publish(pending: PendingUpload, calls: Calls, checksum: str | None = None) -> UploadResult:
    """Publish the object. Returns the result. If S3 can't be told the whole object's checksum, ``checksum`` is put into
    the result as the computed one. An interrupt gets a note that says what became of the object.
    """
    began = time.monotonic()
    attempt = Commit(calls, pending.upload_id, pending.parts, pending.checksum)
    inquiry = Inquiry(calls, pending.upload_id, pending.size, pending.parts, computed=pending.checksum)
    try:
        attempt.send()
        ending, facts = _conclude(attempt, inquiry)
        for interrupt in (attempt.interrupt, inquiry.interrupt):
            if interrupt is not None:
                raise interrupt
        result = attempt.answer.result or inquiry.result
        if ending is Ending.COMMITTED and result is not None:
            result = dataclasses.replace(result, computed_checksum=checksum or result.computed_checksum)
            _log_end(pending, "committed", began)
            return result
    except BaseException as interrupt:
        said = str(inquiry.unknown(_facts(attempt), "it was interrupted"))
        strike_out = say_first(interrupt if attempt.is_under_way else None, said)
        attempt.end()
        _tell_interrupt(interrupt, pending, attempt, inquiry)
        strike_out()
        raise
    refusal = attempt.answer.error
    if ending is Ending.UNKNOWN:
        raise inquiry.unknown(facts) from refusal
    assert refusal is not None
    raise refusal


def _conclude(attempt: Commit, inquiry: Inquiry) -> tuple[Ending, Facts]:
    """Find out what became of the commit. Others may have committed the upload before."""
    facts, ending = inquiry.settle(_facts(attempt))
    return ending, facts


def _facts(attempt: Commit) -> Facts:
    """What the ending depends on, as far as it is known."""
    answer = attempt.answer
    return Facts(
        was_sent=attempt.was_sent,
        answer=answer.answer,
        is_multipart=True,
        is_shared=True,
        is_conditional=isinstance(answer.error, _CONDITIONS),
        has_token=attempt.calls.token is not None,
    )


def _tell_interrupt(interrupt: BaseException, pending: PendingUpload, attempt: Commit, inquiry: Inquiry) -> None:
    """Add a note to ``interrupt`` that says what became of the object, unless it was certainly not published."""
    ending, facts = _conclude(attempt, inquiry)
    if ending is Ending.COMMITTED and (result := attempt.answer.result or inquiry.result):
        object.__setattr__(pending, "_result", pending._result or result)
        add_note(interrupt, published_all_the_same(attempt.calls, result))
    elif ending is Ending.UNKNOWN:
        add_note(interrupt, str(inquiry.unknown(facts)))


def _calls(pending: PendingUpload, client: Any, s3_arguments: Mapping[str, Any]) -> Calls:
    s3 = clients.chosen(client)
    watch(s3)
    arguments = Arguments(s3.meta.service_model, s3_arguments)
    arguments.refuse_late_ones()
    names = (name.removeprefix("Checksum") for part in pending.parts for name in part.checksums)
    proof = Proof(algorithms().get(next(names, "")))
    return Calls(s3, pending.bucket, pending.key, arguments, proof, pending.exclusive, pending.token)


def _log_end(pending: PendingUpload, outcome: str, began: float) -> None:
    size, parts = pending.size, len(pending.parts)
    log_end(outcome, pending.bucket, pending.key, pending.upload_id, size=size, parts=parts, began=began)


def check_customer_key(key: str, kept: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """TypeError if the SSE-C key is missing. It is secret, so it is not ``kept`` with an upload."""
    if "SSECustomerAlgorithm" in kept and "SSECustomerKey" not in given:
        raise TypeError(f"SSECustomerKey must be given: {key} is encrypted with a key that only you have")


class PartlyCommittedError(S3WriterError):
    """`commit_all` could not commit one of several uploads.

    ``failed`` is that upload; ``bucket``, ``key`` and ``upload_id`` name it, and its error is the cause. ``published``
    are the results of the uploads before it. ``left`` are the uploads after it, which were not tried.
    """

    def __init__(
        self,
        message: str,
        bucket: str,
        key: str,
        upload_id: str | None = None,
        *,
        published: Sequence[UploadResult] = (),
        failed: PendingUpload | None = None,
        left: Sequence[PendingUpload] = (),
    ) -> None:
        super().__init__(message, bucket, key, upload_id)
        self.published = list(published)
        self.failed = failed
        self.left = list(left)


def commit_all(
    uploads: Iterable[PendingUpload], *, client: Any = None, **s3_arguments: Unpack[CommitArguments]
) -> list[UploadResult]:
    """Commit one upload after the other. Returns their results, in the same order.

    S3 has no transaction over several objects. But a commit is one request. So the time in which S3 shows only some of
    the objects is as short as it can be. If a commit fails, `PartlyCommittedError` says which objects were
    published; you can commit the other uploads again, or abort them. ``client`` and ``s3_arguments`` are those of
    `PendingUpload.commit`. If one is missing, TypeError is raised before anything is published.
    """
    return commit_each([(upload, checked(upload, client, _own(upload, s3_arguments))) for upload in uploads])


def commit_each(waiting: Sequence[tuple[PendingUpload, Calls]]) -> list[UploadResult]:
    """`commit_all`, with the calls for each upload."""
    published: list[UploadResult] = []
    for number, (upload, calls) in enumerate(waiting):
        try:
            published.append(commit(upload, calls))
        except S3WriterError as error:
            raise PartlyCommittedError(
                f"{number} of {len(waiting)} objects were published, then one failed: {error.strerror}",
                upload.bucket,
                upload.key,
                upload.upload_id,
                published=published,
                failed=upload,
                left=[later for later, _ in waiting[number + 1 :]],
            ) from error
        except BaseException as interrupt:
            add_note(interrupt, f"{len(published)} of {len(waiting)} objects were published before: {published}")
            raise
    return published


def _own(upload: PendingUpload, s3_arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for this upload. Only an upload that was begun with an SSE-C key gets one."""
    is_encrypted = "SSECustomerAlgorithm" in upload.s3_arguments
    return {name: value for name, value in s3_arguments.items() if is_encrypted or "SSECustomer" not in name}
