"""MultipartUploadWriter: an ordinary file whose bytes become one S3 object, wholly or not at all.

`close()` publishes, unless something says that the bytes are not all there. What can say so is

- a write that failed: the upload was aborted there and then;
- an exception in flight. ``sys.exception()`` shows it to ``close()``, called from a ``with`` block of a wrapper that
  knows nothing of us, from ``finally``, from a generator that is being closed. An exception that was in flight when
  the writer was made does not count (so an ``except`` block may write to S3), unless it was raised again since: then
  its traceback has grown;
- a garbage-collected wrapper. CPython's ``TextIOWrapper`` and ``BufferedWriter`` call ``_dealloc_warn(self)`` on what
  they wrap before they close it from their finaliser. Some wrappers have had their ``close`` taken away (``xml.sax``
  does that, and so Django's XML serializer); those die after that call without closing us. Therefore the call alone
  decides nothing: only if the wrapper is still there when ``close()`` comes, it is the wrapper that calls it. And what
  it writes meanwhile, of what it has held back, is taken by the next call: a finaliser must not wait for S3, since it
  may have come in the midst of a call of boto's.

In the fast paths of ``write``, that of ``bytes`` and that of ``str``, nothing but the GIL keeps threads apart: from the
load of ``_room`` to the call that copies the bytes CPython does not switch threads, unless a tracer runs in between.
They are written out twice, since a call more would cost as much as all the rest, and what they call is named first:
CPython 3.11 looks for what is called as a method of ``self`` at each call anew, if it is an attribute. Everything else
takes turns.
"""

import codecs
import contextlib
import inspect
import io
import operator
import os
import pickle
import sys
import threading
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from s3writer._log import warn
from s3writer._s3 import client as _client
from s3writer._s3.arguments import Arguments, check_address
from s3writer._s3.calls import Store, algorithm_for
from s3writer._upload.lifecycle import UploadResult
from s3writer._upload.part import PartBuffer
from s3writer._upload.plan import DEFAULT_CONCURRENCY, MIN_PART_BYTES, make_plan
from s3writer._upload.sender import is_worker
from s3writer._upload.upload import Upload
from s3writer.pending import PendingUpload

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from s3writer._upload.resume import Readable

Outcome = TypeVar("Outcome")

#: Why a writer that was closed has published nothing.
IN_FLIGHT = "its writer was closed while this exception was in flight"

#: The room of a writer that takes nothing just now: closed, failed, or another thread is at a part's boundary.
NO_ROOM = -1

#: After so many bytes of small writes the writer looks at what has become of the parts in flight. A longer ``str`` is
#: encoded in pieces of so many characters. It is less than what a part keeps, so that the fast path, which copies,
#: never takes what could be kept.
_ROOM_BYTES = 256 * 1024
#: A large write is copied and digested in pieces of this size: small enough for the processor's cache, and large enough
#: that threads don't contend for the GIL, which is let go while a piece is digested.
_PIECE_BYTES = 1024 * 1024
#: A write of up to this size that is no plain bytes is copied twice: that costs less than taking turns. And what is
#: shorter is not digested at once, but with the next longer one or by the worker that sends it, since whoever writes
#: little at a time waits for each call.
_SHORT_BYTES = 64 * 1024

#: Encodings of which ``str.encode`` does as well as an encoder that remembers what it has seen.
_STATELESS = {"utf-8", "ascii", "iso8859-1"}


#: For forked children, which must not take bytes that only their parent could send.
_writers: "weakref.WeakSet[MultipartUploadWriter]" = weakref.WeakSet()


class ReentrantCallError(RuntimeError):
    """A writer was used from within its own call, which goes on; nothing was done."""


#: What `write` raises itself if it has taken nothing. After all else, from a signal's handler perhaps, nobody knows how
#: much was taken.
_REFUSALS = {BufferError, TypeError, ValueError, UnicodeEncodeError, io.UnsupportedOperation, ReentrantCallError}


class MultipartUploadWriter(io.RawIOBase):
    """A binary file, write only, whose bytes become the object ``key`` in ``bucket`` when it is closed.

    Nothing is visible in S3 before that, and nothing becomes visible if anything went wrong: then the key is left as
    it was and the upload is aborted. See `close` for what counts.

    Parameters:
        bucket: name or access point ARN.
        key: 1 to 1024 bytes in UTF-8.
        client: a boto3 S3 client; its configuration is respected. None: one made from the environment, shared by the
            process.
        part_size: bytes, 5 MiB (if not given) to 5 GiB. Up to this size an object is sent in one request when the
            writer is closed; above it, parts are sent in the background as they fill. Parts grow as a stream of unknown
            length goes on.
        max_concurrency: how many parts, and so threads, may be in flight at once if ``max_memory`` is enough for them
            and one more; 1 to 1000, 7 if not given. Two may be, where two send as much.
        max_memory: bytes that parts may take, those in flight and the one being filled together; a hard limit. None:
            128 MiB or two parts of ``part_size``, and more past some 80 GiB, where S3's limit of 10,000 parts asks for
            larger ones.
        checksum: "auto", "CRC64NVME", "CRC32C" (both need ``s3writer[crt]``), "CRC32", "SHA256", "SHA1" or None.
            "auto" is CRC64NVME where it can be had, else CRC32, and none if ``client`` is configured with
            ``request_checksum_calculation="when_required"``.
        exclusive: publish only if the key does not exist; S3 decides, at the moment of publishing.
        expected_size: bytes, 0 to 48.8 TiB; a hint that makes parts equal and large enough. A stream that turns out
            longer goes on in parts that grow.
        equal_parts: keep all parts but the last at ``part_size``, as some S3-compatible stores demand.
        encoding: for ``write`` of ``str``; None refuses ``str``.
        progress: called with a number of bytes each time S3 has acknowledged so many more, by the thread that writes
            or closes. An exception that it raises aborts the upload; once the object is published, it is logged.
        on_error: "abort" removes the upload from S3 when anything goes wrong. "keep" leaves the parts that have arrived
            there, stored and billed, for `resume`; errors and the log then name the upload.
        commit_token: put a random token into the object's metadata, under ``s3writer-token``. It is what proves, if
            the answer to the commit is lost, that the object under the key is this one.
        **s3_arguments: S3's own, such as ``ContentType``, ``Metadata``, ``SSECustomerKey`` or ``IfMatch``. Each goes
            to every call that takes it.

    Raises:
        TypeError, ValueError: a parameter is impossible; the message names it and its limits. S3 is not asked.

    It is safe to write from several threads: each ``write`` goes in as one piece. (On a free-threaded build of Python,
    and under a tracer such as a debugger, use a lock of your own.)

    """

    __slots__ = ("_put", "_room")

    _store_type = Store
    _upload_type = Upload

    def __init__(
        self,
        bucket: str,
        key: str,
        *,
        client: Any = None,
        part_size: int = MIN_PART_BYTES,
        max_concurrency: int = DEFAULT_CONCURRENCY,
        max_memory: int | None = None,
        checksum: str | None = "auto",
        exclusive: bool = False,
        expected_size: int | None = None,
        equal_parts: bool = False,
        encoding: str | None = "utf-8",
        progress: Callable[[int], object] | None = None,
        on_error: Literal["abort", "keep"] = "abort",
        commit_token: bool = True,
        **s3_arguments: Any,
    ) -> None:
        check_address(bucket, key)
        plan = make_plan(
            part_size=part_size,
            max_concurrency=max_concurrency,
            max_memory=max_memory,
            expected_size=expected_size,
            equal_parts=equal_parts,
        )
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be callable, not {type(progress).__name__}")
        if on_error not in ("abort", "keep"):
            raise ValueError(f"on_error={on_error!r} is neither 'abort' nor 'keep'")
        s3 = _client.chosen(client)
        store = self._store_type(
            s3,
            bucket,
            key,
            arguments=Arguments(s3.meta.service_model, s3_arguments, _OWN_NAMES),
            algorithm=algorithm_for(checksum, s3, is_ours=client is None),
            exclusive=exclusive,
            token=uuid.uuid4().hex if commit_token else None,
        )
        self.name = store.url
        self.mode = "xb" if exclusive else "wb"
        self._encode, self._encode_end, self._is_stateless = _encoders(encoding)
        self._lock = threading.RLock()
        self._is_taken = False
        self._dying_wrapper: weakref.ref[Any] | None = None
        self._late: list[bytes] = []
        self._usual_bytes = 0
        self._raised_before = _raised(sys.exception())
        self._fill_into(PartBuffer())
        self._room = _ROOM_BYTES
        alarm = _alarm(weakref.ref(self))
        self._upload = self._upload_type(store, plan, progress, alarm, keeps=on_error == "keep")
        _writers.add(self)

    @classmethod
    def resume(
        cls,
        bucket: str,
        key: str,
        upload_id: str,
        *,
        verify: "Readable | None" = None,
        token: str | None = None,
        on_error: Literal["abort", "keep"] = "keep",
        **options: Any,
    ) -> Self:
        """A writer that goes on with an upload which another writer, perhaps of a process that died, has left in S3.

        `tell` says from which byte the producer must go on. Parts are taken from the first to the first gap; what S3
        has beyond that is sent again.

        Parameters:
            upload_id: S3's name for the upload; a writer made with ``on_error="keep"`` tells it.
            verify: a binary file that is read up to where the producer must go on; each part in S3 is compared with it.
            token: the one that the upload was begun with, if there was one; it is not shown by S3 before the commit.
            on_error: as for a new writer, with another default.
            **options: as for a new writer. ``checksum`` is that of the upload where S3 tells it. Arguments for S3
                that were settled when the upload began, such as ``ContentType``, are refused.

        Raises `NotCommittedError` if a part holds other bytes than ``verify`` or can't be verified, `S3WriterError` if
        the upload was published before, `OutcomeUnknownError` if it is gone and nothing shows why; TypeError and
        ValueError as for a new writer. The upload is left to be resumed then.

        """
        writer = cls(bucket, key, on_error=on_error, commit_token=False, **options)
        try:
            if not writer._is_stateless:
                raise ValueError("an encoding that keeps a state can't be resumed: give encoding=None and write bytes")
            writer._upload.resume(upload_id, token, verify)
        except BaseException:
            writer._mark_closed()
            raise
        return writer

    def write(self, data: "ReadableBuffer | str", /) -> int:
        """Take all of ``data``, which the caller may reuse afterwards; waits while too many parts are in flight.

        Returns the number of bytes taken, for ``str`` the number of characters. Raises ValueError if closed,
        TypeError if ``data`` is neither a buffer nor an allowed ``str``, BufferError if it is not C-contiguous,
        UnicodeEncodeError, and RuntimeError if called from within itself: then nothing was taken. (But with an
        encoding that keeps a state, and in a ``str`` of more than 256 Ki characters, which is encoded in pieces,
        UnicodeEncodeError aborts the upload.) Any other exception, such as the `NotCommittedError` of a part sent
        before, means that the upload was aborted; each later ``write`` raises `AbortedError`.
        """
        try:
            if type(data) is bytes:
                size = len(data)
                room = self._room - size
                if room >= 0:
                    self._room = room
                    put = self._put
                    return put(data)
            elif type(data) is str and self._is_stateless and len(data) <= self._room:
                encode = self._encode
                encoded = encode(data)
                size = len(encoded)
                room = self._room - size
                if room >= 0:
                    self._room = room
                    put = self._put
                    put(encoded)
                    return len(data)
            return self._write_slowly(data)
        except BaseException as error:
            if type(error) not in _REFUSALS:
                self._fail(error)
            raise

    def flush(self) -> None:
        """Do nothing (S3 takes no short part before the last), but raise ValueError if closed."""
        self._check_open()

    def tell(self) -> int:
        """The number of bytes written so far."""
        self._check_open()
        return self._taken + sum(map(len, self._late))

    def writable(self) -> bool:
        """True; ValueError if closed, as of all files."""
        self._check_open()
        return True

    def readable(self) -> bool:
        """False."""
        self._check_open()
        return False

    def seekable(self) -> bool:
        """False."""
        self._check_open()
        return False

    def readinto(self, _buffer: Any, /) -> int:
        """Raise io.UnsupportedOperation, and so do all other ways of reading."""
        self._check_open()
        raise io.UnsupportedOperation("not readable")

    @property
    def parts_in_flight(self) -> int:
        """How many parts are being sent just now."""
        return self._upload.parts_in_flight

    @property
    def result(self) -> UploadResult:
        """What was published; ValueError if nothing was, or not yet."""
        if self._upload.result is None:
            raise ValueError(f"{self!r} has no result")
        return self._upload.result

    def close(self) -> None:
        """Publish the object, or abort; a closed writer is left alone.

        It aborts, and raises nothing, when an exception is in flight that was raised since the writer was made (in this
        thread; an ``except`` block counts, see `commit`), or when a garbage-collected wrapper of the standard library
        is what calls it. The exception gets a note and a warning is logged. It aborts
        and raises `AbortedError` if an earlier ``write`` failed and nothing of that is in flight any more.

        Raises `NotCommittedError` (nothing was published, the key is as it was; the type says why) or
        `OutcomeUnknownError`; the writer is closed then too. RuntimeError if called from within another call of the
        writer (``progress``, a signal handler), which goes on.
        """
        self._close(sys.exception())

    def commit(self) -> UploadResult:
        """Publish what was written, whatever is in flight, and close; what was published.

        For those who do want to publish from an ``except`` block. Raises as `close` does, and ValueError if closed;
        but on a writer that has published it returns the result again.
        """
        if self._upload.result is not None:
            return self._upload.result
        self._check_open()
        result = self._finish(lambda: self._upload.commit(self._take_rest()))
        return self.result if result is None else result

    def prepare(self) -> PendingUpload:
        """Send everything, and close, but publish nothing yet: what is returned can be committed later, by any process.

        Raises as `close` does, and ValueError if closed.
        """
        self._check_open()
        pending = self._finish(lambda: self._upload.prepare(self._take_rest()))
        if pending is None:
            raise ValueError(f"{self.name} was closed by another thread")
        return pending

    def abort(self) -> None:
        """Publish nothing, and close. A writer that is closed or has published is left alone.

        Raises `NotCommittedError` with the ``upload_id`` if parts may have been left behind in S3.
        """
        if not self.closed:
            self._finish(self._upload.abort)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """`close`; with an exception, abort."""
        if exc is None:
            self.close()
        else:
            self._raised_before = None
            self._close(exc)

    def __repr__(self) -> str:
        upload: Upload | None = getattr(self, "_upload", None)
        if upload is None:
            return f"<{type(self).__name__} not made>"
        known = f", upload {upload.upload_id}" if upload.upload_id else ""
        return f"<{type(self).__name__} {self.name} {upload.session.state.value}, {self._taken} bytes{known}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object")

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_upload") and self._upload.is_open:
            self._abandon(f"{self!r} was never closed: it is not published")

    def _dealloc_warn(self, source: object) -> None:
        """CPython's wrappers call this from their finaliser, before they close."""
        self._dying_wrapper = weakref.ref(source)

    def _close(self, exception: BaseException | None) -> None:
        if self.closed:
            return
        if self._is_in_finaliser:
            if self._upload.is_open:
                self._abandon(f"{self!r} was closed by a wrapper that was never closed: it is not published")
            else:
                self._mark_closed()
        elif exception is None or self._was_raised_before(exception):
            self._finish(self._commit)
        elif self._upload.is_ours:
            self._finish(lambda: self._give_up(exception))
        else:
            self._mark_closed()

    def _finish(self, last: Callable[[], Outcome]) -> Outcome | None:
        """Do the ``last`` thing, alone and once, and be closed whatever comes of it. None if it was closed before."""
        if not self._upload.is_ours:
            self._mark_closed()
            self._upload.check_process()
        try:
            return self._alone(lambda: self._end_with(last))
        except ReentrantCallError:
            raise
        except BaseException as error:
            self._fail(error)
            raise

    def _end_with(self, last: Callable[[], Outcome]) -> Outcome | None:
        if self.closed:
            return None
        try:
            return last()
        except BaseException as error:
            self._upload.fail(error)
            raise
        finally:
            self._mark_closed()

    def _was_raised_before(self, exception: BaseException) -> bool:
        """Whether it was in flight when the writer was made, and has not been raised again since."""
        raised = self._raised_before
        return raised is not None and raised[0] is exception and raised[1] is exception.__traceback__

    def _commit(self) -> object:
        return self._upload.commit(self._take_rest())

    def _take_rest(self) -> PartBuffer:
        """What has been written and was not sent yet; nothing can be written any more."""
        self._upload.check()
        self._take_late()
        self._take_end()
        self._room = NO_ROOM
        rest = self._buffer
        self._fill_into(PartBuffer())
        return rest

    def _give_up(self, exception: BaseException) -> None:
        """Don't publish because of an exception that goes on to somebody else."""
        if not self._upload.is_open:
            return
        self._upload.fail(exception)
        note = f"{self.name} was not published: {IN_FLIGHT}"
        with contextlib.suppress(Exception):
            exception.add_note(note)
        warn(f"{note}: {type(exception).__name__}", self._upload.extra())

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._room = NO_ROOM
            self._upload.fail(error)

    def _abandon(self, message: str) -> None:
        """Don't publish, in a finaliser."""
        self._mark_closed()
        self._upload.abandon()
        warn(message, self._upload.extra())
        warnings.warn(message, ResourceWarning, stacklevel=3, source=self)

    def _mark_closed(self) -> None:
        self._room = NO_ROOM
        self._raised_before = None
        self._late.clear()
        self._fill_into(PartBuffer())
        super().close()

    @property
    def _size(self) -> int:
        """Bytes written so far."""
        return self._upload.session.size + self._buffer.size

    @property
    def _taken(self) -> int:
        """Bytes that were taken from whoever writes."""
        return self._size

    @property
    def _is_in_finaliser(self) -> bool:
        """Whether a wrapper is what calls, from its finaliser: that must not wait for S3."""
        return self._dying_wrapper is not None and self._dying_wrapper() is not None

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"I/O operation on closed file {self.name}")

    def _write_slowly(self, data: "ReadableBuffer | str") -> int:
        """`write` of what is not plain bytes, or reaches a boundary."""
        if isinstance(data, str):
            if self._is_stateless and len(data) <= _ROOM_BYTES:
                MultipartUploadWriter.write(self, self._encode(data))
                return len(data)
        elif type(data) is not bytes and (copied := _copied_if_short(data)) is not None:
            return MultipartUploadWriter.write(self, copied)
        return self._write_alone(data)

    def _write_alone(self, data: "ReadableBuffer | str") -> int:
        """`write` while no other thread does; what is long goes in piece by piece."""
        if isinstance(data, str):
            starts = range(0, max(1, len(data)), _ROOM_BYTES)
            self._write_pieces(memoryview(self._encode(data[start : start + _ROOM_BYTES])) for start in starts)
            return len(data)
        with memoryview(data) if type(data) is bytes else _flat(data) as view:
            self._write_pieces([view])
            return view.nbytes

    def _write_pieces(self, pieces: Iterable[memoryview]) -> None:
        """Take all ``pieces``, alone."""
        self._check_open()
        self._upload.check_process()
        if self._is_in_finaliser:
            self._late.extend(map(bytes, pieces))
            self._room = NO_ROOM
        else:
            self._alone(lambda: self._take_all(pieces))

    def _take_all(self, pieces: Iterable[memoryview]) -> None:
        self._check_open()
        self._upload.check()
        self._take_late()
        before = self._taken
        try:
            *_, room = [self._take(piece) for piece in pieces]
            self._reopen(room)
        except BaseException as error:
            if self._taken != before or not self._is_stateless:
                self._fail(error)
            raise

    def _fill_into(self, buffer: PartBuffer) -> None:
        self._buffer = buffer
        self._put = buffer.write

    def _take(self, view: memoryview) -> int:
        """Take what ``view`` holds, and let no small write in before `_reopen`; the room that is left in the part."""
        return self._copy(view)

    def _take_late(self) -> None:
        """`_take` what a wrapper's finaliser has written, which can't wait for S3."""
        while self._late:
            self._take(memoryview(self._late.pop(0)))

    def _take_end(self) -> None:
        """`_take` what was held back until no more comes."""
        self._take(memoryview(self._encode_end()))

    def _reopen(self, room: int) -> None:
        """Let small writes of ``room`` bytes in again, unless nothing is taken any more."""
        self._room = min(room, _ROOM_BYTES)
        if self._upload.is_failing or self.closed or self._late:
            self._room = NO_ROOM

    def _copy(self, view: memoryview) -> int:
        """Copy into the part, and into the next ones as each is full. A full part is sent when the next byte comes. The
        room that is left in the part.

        Large writes that are as long as the last one that came here are kept, if that is better. If each had another
        length, the gaps between them in the producer's memory, which can't be used again before they are sent, would
        come to more than a writer may take.
        """
        self._room = NO_ROOM
        is_usual, self._usual_bytes = len(view) == self._usual_bytes, len(view)
        done = 0
        try:
            self._upload.poll()
            while True:
                room = max(0, self._upload.room() - self._buffer.size)
                size = len(view)
                if not is_usual or done or size > room or not self._buffer.keep(view):
                    size = min(room, len(view) - done, _PIECE_BYTES)
                    self._copy_piece(view[done : done + size], room)
                if size >= _SHORT_BYTES:
                    with view[done : done + size] as piece:
                        self._upload.digest(self._buffer, piece)
                done += size
                if done == len(view):
                    break
                if size == room:
                    full = self._buffer
                    self._fill_into(PartBuffer())
                    self._fill_into(self._upload.send(full))
        except BaseException as error:
            self._fail(error)
            raise
        return room - size

    def _copy_piece(self, piece: memoryview, room: int) -> None:
        if room and _ROOM_BYTES <= self._buffer.tell() < _PIECE_BYTES:
            self._buffer.make_room(room)
        with piece:
            self._buffer.write(piece)

    def _alone(self, act: Callable[[], Outcome]) -> Outcome:
        """One thread at a time, and not once more from within (``progress``, a signal handler)."""
        if is_worker():
            raise ReentrantCallError(f"{self!r} is used by a thread that sends its parts, perhaps to log into it")
        with self._lock:
            if self._is_taken:
                raise ReentrantCallError(f"{self!r} is used from within its own call")
            try:
                self._is_taken = True
                return act()
            finally:
                self._is_taken = False


def _alarm(of: "weakref.ref[MultipartUploadWriter]") -> Callable[[], None]:
    """Makes the next ``write`` look at what has come of the parts, however little it writes."""

    def alarm() -> None:
        if (writer := of()) is not None:
            writer._room = NO_ROOM

    return alarm


def _raised(exception: BaseException | None) -> tuple[BaseException, TracebackType | None] | None:
    return None if exception is None else (exception, exception.__traceback__)


def _copied_if_short(data: "ReadableBuffer") -> bytes | None:
    """What a short buffer holds, for `write`'s fast path, which takes plain bytes only; None if it is not short."""
    with memoryview(data) as view:
        return view.tobytes() if view.nbytes <= _SHORT_BYTES and view.c_contiguous else None


@contextlib.contextmanager
def _flat(data: "ReadableBuffer") -> Iterator[memoryview]:
    """The bytes of a buffer of any shape and format.

    All is released in the end, and so must be each slice of it: CPython's garbage collector crashes on a PickleBuffer
    that looks at a memoryview, and the frames of an exception keep what is not released.
    """
    with memoryview(data) as given:
        if not given.c_contiguous:
            raise BufferError("write() takes C-contiguous buffers only")
    buffer = pickle.PickleBuffer(data)
    try:
        with buffer.raw() as view:
            yield view
    finally:
        buffer.release()


def _encoders(encoding: str | None) -> tuple[Callable[[str], bytes], Callable[[], bytes], bool]:
    """What encodes a ``str`` after all those before, what it leaves for the end of the file, and whether it keeps no
    state in between.
    """
    if encoding is None:
        return _refuse_str, bytes, True
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r} can't be used: {error}") from None
    codec = codecs.lookup(encoding)
    if codec.name == "utf-8":
        return str.encode, bytes, True
    if codec.name in _STATELESS:
        return operator.methodcaller("encode", codec.name), bytes, True
    encoder = codec.incrementalencoder()
    unused = encoder.getstate()
    return encoder.encode, lambda: b"" if encoder.getstate() == unused else encoder.encode("", final=True), False


def _refuse_str(_: str) -> bytes:
    raise TypeError("write() takes bytes only, not str: the writer was made with encoding=None")


def _after_fork() -> None:
    for writer in _writers:
        writer._room = NO_ROOM


os.register_at_fork(after_in_child=_after_fork)

_OWN_NAMES = frozenset(inspect.signature(MultipartUploadWriter).parameters)
