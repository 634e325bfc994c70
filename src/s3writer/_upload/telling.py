"""What is told of an upload that stays in S3, or may: to the propagating error, and to the log.

Before an upload is removed, the error gets a note that it may be left. Once the upload is gone, the note is dropped. So
the error says the truth even if an interrupt comes in between.
"""

from collections.abc import Callable
from typing import Any

from s3writer._errors import NotCommittedError, S3WriterError, add_note, say_first
from s3writer._log import warn
from s3writer._s3.calls import Calls, lost_upload
from s3writer._upload.pipeline import Pipeline

INTERRUPTED = "aborting was interrupted"
NO_TIME = "there was no time left for it"


def left_behind(calls: Calls, upload_id: str | None, reason: str) -> NotCommittedError:
    """The error for an upload that may be left in S3."""
    if upload_id is None:
        return NotCommittedError(lost_upload(calls), *calls.address)
    return NotCommittedError(not_aborted(calls.url, upload_id, reason), *calls.address, upload_id)


def not_aborted(url: str, upload_id: str, reason: str) -> str:
    """The sentence that names an upload that may be left in S3."""
    return f"upload {upload_id} of {url} could not be aborted, S3 stores and bills its parts until it is: {reason}"


class Telling:
    """Tells of the upload of ``pipeline``."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        #: The sentence that names what is left in S3; empty if nothing is, or if there is a reason.
        self._settled = ""
        #: Why the upload is left if an interrupt comes now.
        self._reason = ""

    @property
    def told(self) -> str:
        """The sentence that names what is left in S3, by what is known of the upload now; empty if nothing is."""
        return str(self.left(self._reason).strerror) if self._reason else self._settled

    def settle(self, left: NotCommittedError | None) -> None:
        """From now on, `told` says this; nothing if the upload is gone."""
        self._settled, self._reason = str(left.strerror) if left else "", ""

    def left(self, reason: str) -> NotCommittedError:
        """The error for an upload that may be left because of ``reason``."""
        return left_behind(self._pipeline.calls, self._pipeline.upload_id, reason)

    def kept(self) -> NotCommittedError:
        """The error for an upload that was kept. It says how to resume the upload."""
        calls, upload_id = self._pipeline.calls, self._pipeline.upload_id
        options = "".join(f", {name}={value!r}" for name, value in _resume_options(calls).items())
        return NotCommittedError(
            f"upload {upload_id} to {calls.url} was kept: go on, with the part sizes as before, with "
            f"MultipartUploadWriter.resume({calls.bucket!r}, {calls.key!r}, {upload_id!r}{options})",
            *calls.address,
            upload_id,
        )

    def say_first(self, error: BaseException | None, reason: str = "") -> Callable[[], None]:
        """Tell ``error`` what would be left if an interrupt came now: an upload that is left because of ``reason``, or
        one that is kept if there is none. Returns a function that takes the note back.
        """
        self.settle(None if reason else self.kept())
        self._reason = reason
        return say_first(error, self.told)

    def tell(self, error: BaseException | None, left: NotCommittedError, **others: Any) -> None:
        """Tell ``error`` and the log which upload is left. ``others`` are facts for the log's record."""
        self.settle(left)
        if error is not None:
            add_note(error, self.told)
        if isinstance(error, S3WriterError) and (error.bucket, error.key) == (left.bucket, left.key):
            error.upload_id = left.upload_id
        warn(self.told, self._pipeline.facts(**others))

    def tell_kept(self, error: BaseException | None) -> None:
        """Tell ``error`` and the log that the upload was kept. The record's ``s3_resume`` holds `resume`'s options."""
        self.tell(error, self.kept(), resume=_resume_options(self._pipeline.calls))

    def tell_lost(self, error: BaseException | None) -> None:
        """Tell ``error``, or the log if there is none, of an upload whose id nobody knows."""
        lost = self._pipeline.beginning.lost
        if lost and error is not None:
            add_note(error, lost)
        elif lost:
            warn(lost, self._pipeline.facts())


def _resume_options(calls: Calls) -> dict[str, Any]:
    """The options that `resume` needs for an upload, except secrets."""
    exclusive = {"exclusive": True} if calls.exclusive else {}
    checksum = calls.proof.algorithm.name if calls.proof.algorithm else None
    return {"token": calls.token, "checksum": checksum, **exclusive, **calls.arguments.for_commit()}
