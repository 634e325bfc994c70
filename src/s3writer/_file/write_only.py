"""The methods that Python expects of a write-only file, whatever becomes of its bytes."""

import io
from typing import Any, BinaryIO

_NO_READING = "is open for writing only: to read the object, download it after it is published"
_NO_WAY_BACK = "S3 takes the bytes in order. A producer that goes back needs a temporary file: copy that file here"


class WriteOnly(io.RawIOBase, BinaryIO):
    """A raw binary file that can't be read, sought, copied or pickled. Once closed, its methods raise ValueError.

    ``BinaryIO`` is there for functions that are annotated with it or with ``IO[bytes]``. It adds no behaviour.
    """

    _name: str
    _mode: str
    #: Whether somebody has asked what wrappers ask when they are made.
    was_asked = False

    @property
    def name(self) -> str:
        """Where the bytes go."""
        self.was_asked = True
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def mode(self) -> str:
        """``wb``, or ``xb`` if the file must not exist."""
        self.was_asked = True
        return self._mode

    def check_open(self) -> None:
        """Raise ValueError if closed."""
        if self.closed:
            raise ValueError(f"I/O operation on closed file {self._name}")

    def flush(self) -> None:
        """Do nothing (S3 takes no short part before the last), but raise ValueError if closed."""
        self.check_open()

    def writable(self) -> bool:
        """True; ValueError if closed, as for all files."""
        self.was_asked = True
        self.check_open()
        return True

    def readable(self) -> bool:
        """False; ValueError if closed."""
        self.check_open()
        return False

    def seekable(self) -> bool:
        """False; ValueError if closed."""
        self.check_open()
        return False

    def read(self, _size: int | None = -1, /) -> bytes:
        """Raise io.UnsupportedOperation, and so do all other ways of reading."""
        raise self._unsupported(_NO_READING)

    def readinto(self, _buffer: Any, /) -> int:
        """Raise io.UnsupportedOperation."""
        raise self._unsupported(_NO_READING)

    def seek(self, _offset: int, _whence: int = io.SEEK_SET, /) -> int:
        """Raise io.UnsupportedOperation."""
        raise self._unsupported(f"can't seek: {_NO_WAY_BACK}")

    def truncate(self, _size: int | None = None, /) -> int:
        """Raise io.UnsupportedOperation."""
        raise self._unsupported(f"can't be truncated: {_NO_WAY_BACK}")

    def fileno(self) -> int:
        """Raise io.UnsupportedOperation."""
        raise self._unsupported("has no file descriptor: only Python code in this process can write to it")

    def _unsupported(self, why: str) -> io.UnsupportedOperation:
        self.check_open()
        return io.UnsupportedOperation(f"{self._name} {why}")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle or copy a {type(self).__name__}: its upload belongs to this process")
