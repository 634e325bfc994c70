"""Uploads whose parts are all in S3, to be published later, by any process on any machine.

S3 keeps the parts of an upload until somebody completes or aborts it, whoever that is. So what a writer has sent can be
published once something else has happened, such as a database's commit:

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
from typing import Any

from s3writer._errors import (
    ConflictError,
    KeyExistsError,
    NotCommittedError,
    OutcomeUnknownError,
    PreconditionFailedError,
    S3WriterError,
    add_note,
)
from s3writer._log import log_end
from s3writer._s3 import client as _client
from s3writer._s3.arguments import Arguments, check_address
from s3writer._s3.calls import LostAnswerError, Store
from s3writer._upload.lifecycle import Receipt, UploadResult

#: Of `PendingUpload.to_json`; one that is read by an older version of this package must be refused.
_FORMAT = 1

#: What S3 answers also if the object that is in the way is this very upload's.
_CONDITIONS = (KeyExistsError, PreconditionFailedError)


@dataclass(frozen=True)
class PendingUpload:
    """An upload that lacks nothing but its commit. Plain data: it pickles, goes to JSON and back, and holds no secret.

    Until it is committed or aborted S3 stores and bills its parts, unseen.

    Attributes:
        bucket: where the object will be.
        key: its name there.
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

        Parameters:
            client: a boto3 S3 client; None: the one that writers share.
            **s3_arguments: S3's own. ``SSECustomerKey`` must be given again if the writer had one.

        Raises `NotCommittedError` if S3 refuses (the type says why): the upload is left as it was, and can be committed
        again. `OutcomeUnknownError` if the answer was lost and the object does not show; to commit again is safe as
        long as the upload is there. TypeError if an argument is missing or has come too late.

        """
        return self._commit(self._checked(client, s3_arguments), None)

    def abort(self, *, client: Any = None, **s3_arguments: Any) -> bool:
        """Remove the upload from S3; one that is gone, or was published, is left alone. Whether it was there.

        Raises `NotCommittedError` with the ``upload_id`` if it may still be there. ``client`` and ``s3_arguments`` are
        those of `commit`.
        """
        given = {**self.s3_arguments, **s3_arguments}
        if "SSECustomerKey" not in given:
            given.pop("SSECustomerAlgorithm", None)
        began, store = time.monotonic(), self._store(client, given)
        was_shown, was_known = store.shows(self.upload_id), store.remove(self.upload_id)
        was_there = was_known if was_shown is None else was_shown
        self._log_end("aborted" if was_there else "was gone", began)
        return was_there

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
            pending = cls(**given)
            check_address(pending.bucket, pending.key)
            if not isinstance(pending.upload_id, str) or pending.size != sum(part.size for part in pending.parts):
                raise ValueError("its parts don't add up")
            return pending
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no PendingUpload: {error}") from error

    def _log_end(self, outcome: str, began: float) -> None:
        size, parts = self.size, len(self.parts)
        log_end(outcome, self.bucket, self.key, self.upload_id, size=size, parts=parts, began=began)

    def _own(self, s3_arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the arguments that this upload takes: a customer's key is for uploads that were begun with one."""
        is_encrypted = "SSECustomerAlgorithm" in self.s3_arguments
        return {name: value for name, value in s3_arguments.items() if is_encrypted or "SSECustomer" not in name}

    def _checked(self, client: Any, s3_arguments: Mapping[str, Any]) -> Store:
        """The store for a commit; TypeError if an argument is missing."""
        check_customer_key(self.key, self.s3_arguments, s3_arguments)
        return self._store(client, {**self.s3_arguments, **s3_arguments})

    def _store(self, client: Any, s3_arguments: Mapping[str, Any]) -> Store:
        s3 = _client.chosen(client)
        arguments = Arguments(s3.meta.service_model, s3_arguments)
        arguments.refuse_late_ones()
        return Store(s3, self.bucket, self.key, arguments=arguments, exclusive=self.exclusive, token=self.token)

    def _commit(self, store: Store, checksum: str | None) -> UploadResult:
        """`_publish`, with a word on what is left."""
        try:
            return self._publish(store, checksum)
        except NotCommittedError as refusal:
            refusal.upload_id = self.upload_id
            if not isinstance(refusal, ConflictError):
                refusal.add_note(f"This call has left upload {self.upload_id} as it was: commit it again, or abort it.")
            raise
        except OutcomeUnknownError as unknown:
            if store.shows(self.upload_id):
                unknown.add_note("The upload is there: to commit it again is safe.")
            raise

    def _publish(self, store: Store, checksum: str | None) -> UploadResult:
        """Publish the object. ``checksum`` is the whole's, if S3 is not to be told."""
        began, result = time.monotonic(), None
        try:
            result = self._complete(store)
            result = dataclasses.replace(result, checksum=checksum or result.checksum)
            self._log_end("committed", began)
            return result
        except S3WriterError:
            raise
        except BaseException as interrupt:
            if result or store.is_undecided:
                add_note(interrupt, self._outcome(store, result))
            raise

    def _complete(self, store: Store) -> UploadResult:
        try:
            return store.complete(self.upload_id, self.parts, self.checksum)
        except LostAnswerError as lost:
            if lost.interrupt is not None:
                raise lost.interrupt from None
            return self._settle(store, lost.error)
        except NotCommittedError as refusal:
            return self._earlier(store, refusal)

    def _settle(self, store: Store, fault: BaseException) -> UploadResult:
        """The result of a commit whose answer was lost, if the object shows."""
        why = "the answer was lost, and the key does not hold its object"
        try:
            if result := self._recognized(store):
                return result
        except NotCommittedError as reason:
            why = f"the answer was lost, and {reason}"
        raise self._unknown(store, why) from fault

    def _outcome(self, store: Store, result: UploadResult | None) -> str:
        """What an interrupt is to say that came when the commit had been sent."""
        why = "the key does not hold its object"
        try:
            result = result or self._recognized(store)
        except BaseException as reason:
            why = str(reason) or type(reason).__name__
        if result:
            return store.published_all_the_same(result)
        return str(store.unknown(f"it was interrupted, and {why}", self.upload_id, self.size, self.parts))

    def _earlier(self, store: Store, refusal: NotCommittedError) -> UploadResult:
        """The result of an earlier commit of this upload, if there was one: that may be why S3 refuses this one. Else
        ``refusal`` is raised, or `OutcomeUnknownError` if that can't be told.
        """
        try:
            result = self._recognized(store)
        except S3WriterError as error:
            if isinstance(refusal, _CONDITIONS):
                raise self._unknown(store, str(error.strerror)) from refusal
            result = None
        if result is not None:
            return result
        if isinstance(refusal, _CONDITIONS) and self.token is None and not store.shows(self.upload_id):
            raise self._unknown(store, "the upload is gone, perhaps because it was committed before") from refusal
        raise refusal

    def _unknown(self, store: Store, why: str) -> OutcomeUnknownError:
        return store.unknown(why, self.upload_id, self.size, self.parts)

    def _recognized(self, store: Store) -> UploadResult | None:
        return store.recognize(store.head(), self.size, len(self.parts), self.checksum)


def check_customer_key(key: str, kept: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """TypeError if the key of SSE-C is missing: it is the one argument that is not ``kept`` with an upload."""
    if "SSECustomerAlgorithm" in kept and "SSECustomerKey" not in given:
        raise TypeError(f"SSECustomerKey must be given: {key} is encrypted with a key that only you have")


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
    `PendingUpload.commit`; TypeError, before anything is published, if one is missing.
    """
    waiting = [(upload, upload._own(s3_arguments)) for upload in uploads]
    for upload, given in waiting:
        upload._checked(client, given)
    published: list[UploadResult] = []
    for number, (upload, given) in enumerate(waiting):
        try:
            published.append(upload.commit(client=client, **given))
        except Exception as error:
            raise PartlyCommittedError(
                f"{number} of {len(waiting)} objects were published, and then: "
                f"{getattr(error, 'strerror', None) or error}",
                upload.bucket,
                upload.key,
                upload.upload_id,
                published=published,
                failed=upload,
                left=[later for later, _ in waiting[number + 1 :]],
            ) from error
        except BaseException as interrupt:
            interrupt.add_note(f"{len(published)} of {len(waiting)} objects were published before: {published}")
            raise
    return published
