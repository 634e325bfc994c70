"""The call that publishes: CompleteMultipartUpload or PutObject, and whether S3 has received and answered it."""

from collections.abc import Callable, Sequence
from typing import Self

from s3writer._s3.body import Body
from s3writer._s3.calls import Calls
from s3writer._s3.checksums import Digest
from s3writer._s3.receipts import Answer, CommitAnswer, Receipt
from s3writer._upload.jobs import Job, Stopped
from s3writer._upload.part import Part

#: After an interrupt, how long to wait for S3's answer to a commit. CompleteMultipartUpload may take minutes.
_PATIENCE_SECONDS = 10.0


class Commit:
    """Publishes the object that consists of ``parts`` of an upload. ``checksum`` is the whole object's.

    For an object without an upload, `single` makes a commit that sends all bytes in one request.
    """

    def __init__(self, calls: Calls, upload_id: str | None, parts: Sequence[Receipt], checksum: str | None) -> None:
        self.calls = calls
        self.parts = parts
        self.size = sum(part.size for part in parts)
        self._body: Body | None = None
        self._is_single = upload_id is None
        self._job = Job(lambda: calls.complete(str(upload_id), parts, checksum))

    @classmethod
    def single(cls, calls: Calls, whole: Part, digest: Digest | None, check: Callable[[], object]) -> Self:
        """A commit that sends ``whole``; ``digest`` has seen its first bytes. ``check`` may raise to stop sending."""

        def put() -> CommitAnswer:
            with whole.pieces() as pieces:
                commit._body = Body(pieces, check)
                return calls.put(commit._body, pieces, digest)

        commit = cls(calls, None, [], None)
        commit.size = whole.size
        commit._job = Job(put)
        return commit

    def send(self) -> None:
        """Send it, and wait for S3's answer."""
        self._job.start()
        self._job.wait()

    def end(self) -> None:
        """Cancel the call if it has not begun. Else wait for S3's answer, `_PATIENCE_SECONDS` at the most."""
        if not self._job.cancel():
            self._job.wait(_PATIENCE_SECONDS)

    @property
    def is_under_way(self) -> bool:
        """Whether it may have been sent, and nobody knows the answer."""
        return not self._job.was_cancelled and not self._job.is_done

    @property
    def was_sent(self) -> bool:
        """Whether S3 may have received the call. Ask after `send` or `end`."""
        if self._job.was_cancelled:
            return False
        if self._is_single and self._job.error is not None:
            return self._body is not None and self._body.may_have_arrived
        return True

    @property
    def answer(self) -> CommitAnswer:
        """S3's answer; `Answer.NOTHING` if there is none."""
        if self._job.is_done and self._job.error is None:
            return self._job.outcome()
        return CommitAnswer(Answer.NOTHING, None)

    @property
    def interrupt(self) -> BaseException | None:
        """What was raised in the call's thread, other than `Stopped`. Faults of S3 are in `answer`."""
        return None if isinstance(self._job.error, Stopped) else self._job.error
