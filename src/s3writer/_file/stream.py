"""A file whose bytes go to an upload: it takes one call at a time, and ends the upload when it is closed.

`write` has two fast branches, for ``bytes`` and for ``str``. They repeat the same lines on purpose: a helper's call
would double the cost. They take no lock, and rely on the GIL: CPython does not switch threads between the load of
``_room`` and the call that copies the bytes. Where it is known that it may, `room` leaves them none. They load methods
into local names first, because CPython 3.11 does not cache the lookup of a method that is an attribute. All other calls
take the lock.

If a public method raises after it has taken bytes, or after it has begun to end the upload, the upload ends. `write`,
``_write_slowly`` and ``_finish`` each have one ``except BaseException``, which passes the error to `Upload.fail`.
"""

import sys
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from s3writer._errors import S3WriterError
from s3writer._file.close_rule import CloseRule, check_size, check_wrappers, give_up, tell_of_late_bytes
from s3writer._file.compression import Compression
from s3writer._file.intake import ROOM_BYTES, Intake, copied_if_short, encoding_named, in_pieces
from s3writer._file.one_call import OneCall
from s3writer._file.room import NoRoom, room_for_fast
from s3writer._file.write_only import WriteOnly
from s3writer._fork import in_each_child
from s3writer._log import warn
from s3writer._upload.jobs import Stopped, WorkingFor
from s3writer._upload.part import Part
from s3writer._upload.upload import Upload

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Outcome = TypeVar("Outcome")
Stream = TypeVar("Stream", bound="UploadStream")


#: Forked children must not take bytes that only their parent can send.
_streams: "weakref.WeakSet[UploadStream]" = weakref.WeakSet()


class UploadStream(WriteOnly):
    """A binary file, write only, whose bytes become the parts of an upload. A subclass makes the upload, and calls
    `_write_to`.
    """

    __slots__ = ("_put", "_room")

    def _write_to(self, upload: Any, encoding: str | None, exact_size: int | None = None) -> None:
        """Begin to write to ``upload``: an `Upload`, or a segment's `Destination`."""
        self._encoding = encoding_named(encoding)
        self._encode = self._encoding.encode
        self._exact_size = exact_size
        self._name = upload.calls.url
        self._mode = "xb" if upload.calls.exclusive else "wb"
        self._one_call = OneCall()
        #: A call has failed. The upload is given up then, or by the next call if something came in between.
        self._has_failed = False
        self._rule = CloseRule()
        self._intake = Intake(upload.sink, upload.send)
        self._put: Callable[[bytes], int] = self._intake.put
        self._room: int = room_for_fast(ROOM_BYTES)
        upload.pipeline.jobs.alarm = _alarm(weakref.ref(self))
        self._upload: Upload = upload
        #: What `close` does with the rest of the bytes, unless it aborts.
        self._end_well: Callable[[Part], object] = upload.commit
        _streams.add(self)

    def write(self, data: "ReadableBuffer | str", /) -> int:
        """Take all of ``data``; the caller may reuse it afterwards. Waits while too many parts are in flight.

        Returns the number of bytes; for ``str`` the number of characters.

        If one of these exceptions is raised, nothing was taken, and the upload is as before:

        - ValueError: the writer is closed.
        - TypeError: ``data`` is neither a buffer nor an allowed ``str``.
        - BufferError: ``data`` is not C-contiguous.
        - UnicodeEncodeError: the encoding has no such character.
        - RuntimeError: ``write`` was called from within a call of the writer.

        Any other exception, such as the `NotCommittedError` of an earlier part, means that the upload has failed: each
        later ``write`` raises `AbortedError`. UnicodeEncodeError means that too if the encoding keeps a state, or if
        the ``str`` has more than 256 Ki characters, since it is encoded in pieces.
        """
        put = None
        try:
            if type(data) is bytes:
                size = len(data)
                room = self._room - size
                if room >= 0:
                    self._room = room
                    put = self._put
                    return put(data)
            elif type(data) is str and self._encoding.is_stateless and len(data) <= self._room:
                encode = self._encode
                encoded = encode(data)
                size = len(encoded)
                room = self._room - size
                if room >= 0:
                    self._room = room
                    put = self._put
                    put(encoded)
                    return len(data)
        except BaseException as error:
            if put is not None:
                self._has_failed = True
                self._fail(error)
            raise
        return self._write_slowly(data)

    def tell(self) -> int:
        """The number of bytes written so far."""
        self.was_asked = True
        self.check_open()
        return self._intake.taken

    def close(self) -> None:
        """Publish the object, or abort. On a closed writer, do nothing.

        If an exception is propagating, ``close`` aborts and raises nothing; the exception gets a note. An exception
        counts if it was raised in this thread since the writer was made, also while an ``except`` block handles it. (To
        publish there, use `commit`.) ``close`` also aborts, and logs a warning, if the finaliser of a garbage-collected
        wrapper of the standard library calls it. If an earlier ``write`` failed, and its error is not propagating any
        more, ``close`` aborts and raises `AbortedError`. With ``on_error="keep"`` the upload is kept instead of
        aborted, and a warning names it.

        Raises `NotCommittedError` if nothing was published: the key is as it was, and the type says why. Raises
        `OutcomeUnknownError` if S3 does not show whether it was. The writer is closed in these cases too. Raises
        RuntimeError, and does nothing, if ``progress`` or a signal handler calls it within another call of the writer.
        """
        self._close(sys.exception())

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Call `close`. If the block raised, close without publishing."""
        if exc is None:
            self.close()
        else:
            self._rule.forget()
            self._close(exc)

    def __repr__(self) -> str:
        upload: Upload | None = getattr(self, "_upload", None)
        if upload is None:
            return f"<{type(self).__name__} not made>"
        upload_id = upload.pipeline.upload_id
        known = f", upload {upload_id}" if upload_id else ""
        return f"<{type(self).__name__} {self._name} {upload.lifecycle.state.value}, {self._intake.taken} bytes{known}>"

    def __del__(self) -> None:
        if not hasattr(self, "_upload") or self._upload.has_ended:
            return
        if not self.closed or self._upload.pipeline.beginning.has_begun:
            self._abandon("was never closed: it is not published")

    def _dealloc_warn(self, source: object) -> None:
        """CPython's wrappers call this from their finaliser, before they close."""
        self._rule.wrapper_dies(source)

    def _close(self, exception: BaseException | None) -> None:
        if self.closed:
            return
        if self._rule.is_in_finaliser:
            if self._upload.is_open:
                self._abandon("is not published: the file around it, such as a text of s3writer.open, was never closed")
            self._mark_closed()
        elif exception is None or not self._rule.counts(exception):
            self._finish(self._end_well)
        elif self._upload.is_ours:
            self._finish(lambda _: give_up(self._upload, exception), takes_rest=False)
        else:
            self._mark_closed()

    def _finish(self, end: Callable[[Part], Outcome], *, takes_rest: bool = True) -> Outcome | None:
        """Call ``end`` under the lock, and close the writer even if it raises. None if the writer was closed before."""
        if not self._upload.is_ours:
            self._mark_closed()
        self._check_caller()
        try:
            if takes_rest and self._upload.is_open:
                check_wrappers(self, self._upload, lambda: self._intake.taken)
            with self._one_call.lock:
                if self.closed:
                    return None
                self._one_call.is_busy = True
                try:
                    with WorkingFor(self._upload):
                        self._give_up_if_failed()
                        rest = self._take_rest() if takes_rest and self._upload.result is None else Part()
                        outcome = end(rest)
                except BaseException:
                    self._has_failed = True
                    raise
                finally:
                    self._one_call.is_busy = False
                self._mark_closed()
                return outcome
        except BaseException as error:
            try:
                self._fail(error)
            finally:
                self._mark_closed()
            self._cut_frames(error)
            raise

    def _take_rest(self) -> Part:
        """What was taken and not sent. Nothing can be written after this."""
        self._upload.check()
        self._intake.take_late()
        self._room = NoRoom.CLOSED
        end = self._encoding.end()
        check_size(self._upload, self._intake.taken + len(end), self._exact_size, is_whole=True)
        return self._intake.finish(end)

    def _give_up_if_failed(self) -> None:
        """With the lock: give the upload up if a call has failed, and nobody has done that."""
        if self._has_failed:
            self._upload.fail(None)

    def _write_slowly(self, data: "ReadableBuffer | str") -> int:
        """`write` without the fast path: other buffers, and ``bytes`` and ``str`` that don't fit into the room."""
        if type(data) is not bytes and not isinstance(data, str) and (copied := copied_if_short(data)) is not None:
            return UploadStream.write(self, copied)
        is_taking = False
        try:
            with in_pieces(data, self._encode) as (pieces, size):
                if size and self.closed:
                    tell_of_late_bytes(self, self._upload, self._rule)
                self.check_open()
                if self._rule.is_in_finaliser:
                    self._intake.late.extend(map(bytes, pieces))
                    self._room = NoRoom.NEWS
                    return size
                self._check_caller()
                with self._one_call.lock:
                    self.check_open()
                    self._give_up_if_failed()
                    self._upload.check()
                    self._room = NoRoom.BUSY
                    self._one_call.is_busy = True
                    try:
                        with WorkingFor(self._upload):
                            is_taking = bool(self._intake.late) or not self._encoding.is_stateless
                            self._intake.take_late()
                            take = self._intake.take
                            for piece in pieces:
                                is_taking = True
                                room = take(piece)
                            if self.closed:  # a finaliser has given the upload up meanwhile
                                self._upload.check()
                            check_size(self._upload, self._intake.taken, self._exact_size)
                        self._put = self._intake.put
                        self._room = room_for_fast(min(room, ROOM_BYTES))
                        if self._upload.pipeline.jobs.failures or self._intake.late:
                            self._room = NoRoom.NEWS
                    except BaseException:
                        self._has_failed |= is_taking
                        raise
                    finally:
                        self._one_call.is_busy = False
                return size
        except BaseException as error:
            if is_taking:
                self._has_failed = True
                self._fail(error)
            self._cut_frames(error)
            raise

    def _fail(self, error: BaseException) -> None:
        with self._one_call.lock:
            self._room = NoRoom.FAILED
            self._upload.fail(error)

    def _abandon(self, why: str) -> None:
        """Close without publishing and without waiting; for finalisers."""
        message = f"{self!r} {why}. Use a with block, or call close()"
        message = self._upload.abandon() or message
        self._mark_closed()
        warn(message, self._upload.extra)
        warnings.warn(message, ResourceWarning, stacklevel=3, source=self)

    def _cut_frames(self, error: BaseException) -> None:
        """Let an error of this package begin its traceback here: the frames below say nothing to a user. A part that
        was stopped, because a finaliser gave the upload up, is an `AbortedError`.
        """
        if isinstance(error, Stopped):
            self._upload.check()
        if isinstance(error, S3WriterError):
            error.__traceback__ = None

    def _mark_closed(self) -> None:
        self._room = NoRoom.CLOSED
        self._rule.forget()
        self._intake.close()
        self._put = self._intake.put
        super().close()

    def _check_caller(self) -> None:
        """Raise in a forked child. Wait for other threads' calls, and raise within a call of this writer."""
        if not self._upload.is_ours:
            self._upload.check()
        self._one_call.check(self, self._upload)


def compressing(stream: Stream, stage: Compression) -> Stream:
    """Have ``stream`` compress with ``stage``. Nothing may have been written to it yet. Returns ``stream``."""
    stream._intake = Intake(stream._upload.sink, stream._upload.send, stage)
    stream._put = stream._intake.put
    return stream


def put_at_once(stream: UploadStream, data: bytes) -> bool:
    """Have ``stream`` take ``data`` if the fast path of `write` would. Returns whether it did. It never waits."""
    size = len(data)
    room = stream._room - size
    if room < 0:
        return False
    stream._room = room
    try:
        stream._put(data)
    except BaseException:
        stream._has_failed = True  # the next call gives the upload up: that may wait
        stream._room = NoRoom.FAILED
        raise
    return True


def _alarm(of: "weakref.ref[UploadStream]") -> Callable[[], None]:
    """A callback for a failed part: the next ``write`` then checks the parts in flight, however short it is."""

    def alarm() -> None:
        if (stream := of()) is not None:
            stream._room = NoRoom.NEWS

    return alarm


def _after_fork() -> None:
    for stream in _streams:
        stream._room = NoRoom.FORKED


in_each_child(_after_fork)
