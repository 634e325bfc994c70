"""If the answer to a commit was lost, asks S3 what became of it: for a writer, a `PendingUpload` and segments.

A random token in the metadata, together with the size, proves that the object under the key is ours.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from s3writer._errors import NotCommittedError, OutcomeUnknownError, S3WriterError, add_note
from s3writer._s3.calls import TOKEN_NAME, Calls, listed
from s3writer._s3.receipts import Receipt, UploadResult
from s3writer._upload.jobs import run
from s3writer._upload.lifecycle import Ending, Facts, Key, Question, Told, decide


class Inquiry:
    """Finds out what became of one commit.

    ``parts`` are the upload's and have ``size`` bytes together. ``computed`` is the whole object's checksum. ``remove``
    removes the upload, and returns whether S3 knew it. After an interrupt the inquiry asks S3 nothing more, but still
    calls ``remove`` if the ending demands that.
    """

    def __init__(
        self,
        calls: Calls,
        upload_id: str | None,
        size: int,
        parts: Sequence[Receipt],
        *,
        computed: str | None = None,
        remove: Callable[[], bool] | None = None,
    ) -> None:
        self.result: UploadResult | None = None
        self.interrupt: BaseException | None = None
        self._calls = calls
        self._upload_id = upload_id
        self._size = size
        self._parts = parts
        self._computed = computed
        self._remove = remove
        #: Why questions got no answer. If the upload may be left, that comes first, else the first reason does.
        self._reasons: list[str] = []

    def settle(self, facts: Facts) -> tuple[Facts, Ending]:
        """Ask S3 until the ending is known. Returns all facts, and the ending. Raises none of S3's errors."""
        while isinstance(step := decide(facts), Question):
            facts = self._ask(step, facts)
        return facts, step

    def unknown(self, facts: Facts, reason: str | None = None) -> OutcomeUnknownError:
        """The error that says that the outcome is unknown. Without a ``reason``, it gives the one that was found."""
        token = self._calls.token
        mark = f"{token} as {TOKEN_NAME} in its metadata" if token else "the content that was written"
        return OutcomeUnknownError(
            f"whether {self._calls.url} was published is not known: {reason or self._reason(facts)}. Look at the "
            f"object: it is this writer's if it has {self._size} bytes and {mark}",
            *self._calls.address,
            self._upload_id,
            token,
            self._size,
            listed(self._parts),
        )

    def _reason(self, facts: Facts) -> str:
        if self._reasons:
            return self._reasons[0]
        if facts.is_shared:
            if facts.is_conditional:
                return "the upload is gone, perhaps because it was committed before"
            return "the answer was lost, and the key does not hold its object"
        if not facts.is_multipart:
            return "the object is not there, but may yet come"
        if facts.keeps:
            return "the object is not there, but its upload was kept"
        return "the upload is gone, and the key does not hold its object"

    def _ask(self, question: Question, facts: Facts) -> Facts:
        try:
            if question is Question.WAS_THERE:
                assert self._remove is not None
                was_there = Told.YES if self._remove() else Told.NO
                return dataclasses.replace(facts, was_there=was_there, key=None)
            if self.interrupt is None and question is Question.KEY:
                return dataclasses.replace(facts, key=self._look(run(self._calls.head)))
            if self.interrupt is None and self._upload_id is not None:
                return dataclasses.replace(facts, listed=_told(run(lambda: self._calls.shows(str(self._upload_id)))))
        except S3WriterError as reason:
            self._reasons.insert(0 if question is Question.WAS_THERE else len(self._reasons), _said(reason))
        except BaseException as interrupt:
            self._reasons.append(_said(interrupt))
            if self.interrupt is None:
                self.interrupt = interrupt
            for note in getattr(interrupt, "__notes__", ()):  # the first interrupt goes on, and this one gets lost
                add_note(self.interrupt, note)
        if question is Question.KEY:
            return dataclasses.replace(facts, key=Key.NOT_TOLD)
        if question is Question.LISTED:
            return dataclasses.replace(facts, listed=Told.NOT_TOLD)
        return dataclasses.replace(facts, was_there=Told.NOT_TOLD)

    def _look(self, head: Mapping[str, Any] | None) -> Key:
        """What the key holds."""
        if head is None:
            return Key.NONE
        if not self._calls.is_ours(head):
            if head.get("ETag"):
                return Key.ANOTHER
            self._reasons.append("the answer describes no object")
        elif head.get("ContentLength") != self._size:
            self._reasons.append(f"the object is shown with {head.get('ContentLength')} bytes instead of {self._size}")
        else:
            self.result = self._calls.result(head, self._size, max(1, len(self._parts)), self._computed)
            return Key.OURS
        return Key.NOT_TOLD


def gone(calls: Calls, upload_id: str) -> S3WriterError:
    """The error for an upload that S3 does not know any more. It says whether the object was published, if S3 does."""
    said = f"upload {upload_id} to {calls.url} is gone"
    try:
        head = run(calls.head)
    except NotCommittedError:
        head = None
    if head is not None and calls.is_ours(head):
        return S3WriterError(f"{said}: its object was published before", *calls.address)
    message = f"{said}: it was published, was aborted, or has expired. Look at the object"
    return OutcomeUnknownError(message, *calls.address, None, calls.token)


def published_all_the_same(calls: Calls, result: UploadResult) -> str:
    """The note on an interrupt that came too late to stop the commit."""
    return f"{calls.url} was published all the same: {result}"


def _told(answer: bool | None) -> Told:
    return {True: Told.YES, False: Told.NO, None: Told.NOT_TOLD}[answer]


def _said(reason: BaseException) -> str:
    """The message of an error, without a full stop, to be put into a sentence."""
    return (str(getattr(reason, "strerror", None) or reason) or type(reason).__name__).rstrip(".")
