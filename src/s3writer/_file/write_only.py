"""The methods that Python expects of a write-only file, whatever becomes of its bytes."""

import io
from typing import Any


class WriteOnly(io.RawIOBase):
    """A raw binary file that can't be read, sought, copied or pickled. Once closed, its methods raise ValueError."""

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

    def readinto(self, _buffer: Any, /) -> int:
        """Raise io.UnsupportedOperation, and so do all other ways of reading."""
        self.check_open()
        raise io.UnsupportedOperation("not readable")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object")
