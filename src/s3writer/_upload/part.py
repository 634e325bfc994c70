"""The bytes of one part, from the first `write` until S3 has them.

What is written is copied once, into a buffer whose memory later parts use again: touching new memory costs more than
copying into old. Only a large ``bytes`` object, which nobody can change, is kept as it is. Half a MiB is where that
begins to pay: below it, the memory that the producer touches instead of using the same again, and the many short slices
that go to the socket, cost more than the copy. Beyond two MiB the gaps that such objects leave in the producer's memory
come to more than a writer may take.
"""

import contextlib
import io
from collections.abc import Iterator

#: How short and how long a ``bytes`` object that is kept may be.
_KEPT_BYTES = 512 * 1024
_MOST_KEPT_BYTES = 2 * 1024 * 1024


class PartBuffer(io.BytesIO):
    """The bytes of one part: those that were copied, up to its position, and between them those that were kept.

    A file of the standard library closes itself when the garbage collector comes, which may be before the writer that
    is part of the same garbage has looked at it; this one does not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[int, bytes]] = []
        self._kept_bytes = 0
        #: The most bytes that were copied into it for one part, and so the most of its memory.
        self.most_copied = 0

    def __del__(self) -> None:
        pass

    @property
    def size(self) -> int:
        """All bytes that it holds."""
        return self.tell() + self._kept_bytes

    def make_room(self, size: int) -> None:
        """Have memory for ``size`` more bytes to be copied, if there is so much. What is small moves with each growth,
        and at last out of the heap; where there was more before nothing is done, since the system moves no bytes there.
        """
        if self._touched() > 2 * self.tell():
            return
        try:
            room = bytes(self.tell() + size)
        except MemoryError:
            return
        copied = self.getvalue()[: self.tell()]
        super().__init__(room)
        del room  # what somebody else holds as well, a BytesIO copies before it writes
        self.write(copied)

    def keep(self, view: memoryview) -> bool:
        """Take ``view`` without a copy, or do nothing and say so: it is short, or not the whole of a ``bytes`` object,
        or the memory for a copy is there and would lie idle beside it.
        """
        data = view.obj
        if type(data) is not bytes or not _KEPT_BYTES <= len(data) == len(view) <= _MOST_KEPT_BYTES:
            return False
        idle = self._touched() - self.tell()
        if idle > self.tell():
            self.truncate()
        elif idle:
            return False
        self._kept.append((self.tell(), data))
        self._kept_bytes += len(data)
        return True

    @contextlib.contextmanager
    def pieces(self, start: int = 0) -> Iterator[list[memoryview]]:
        """The bytes from ``start`` on, in order and without a copy; all is released in the end."""
        found: list[memoryview] = []
        left = self.size - start
        with contextlib.ExitStack() as views:
            backwards = self._backwards(views.enter_context(self.getbuffer()))
            while left > 0:
                with next(backwards) as view:
                    found.append(views.enter_context(view[-left:]))
                    left -= len(view)
            found.reverse()
            yield found

    @contextlib.contextmanager
    def sending(self) -> Iterator[list[memoryview]]:
        """`pieces`. If they can't be sent the buffer is emptied, since an error that is kept keeps its frames, and they
        the buffer.
        """
        try:
            with self.pieces() as pieces:
                yield pieces
        except BaseException:
            self._forget()
            with contextlib.suppress(BufferError):
                self.truncate()
            raise

    def reuse(self) -> None:
        """Be empty, and keep the memory; BufferError if something still looks at it."""
        self.most_copied = max(self.most_copied, self.tell())
        self.truncate()
        self._forget()

    def _touched(self) -> int:
        """The bytes from its beginning that were ever copied or reserved since it was cut."""
        with self.getbuffer() as touched:
            return len(touched)

    def _forget(self) -> None:
        self.seek(0)
        self._kept.clear()
        self._kept_bytes = 0

    def _backwards(self, copied: memoryview) -> Iterator[memoryview]:
        end = self.tell()
        for position, data in reversed(self._kept):
            yield copied[position:end]
            yield memoryview(data)
            end = position
        yield copied[:end]
