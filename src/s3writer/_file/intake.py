"""Turns what is written into the bytes of a part: encodes, compresses, and copies or keeps."""

import codecs
import contextlib
import operator
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from s3writer._file.compression import Compression
from s3writer._upload.part import SHORTEST_KEPT_BYTES, Part

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: After this many bytes of small writes, the writer checks the parts in flight. A ``str`` of more characters than this
#: is encoded in pieces of this many. It is less than the shortest ``bytes`` that a part keeps: the fast path copies.
ROOM_BYTES = 256 * 1024
#: A large write is copied and digested in pieces of this size. They are small enough for the processor's cache, and
#: large enough that threads don't fight for the GIL, which is free while a piece is digested.
_PIECE_BYTES = 1024 * 1024
#: A buffer of up to this size that is not ``bytes`` is first copied to ``bytes``: two copies cost less than the lock. A
#: piece shorter than this is digested later, with the next longer piece or by the thread that sends the part, so that
#: small writes return soon.
SHORT_BYTES = 64 * 1024

#: For these encodings ``str.encode`` and an incremental encoder yield the same bytes.
_STATELESS = {"utf-8", "ascii", "iso8859-1"}


class Sink(Protocol):
    """The parts as the intake sees them: their sizes, their digest, and whether one has failed."""

    @property
    def size(self) -> int:
        """The bytes of all parts that were sent."""

    @property
    def next_size(self) -> int:
        """The size in bytes of the part that is next to be filled."""

    def poll(self) -> None:
        """Raise if a part has failed."""

    def update_digest(self, part: Part, piece: memoryview) -> None:
        """Digest what is new in ``part``; ``piece`` is the end of it."""


class Intake:
    """Fills parts for ``sink``. ``send`` takes a full part and returns an empty one; ``stage``, if there is one,
    compresses.
    """

    def __init__(self, sink: Sink, send: Callable[[Part], Part], stage: Compression | None = None) -> None:
        self._sink = sink
        self._send = send
        self._stage = stage
        self._part = Part()
        #: The bytes that a dying wrapper has written. Its finaliser may run in the middle of boto, so it must not wait
        #: for S3. The writer's next call takes these bytes.
        self.late: list[bytes] = []
        #: The length of the last write that was large enough to be kept; None before the first.
        self._last_length: int | None = None

    @property
    def put(self) -> Callable[[bytes], int]:
        """The method that takes a small write; valid until the next `take`."""
        return self._stage.put if self._stage else self._part.put

    @property
    def take(self) -> Callable[[memoryview], int]:
        """The method that takes any write, and returns how many bytes `put` may take after it. If it raises, it may
        have taken some of the bytes.
        """
        return self._compress if self._stage else self._copy

    @property
    def taken(self) -> int:
        """How many bytes were written."""
        taken = self._stage.taken if self._stage else self._sink.size + self._part.size
        return taken + sum(map(len, self.late))

    def take_late(self) -> None:
        """Take what a dying wrapper has written."""
        while self.late:
            self.take(memoryview(self.late.pop(0)))

    def finish(self, end: bytes) -> Part:
        """Take ``end``, and return the part that was not sent. Nothing can be taken after this."""
        if end:
            self.take(memoryview(end))
        if self._stage:
            self._stage.finish(self._copy)
        rest, self._part = self._part, Part()
        return rest

    def close(self) -> None:
        """Let go of all memory."""
        self.late.clear()
        self._part = Part()
        if self._stage:
            self._stage.close()

    def _compress(self, view: memoryview) -> int:
        assert self._stage is not None
        return self._stage.compress(view, self._copy)

    def _copy(self, view: memoryview) -> int:
        """Take ``view`` into the part, and into further parts as each gets full. Returns the room left in the part. A
        full part is sent when the next byte comes.

        A large write is kept instead of copied if `Part.keep` accepts it, and it is the first or as long as the one
        before. Kept objects of mixed lengths would fragment the producer's heap, and memory would grow beyond the
        limit.
        """
        is_first = self._last_length is None
        may_keep = is_first or len(view) == self._last_length
        if len(view) >= SHORTEST_KEPT_BYTES:
            self._last_length = len(view)
        done = 0
        self._sink.poll()
        while True:
            room = max(0, self._sink.next_size - self._part.size)
            size = len(view)
            if not may_keep or done or size > room or not self._part.keep(view, is_first=is_first):
                size = min(room, len(view) - done, _PIECE_BYTES)
                if room and ROOM_BYTES <= self._part.copied < _PIECE_BYTES:
                    self._part.reserve(room)
                with view[done : done + size] as piece:
                    self._part.put(piece)
            if size >= SHORT_BYTES:
                with view[done : done + size] as piece:
                    self._sink.update_digest(self._part, piece)
            done += size
            if done == len(view):
                return room - size
            if size == room:
                full, self._part = self._part, Part()  # its bytes are counted by the sink from now on
                self._part = self._send(full)


class Encoding(NamedTuple):
    """How ``str`` becomes bytes. ``encode`` encodes the next ``str``, and ``end`` returns the last bytes of the file.
    ``is_stateless`` says that ``encode`` remembers nothing between two calls.
    """

    encode: Callable[[str], bytes]
    end: Callable[[], bytes]
    is_stateless: bool


def encoding_named(name: str | None) -> Encoding:
    """The encoding called ``name``, or for None one that refuses ``str``. ValueError for an unknown name."""
    if name is None:
        return Encoding(_refuse_str, bytes, is_stateless=True)
    try:
        "".encode(name)
    except LookupError as error:
        raise ValueError(f"encoding={name!r} can't be used: {error}") from None
    codec = codecs.lookup(name)
    if codec.name == "utf-8":
        return Encoding(str.encode, bytes, is_stateless=True)
    if codec.name in _STATELESS:
        return Encoding(operator.methodcaller("encode", codec.name), bytes, is_stateless=True)
    encoder = codec.incrementalencoder()
    unused = encoder.getstate()

    def end() -> bytes:
        return b"" if encoder.getstate() == unused else encoder.encode("", final=True)

    return Encoding(encoder.encode, end, is_stateless=False)


def copied_if_short(data: "ReadableBuffer") -> bytes | None:
    """A copy of a short buffer as ``bytes``; None if the buffer is longer, or not C-contiguous."""
    with _viewed(data) as view:
        return view.tobytes() if view.nbytes <= SHORT_BYTES and view.c_contiguous else None


@contextlib.contextmanager
def in_pieces(
    data: "ReadableBuffer | str", encode: Callable[[str], bytes]
) -> Iterator[tuple[Iterable[memoryview], int]]:
    """The bytes of ``data`` in pieces, and what `write` returns: the number of bytes, or of characters.

    A ``str`` is encoded piece by piece, as the caller takes them. BufferError if a buffer is not C-contiguous.
    """
    if isinstance(data, str):
        starts = range(0, max(1, len(data)), ROOM_BYTES)
        yield (memoryview(encode(data[start : start + ROOM_BYTES])) for start in starts), len(data)
    elif type(data) is bytes:
        with memoryview(data) as view:
            yield (view,), len(data)
    else:
        with _flat(data) as view:
            yield (view,), view.nbytes


@contextlib.contextmanager
def _flat(data: "ReadableBuffer") -> Iterator[memoryview]:
    """The bytes of a buffer of any shape and format.

    It releases all its views at the end, and the caller must release each slice. Otherwise the frames of an exception
    keep them, and CPython's garbage collector crashes on a PickleBuffer that looks at a memoryview.
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


def _viewed(data: "ReadableBuffer") -> memoryview:
    try:
        return memoryview(data)
    except TypeError:
        raise TypeError(f"write() takes bytes, another buffer or str, not {type(data).__name__}") from None


def _refuse_str(_: str) -> bytes:
    raise TypeError(
        "write() takes bytes only, not str: the writer was made with encoding=None. Set encoding to write str"
    )
