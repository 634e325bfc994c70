"""The bytes of one part, from the first `write` until S3 has them: a list of pieces, each copied or kept.

Copied bytes go into one memory, which later parts use again: touching new memory costs more than copying into old. A
large ``bytes`` object, which nobody can change, may be kept instead. Keeping pays from half a MiB on. Below that, the
new memory that the producer touches, and the many short slices that go to the socket, cost more than the copy. Above
two MiB, the gaps that such objects leave in the producer's heap take more memory than a writer may use. Only the first
may be longer: a single one leaves no gaps, and an object that is written at once is not copied at all.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: The shortest and the longest ``bytes`` object that is kept.
SHORTEST_KEPT_BYTES = 512 * 1024
_LONGEST_KEPT_BYTES = 2 * 1024 * 1024


class Memory(io.BytesIO):
    """The copied bytes: all that stand before its position.

    ``BytesIO.__del__`` closes the buffer. If buffer and writer are collected together, that may happen before the
    writer reads it. So this class does nothing in ``__del__``.
    """

    def __del__(self) -> None:
        pass

    @property
    def touched(self) -> int:
        """How many bytes of memory were used, by copies or by `Part.reserve`, since the last ``truncate``."""
        with self.getbuffer() as touched:
            return len(touched)


class _Kept(NamedTuple):
    """A piece that was not copied, and how many copied bytes stand before it."""

    copied_before: int
    data: bytes


class Part:
    """The bytes of one part."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._kept: list[_Kept] = []
        self._kept_bytes = 0
        #: The most bytes that were copied here for any one part: how much memory the part takes.
        self.most_copied = 0

    @property
    def put(self) -> Callable[[bytes | memoryview], int]:
        """The method that copies bytes to the end; valid until `reserve`."""
        return self._memory.write

    @property
    def copied(self) -> int:
        """How many bytes were copied."""
        return self._memory.tell()

    @property
    def size(self) -> int:
        """How many bytes there are, copied and kept."""
        return self._memory.tell() + self._kept_bytes

    def reserve(self, size: int) -> None:
        """Reserve memory for ``size`` more copied bytes. If there is not so much, do nothing.

        A small buffer moves each time it grows, so its memory is reserved once. A buffer that was large before grows in
        place, and needs nothing reserved.
        """
        if self._memory.touched > 2 * self.copied:
            return
        try:
            room = bytes(self.copied + size)
        except MemoryError:
            return
        larger = Memory(room)
        del room  # otherwise BytesIO would copy the bytes before it writes, since somebody else holds them
        larger.write(self._memory.getvalue()[: self.copied])
        self._memory = larger

    def keep(self, view: memoryview, *, is_first: bool = False) -> bool:
        """Take ``view`` without a copy, or do nothing and return False.

        ``view`` must be the whole of a ``bytes`` object that is not short and, unless it is the first of the stream,
        not very long. If the part has idle memory from earlier use, a copy is better, so return False. But if that
        memory is more than was copied, free it and keep.
        """
        data = view.obj
        if type(data) is not bytes or not SHORTEST_KEPT_BYTES <= len(data) == len(view):
            return False
        if len(data) > _LONGEST_KEPT_BYTES and not is_first:
            return False
        idle = self._memory.touched - self.copied
        if idle > self.copied:
            self._memory.truncate()
        elif idle:
            return False
        self._kept.append(_Kept(self.copied, data))
        self._kept_bytes += len(data)
        return True

    @contextlib.contextmanager
    def pieces(self, start: int = 0) -> Iterator[list[memoryview]]:
        """The bytes from ``start`` on, in order and without a copy. All views are released in the end."""
        found: list[memoryview] = []
        left = self.size - start
        with contextlib.ExitStack() as views:
            backwards = self._backwards(views.enter_context(self._memory.getbuffer()))
            while left > 0:
                with next(backwards) as view:
                    found.append(views.enter_context(view[-left:]))
                    left -= len(view)
            found.reverse()
            yield found

    def reuse(self) -> None:
        """Become empty, but keep the memory. BufferError if a view of it is not released."""
        self.most_copied = max(self.most_copied, self.copied)
        self._memory.truncate()
        self._memory.seek(0)
        self._kept.clear()
        self._kept_bytes = 0

    def clear(self) -> None:
        """Become empty, and free the memory."""
        self._memory = Memory()
        self._kept = []
        self._kept_bytes = 0

    def _backwards(self, copied: memoryview) -> Iterator[memoryview]:
        end = self.copied
        for kept in reversed(self._kept):
            yield copied[kept.copied_before : end]
            yield memoryview(kept.data)
            end = kept.copied_before
        yield copied[:end]
