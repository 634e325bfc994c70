"""Uploads whose parts are all in S3, to be published later, by any process on any machine.

S3 keeps the parts of an upload until somebody completes or aborts it, whoever that is. So what a writer has sent can be
published once something else has happened, such as a database's commit::

    with transaction.atomic():
        with MultipartUploadWriter(bucket, key) as stream:
            export(stream)
            pending = stream.prepare()
        transaction.on_commit(pending.commit)
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from s3writer import _client
from s3writer._arguments import Arguments
from s3writer._errors import KeyExistsError, NotCommittedError, PreconditionFailedError, S3WriterError
from s3writer._session import Receipt, UploadResult
from s3writer._store import LostAnswerError, Store

#: Of `PendingUpload.to_json`; one that is read by an older version of this package must be refused.
_FORMAT = 1


@dataclass(frozen=True)
class PendingUpload:
    """An upload that lacks nothing but its commit. Plain data: it pickles, goes to JSON and back, and holds no secret.

    Until it is committed or aborted S3 stores and bills its parts, unseen.

    Attributes:
        bucket, key: where the object will be.
        upload_id: S3's name for the upload.
        size: bytes, all parts together.
        parts: each with number, size in bytes, etag, and checksums by the name of S3's field.
        checksum: ``"CRC64NVME:<base64>"`` of the whole object, or None.
        token: what the object will have as ``s3writer-token`` in its metadata, or None.
        exclusive: publish only if the key does not exist.
        s3_arguments: those that the commit needs, without the key of SSE-C.

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

    def commit(self, *, client: Any = None, **s3_arguments: Any) -> UploadResult:
        """Publish the object; what was published. An upload that was committed before is left alone, and the result
        is the same, as long as the key holds its object.

        Parameters
        ----------
            client: a boto3 S3 client; None: the one that writers share.
            **s3_arguments: S3's own. ``SSECustomerKey`` must be given again if the writer had one.

        Raises `NotCommittedError` if S3 refuses (the type says why): the upload is left as it was, and can be committed
        again. `OutcomeUnknownError` if the answer was lost and the object does not show; to commit again is safe, and
        tells. TypeError if an argument is missing or has come too late.

        """
        if "SSECustomerAlgorithm" in self.s3_arguments and "SSECustomerKey" not in s3_arguments:
            raise TypeError("SSECustomerKey must be given: the upload is encrypted with a key that only you have")
        store = self._store(client, s3_arguments)
        try:
            return store.complete(self.upload_id, self.parts, self.checksum)
        except LostAnswerError as lost:
            return self._settle(store, lost)
        except NotCommittedError as refusal:
            if isinstance(refusal, (KeyExistsError, PreconditionFailedError)) and (
                result := self._earlier(store, refusal)
            ):
                return result
            refusal.upload_id = self.upload_id
            refusal.add_note(f"Upload {self.upload_id} was not touched: commit it again, or abort it.")
            raise

    def abort(self, *, client: Any = None, **s3_arguments: Any) -> None:
        """Remove the upload from S3; one that is gone, or was published, is left alone.

        Raises `NotCommittedError` with the ``upload_id`` if it may still be there. ``client`` and ``s3_arguments`` are
        those of `commit`.
        """
        self._store(client, s3_arguments).remove(self.upload_id)

    def to_json(self) -> str:
        """All of it as a JSON object, for `from_json`."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str | bytes) -> "PendingUpload":
        """What `to_json` has made, by this version of the package or an older one; else ValueError."""
        try:
            given = json.loads(text)
            if given.pop("format") != _FORMAT:
                raise ValueError("it has a format that this version of s3writer does not know")
            given["parts"] = tuple(Receipt(**part) for part in given["parts"])
            return cls(**given)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no PendingUpload: {error}") from error

    def _store(self, client: Any, s3_arguments: Mapping[str, Any]) -> Store:
        s3 = _client.chosen(client)
        arguments = Arguments(s3.meta.service_model, {**self.s3_arguments, **s3_arguments})
        arguments.refuse_late_ones()
        return Store(s3, self.bucket, self.key, arguments=arguments, exclusive=self.exclusive, token=self.token)

    def _settle(self, store: Store, lost: LostAnswerError) -> UploadResult:
        """The result, if the object shows; an interrupt goes on in any case, with a note."""
        result, why = None, "the key does not hold its object"
        try:
            result = self._recognized(store)
        except S3WriterError as error:
            why = str(error.strerror)
        if result is None:
            unknown = store.unknown(why, self.upload_id, self.size, self.parts)
            unknown.add_note("To commit it again is safe, and tells.")
            if lost.interrupt is None:
                raise unknown from lost.error
            lost.interrupt.add_note(str(unknown))
        elif lost.interrupt is None:
            return result
        else:
            lost.interrupt.add_note(f"{store.url} was published all the same: {result}")
        raise lost.interrupt

    def _earlier(self, store: Store, refusal: NotCommittedError) -> UploadResult | None:
        """The result of an earlier commit of this upload, if that is why the condition does not hold any more."""
        try:
            return self._recognized(store)
        except S3WriterError as error:
            raise store.unknown(error, self.upload_id, self.size, self.parts) from refusal

    def _recognized(self, store: Store) -> UploadResult | None:
        return store.recognize(store.head(), self.size, len(self.parts), self.checksum)


class PartlyCommittedError(S3WriterError):
    """`commit_all` could not commit one of several uploads; ``bucket``, ``key`` and ``upload_id`` are its own.

    ``published`` are the results of those before it, ``failed`` is the upload itself, whose error is the cause, and
    ``left`` are those after it, which were not tried.
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


def commit_all(uploads: Iterable[PendingUpload], *, client: Any = None, **s3_arguments: Any) -> list[UploadResult]:
    """Commit one upload after the other; their results, in the same order.

    S3 has no transaction over several objects: this makes the time in which only some of them are there as short as
    it can be, a request for each, and no shorter. `PartlyCommittedError` if one fails; it says which were published
    by then, and those that were not can be committed again or aborted. ``client`` and ``s3_arguments`` are those of
    `PendingUpload.commit`.
    """
    waiting = list(uploads)
    published: list[UploadResult] = []
    for number, upload in enumerate(waiting):
        try:
            published.append(upload.commit(client=client, **s3_arguments))
        except S3WriterError as error:
            message = f"{number} of {len(waiting)} objects were published, and then: {error.strerror}"
            raise PartlyCommittedError(
                message,
                upload.bucket,
                upload.key,
                upload.upload_id,
                published=published,
                failed=upload,
                left=waiting[number + 1 :],
            ) from error
        except BaseException as interrupt:
            interrupt.add_note(f"{number} of {len(waiting)} objects were published before: {published}")
            raise
    return published
