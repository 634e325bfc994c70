"""One upload from its first part to its outcome: parts sent in the background, then published or aborted.

Everything here runs in the thread of whoever writes, but for the sending of a part, which gets its bytes, returns a
receipt and shares nothing. Every path that does not publish ends in `Upload.abort`: no part is sent any more, those
under way are waited for, the upload is aborted, and aborted again if a part came late.
"""

import atexit
import contextlib
import io
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s3writer._errors import (
    AbortedError,
    ChecksumMismatchError,
    ConnectionFailedError,
    NotCommittedError,
    ObjectTooLargeError,
    OutcomeUnknownError,
    S3WriterError,
    add_note,
)
from s3writer._log import facts, log, log_end, warn
from s3writer._s3.calls import LostAnswerError, Store, says_gone
from s3writer._upload import resume as _resume
from s3writer._upload.lifecycle import Receipt, Session, State, UploadResult
from s3writer._upload.pace import Arrival, Pace
from s3writer._upload.part import PartBuffer
from s3writer._upload.plan import MAX_PARTS, Plan
from s3writer._upload.sender import Sender
from s3writer.pending import PendingUpload

#: How long an abort takes at the most, and how long it waits for parts that are under way, which stop before their
#: next slice. A server that hangs is not waited for any longer.
_ABORT_SECONDS = 60.0
STOP_SECONDS = 30.0
#: S3 may still be at work on a part whose answer was lost; so much later the upload is aborted once more.
_LATE_SECONDS = 1.0

#: What `_abort_all` looks after when the interpreter ends.
_under_way: "weakref.WeakSet[Upload]" = weakref.WeakSet()
_aborts: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()
#: Uploads that a finaliser could find no thread for; nobody else holds them any more.
_orphans: "list[Upload]" = []


@dataclass(slots=True)
class _Sent:
    """A part that S3 has, the buffer that its bytes no longer need, and when its worker began and ended."""

    receipt: Receipt
    buffer: PartBuffer
    began: float
    ended: float


class Upload:
    """Sends parts and settles the outcome. One thread at a time may use it. ``keeps`` says what becomes of it when it
    fails: it stays in S3, to be resumed, or is aborted.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        progress: Callable[[int], object] | None,
        alarm: Callable[[], object],
        *,
        keeps: bool,
    ) -> None:
        self.session = Session()
        self.result: UploadResult | None = None
        self._store = store
        self._pace = Pace(plan)
        self._progress = progress
        self._sender: Sender[_Sent] = Sender(alarm)
        self._keeps = keeps
        self._spare: list[PartBuffer] = []
        self._digest = store.start_digest()
        self.upload_id: str | None = None
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._began = time.monotonic()

    @property
    def is_ours(self) -> bool:
        """False in a forked child, which must leave its parent's upload alone."""
        return os.getpid() == self._process

    @property
    def is_open(self) -> bool:
        """Whether this process may still publish or abort it."""
        return self.is_ours and self.session.state is State.OPEN

    def check_process(self) -> None:
        """Raise in a forked child."""
        if not self.is_ours:
            raise io.UnsupportedOperation(
                f"{self._store.url} was opened in process {self._process}; only that process can write to it"
            )

    def check(self) -> None:
        """Raise if nothing more can come of this upload."""
        if self.session.state is not State.OPEN:
            raise AbortedError(
                f"{self._store.url} was not published: its upload had failed or was aborted before. Write the object "
                "anew, from its first byte, or resume the upload if it was kept",
                *self._address,
                self.upload_id if self.session.state is State.KEPT else None,
            ) from self._error

    @property
    def is_failing(self) -> bool:
        """Whether a part has failed of which nobody was told yet; ``alarm`` is called when that turns true."""
        return self._sender.has_failed

    @property
    def parts_in_flight(self) -> int:
        """Those that S3 has not acknowledged yet."""
        return self._sender.outstanding

    def extra(self, **others: Any) -> dict[str, Any]:
        """What this upload is, for a record of the log."""
        return facts(*self._address, self.upload_id, **others)

    def poll(self) -> None:
        """Record the parts that have arrived meanwhile; raise if one has failed."""
        if self._sender.has_news:
            self._collect(self._pace.in_flight(self.session.next_part()))

    def room(self) -> int:
        """The size in bytes of the part that is next to be filled."""
        return self._pace.size(self.session.next_part())

    def digest(self, buffer: PartBuffer, piece: memoryview) -> None:
        """Digest what has come into ``buffer`` since the last call, ``piece`` at last, while it is in the processor's
        cache. What is not digested here is digested when the part is sent, which for slow algorithms is better: it is
        done in parallel. What may have changed since it was copied is looked up in the buffer.
        """
        if self._digest is None or not self._store.digests_early:
            return
        if type(piece.obj) is bytes and self._digest.size + len(piece) == buffer.size:
            self._digest.update(piece)
            return
        with buffer.pieces(self._digest.size) as fresh:
            for each in fresh:
                self._digest.update(each)

    def send(self, buffer: PartBuffer) -> PartBuffer:
        """Send what ``buffer`` holds as the next part, once the pipeline has room; an empty buffer in exchange."""
        self._start(buffer)
        self._check_for_room()
        return self._empty_buffer()

    def commit(self, tail: PartBuffer) -> UploadResult:
        """Publish what was sent and what ``tail`` holds; if that fails, abort and raise."""
        self.session.move(State.COMMITTING)
        try:
            result = self._publish(tail)
        except LostAnswerError as lost:
            result = self._settle(lost)
        except BaseException as error:
            if not self._store.is_undecided:
                self.fail(error)
                raise
            result = self._settle(LostAnswerError(error, answered=False, checksum=None))
        self._committed(result)
        return result

    def prepare(self, tail: PartBuffer) -> PendingUpload:
        """Send what ``tail`` holds, and hand over what is to be published; if that fails, abort and raise."""
        self.session.move(State.COMMITTING)
        try:
            upload_id, parts = self._send_rest(tail), self.session.manifest()
            pending = PendingUpload(
                bucket=self._store.bucket,
                key=self._store.key,
                upload_id=upload_id,
                size=self.session.size,
                parts=tuple(parts),
                checksum=self._store.whole_checksum(parts),
                token=self._store.token,
                exclusive=self._store.exclusive,
                s3_arguments=self._store.arguments.for_commit(),
            )
        except BaseException as error:
            self.fail(error)
            raise
        self._end(State.PREPARED, None)
        return pending

    def resume(self, upload_id: str, token: str | None, source: _resume.Readable | None) -> None:
        """Go on with an upload that was begun elsewhere, after the parts that can be used. They are checked against
        ``source``, if there is one.
        """
        self._store.arguments.refuse_late_ones()
        try:
            listed = self._store.take_over(upload_id, token)
        except NotCommittedError as error:
            raise (self._store.gone(upload_id) if says_gone(error) else error) from error.__cause__
        parts = _resume.usable(listed)
        if source is not None:
            _resume.verify(parts, source, *self._address, upload_id)
        for part in _resume.misleading(listed, parts):
            digest = self._store.start_digest()
            self._store.upload_part(upload_id, part.number, [memoryview(b"-")], digest, self._sender.check)
        for receipt in parts:
            self.session.allot(receipt.size)
        self.session.record(parts)
        self._digest = self._store.start_digest()
        self.upload_id = upload_id
        _under_way.add(self)

    def fail(self, error: BaseException | None) -> None:
        """End without publishing, in the way that was chosen: `abort`, or leave the upload in place. If it is too late
        for that, ``error`` says what has become of the upload.
        """
        if self.session.state is State.COMMITTING and self._store.is_undecided:
            self._end_undecided()
        if news := self._news():
            if error is not None and error is not self._error:
                add_note(error, news)
        elif not self.is_ours or self.session.state not in (State.OPEN, State.COMMITTING):
            return
        elif self._keeps and self.upload_id is not None:
            self._keep(error)
        else:
            self.abort(error)

    def abort(self, error: BaseException | None = None) -> None:
        """Abort. What can't be aborted is noted on ``error``, or raised as `NotCommittedError` where there is none; it
        can be tried again.
        """
        if not self.is_ours or self.session.state not in (State.OPEN, State.COMMITTING, State.KEPT):
            return
        self.session.move(State.ABORTING)
        state, outcome = State.KEPT, "left behind"
        try:
            if self.upload_id is not None:
                self._remove(self.upload_id)
            state, outcome = State.ABORTED, State.ABORTED.value
        except NotCommittedError as left:
            if error is None:
                raise
            self._note(error, left)
        finally:
            self._end(state, error or self._error, outcome)

    def abandon(self) -> None:
        """`fail` without waiting for it. For finalisers, which may run while this very thread holds locks of botocore's
        or urllib3's that an abort needs; a thread of its own is not inside anything.
        """
        if self.upload_id is None:
            self.abort()
        elif not sys.is_finalizing():
            thread = threading.Thread(target=self._abort_quietly, name="s3writer-abort", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                _orphans.append(self)
            else:
                _aborts.add(thread)

    @property
    def _address(self) -> tuple[str, str]:
        return self._store.bucket, self._store.key

    def _news(self) -> str | None:
        """What the upload has come to, if nobody can abort it any more."""
        if self.session.state is State.PREPARED:
            return f"upload {self.upload_id} of {self._store.url} is prepared, and must be committed or aborted"
        if self.session.state is State.UNKNOWN:
            return str(self._error)
        return self._store.published_all_the_same(self.result) if self.result else None

    def _end_undecided(self) -> None:
        """An interrupt came between S3's answer to the commit and the state that follows from it."""
        if self.result:
            self._end(State.COMMITTED, None)
        else:
            self._end(State.UNKNOWN, self._unknown("it was interrupted"))

    def _start(self, buffer: PartBuffer) -> None:
        """Hand the bytes of ``buffer`` to a worker."""
        self._check_for_room()
        number = self.session.allot(buffer.size)
        self._collect(self._pace.most_in_flight - 1)
        upload_id, store, check = self.upload_id or self._begin(), self._store, self._sender.check
        digest, self._digest = self._digest, store.start_digest()

        def send_part() -> _Sent:
            began = time.monotonic()
            with buffer.sending() as pieces:
                receipt = store.upload_part(upload_id, number, pieces, digest, check)
            return _Sent(receipt, buffer, began, time.monotonic())

        self._pace.handed_over(number, time.monotonic())
        self._sender.start(send_part)

    def _empty_buffer(self) -> PartBuffer:
        """For the next part, once the pipeline has room for it. One that has held a larger part is not used again."""
        self._collect(self._pace.in_flight(self.session.next_part()))
        while self._spare:
            if (spare := self._spare.pop()).most_copied <= self.room():
                return spare
        return PartBuffer()

    def _check_for_room(self) -> None:
        if self.session.is_full():
            raise ObjectTooLargeError(
                f"{self._store.url} does not fit into {MAX_PARTS:,} parts, of which the last was "
                f"{self._pace.size(MAX_PARTS):,} bytes: set expected_size to its length, or a larger max_memory or "
                "part_size",
                *self._address,
            )

    def _begin(self) -> str:
        """Begin the upload; its id. If a finaliser has aborted this one meanwhile, it is removed again."""
        try:
            self.upload_id = self._store.create()
        except S3WriterError:
            raise
        except BaseException as interrupt:
            add_note(interrupt, self._store.lost_upload)
            raise
        if self.session.state is State.ABORTED:
            self._remove(self.upload_id)
            self.check()
        _under_way.add(self)
        return self.upload_id

    def _collect(self, most: int) -> None:
        """Wait until at most ``most`` parts are in flight, and record those that have arrived."""
        for sent in self._sender.wait(most):
            part, size = sent.receipt.number, sent.receipt.size
            about = self.extra(part=part, size=size)
            log(logging.DEBUG, "%s part %d: %d bytes", self._store.url, part, size, extra=about)
            self._pace.arrived(Arrival(part, size, sent.began, sent.ended))
            self._acknowledge(self.session.record([sent.receipt]))
            self._reuse(sent.buffer)
        del self._spare[max(0, most - self._sender.outstanding) + 1 :]

    def _reuse(self, buffer: PartBuffer) -> None:
        """Keep a buffer whose part has arrived, unless something still looks at its bytes."""
        with contextlib.suppress(BufferError):
            buffer.reuse()
            self._spare.append(buffer)

    def _acknowledge(self, size: int) -> None:
        if self._progress:
            self._progress(size)

    def _publish(self, tail: PartBuffer) -> UploadResult:
        if self.upload_id is None:
            self.session.size = tail.size
            with tail.sending() as pieces:
                return self._store.put(pieces, self._digest)
        upload_id, parts = self._send_rest(tail), self.session.manifest()
        return self._store.complete(upload_id, parts, self._store.whole_checksum(parts))

    def _send_rest(self, tail: PartBuffer) -> str:
        """Send ``tail`` as the last part, and wait until S3 has them all; the upload's id."""
        if tail.size or not self.session.size:
            self._start(tail)
        self._collect(0)
        return str(self.upload_id)

    def _committed(self, result: UploadResult) -> None:
        self.result = result
        self._end(State.COMMITTED, None)
        if self.upload_id is None:
            self._acknowledge_published(result.size)

    def _acknowledge_published(self, size: int) -> None:
        try:
            self._acknowledge(size)
        except Exception:
            message = "progress raised after %s was published"
            log(logging.ERROR, message, self._store.url, extra=self.extra(), exc_info=True)

    def _settle(self, lost: LostAnswerError) -> UploadResult:
        """The result of a commit whose answer was lost, if it did happen; else abort and raise ``lost.error``, or
        `OutcomeUnknownError` if S3 does not show which. An interrupt goes on in any case.
        """
        try:
            result = self._find_out(lost)
        except BaseException as reason:
            unknown = self._unknown(reason)
            interrupt = lost.interrupt or (None if isinstance(reason, S3WriterError) else reason)
            if self._keeps and self.upload_id is not None:
                self._tell_kept(interrupt or unknown)
            self._end(State.UNKNOWN, unknown)
            if interrupt is None:
                raise unknown from lost.error
            raise interrupt from None
        if result is None:
            self.session.move(State.ABORTING)
            self._end(State.ABORTED, lost.error)
            raise lost.error
        if lost.interrupt is not None:
            self._committed(result)
            raise lost.interrupt from None
        return result

    def _unknown(self, reason: object) -> OutcomeUnknownError:
        parts = [] if self.upload_id is None else self.session.manifest()
        return self._store.unknown(reason, self.upload_id, self.session.size, parts)

    def _find_out(self, lost: LostAnswerError) -> UploadResult | None:
        """The result if the object is there, None if it surely is not, or `NotCommittedError` if neither is sure."""
        store, size, parts = self._store, self.session.size, max(1, self.session.next_part() - 1)
        try:
            result = store.recognize(store.head(), size, parts, lost.checksum)
            was_listed = result is None and self.upload_id is not None and store.shows(self.upload_id)
        except BaseException as reason:
            self._remove_because_of(reason)
            raise
        if result is not None:
            return result
        if self.upload_id is None:
            if lost.answered and store.token is not None:
                return None
            raise NotCommittedError("the object is not there, but may yet come", *self._address)
        if self._keeps:
            raise NotCommittedError("the object is not there, but its upload was kept", *self._address)
        was_there = self._remove(self.upload_id)
        result = store.recognize(store.head(), size, parts, lost.checksum)
        if result is not None or (was_listed and was_there and store.token is not None):
            return result
        raise NotCommittedError("the upload is gone, and the key does not hold its object", *self._address)

    def _remove_because_of(self, reason: BaseException) -> None:
        """Remove the upload, unless it is to be kept, if what has become of its commit can't be found out."""
        if self.upload_id is None or self._keeps:
            return
        try:
            self._remove(self.upload_id)
        except NotCommittedError as left:
            if isinstance(reason, S3WriterError):
                raise
            self._note(reason, left)

    def _remove(self, upload_id: str) -> bool:
        """Remove the upload from S3; whether S3 knew it. `NotCommittedError` with its id if it may still be there.

        This is done in a thread of its own, so that neither a server that hangs nor a second Ctrl-C has to wait for it.
        """
        remover: Sender[bool] = Sender()
        try:
            remover.start(lambda: self._try_to_remove(upload_id))
            (was_there,) = remover.wait(0, _ABORT_SECONDS)
        except TimeoutError:
            raise self._store.left_behind(upload_id, f"it took more than {_ABORT_SECONDS:.0f} seconds") from None
        except NotCommittedError:
            raise
        except BaseException as interrupt:
            add_note(interrupt, str(self._store.left_behind(upload_id, "aborting was interrupted").strerror))
            raise
        return was_there

    def _try_to_remove(self, upload_id: str) -> bool:
        self._sender.stop(STOP_SECONDS)
        was_there = self._store.remove(upload_id, lambda: self._sender.stop(0))
        if any(isinstance(failure, ConnectionFailedError) for failure in self._sender.failures()):
            time.sleep(_LATE_SECONDS)
            was_there |= self._store.remove(upload_id)
            warn(
                f"upload {upload_id} of {self._store.url} was aborted after the answer to a part was lost; should S3 "
                "store that part even now, the upload must be aborted again",
                self.extra(),
            )
        return was_there

    def _keep(self, error: BaseException | None) -> None:
        """Leave the upload in place, unless it holds bytes that were altered on their way. Parts that are under way
        stop before their next slice; they are waited for, so that none arrives while somebody resumes the upload.
        """
        self.session.move(State.KEPT)
        self._error = error
        self._let_go()
        try:
            self._sender.stop(STOP_SECONDS)
        finally:
            if any(isinstance(failure, ChecksumMismatchError) for failure in (error, *self._sender.failures())):
                self.abort(error)
            else:
                self._tell_kept(error)
                self._log_end(State.KEPT.value)

    def _tell_kept(self, error: BaseException | None) -> None:
        """How to go on: on ``error``, and in the log, with what `resume` takes as ``s3_resume`` of the record."""
        given = self._store.options
        options = "".join(f", {name}={value!r}" for name, value in given.items())
        kept = NotCommittedError(
            f"upload {self.upload_id} to {self._store.url} was kept: go on, with the part sizes as before, with "
            f"MultipartUploadWriter.resume({self._store.bucket!r}, {self._store.key!r}, {self.upload_id!r}{options})",
            *self._address,
            self.upload_id,
        )
        self._note(error, kept, resume=given)

    def _note(self, error: BaseException | None, left: NotCommittedError, **others: Any) -> None:
        if error is not None:
            add_note(error, str(left.strerror))
        if isinstance(error, S3WriterError) and (error.bucket, error.key) == self._address:
            error.upload_id = left.upload_id
        warn(str(left.strerror), self.extra(**others))

    def _end(self, state: State, error: BaseException | None, outcome: str = "") -> None:
        self.session.move(state)
        self._error = error
        self._sender.failures()  # results that nobody waited for hold their buffers
        self._let_go()
        self._log_end(outcome or state.value)

    def _log_end(self, outcome: str) -> None:
        parts = self.result.parts if self.result else self.session.next_part() - 1
        log_end(outcome, *self._address, self.upload_id, size=self.session.size, parts=parts, began=self._began)

    def _let_go(self) -> None:
        self._spare.clear()
        _under_way.discard(self)

    def _abort_quietly(self) -> None:
        try:
            self.fail(None)
        except NotCommittedError as left:
            warn(str(left.strerror), self.extra())


def _abort_all() -> None:
    """At the interpreter's exit: what is still under way was never closed. A server that hangs is not asked again for
    each of many uploads.
    """
    deadline = time.monotonic() + _ABORT_SECONDS
    for thread in list(_aborts):
        thread.join(max(0.0, deadline - time.monotonic()))
    for upload in [upload for upload in _under_way if upload.is_ours]:
        if time.monotonic() < deadline:
            upload._abort_quietly()
        else:
            left = upload._store.left_behind(str(upload.upload_id), "there was no time left for it")
            warn(str(left.strerror), upload.extra())
        warn(upload._news() or f"{upload._store.url} was never closed: it is not published", upload.extra())


atexit.register(_abort_all)
