"""The methods that Python expects of a write-only file, whatever becomes of its bytes."""

import io
from typing import Any


class WriteOnly(io.RawIOBase):
    """A raw binary file that can't be read, sought, copied or pickled. Once closed, its methods raise ValueError."""

    name: str

    def check_open(self) -> None:
        """Raise ValueError if closed."""
        if self.closed:
            raise ValueError(f"I/O operation on closed file {self.name}")

    def flush(self) -> None:
        """Do nothing (S3 takes no short part before the last), but raise ValueError if closed."""
        self.check_open()

    def writable(self) -> bool:
        """True; ValueError if closed, as for all files."""
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

    def readinto(self, _buffer: Any, /) -> int:
        """Raise io.UnsupportedOperation, and so do all other ways of reading."""
        self.check_open()
        raise io.UnsupportedOperation("not readable")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object")
