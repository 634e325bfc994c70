"""Compresses what is written, before it goes into parts."""

import bz2
import difflib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from s3writer._upload.part import Memory

Result = TypeVar("Result")

_PIECE_BYTES = 1024 * 1024
#: With this value zlib writes the header and the trailer of gzip; zlib's manual, deflateInit2.
_GZIP_WBITS = 31


class Compressor(Protocol):
    """The methods that all compressors have, those of the standard library and zstandard's."""

    def compress(self, data: Any, /) -> bytes:
        """Compress ``data``, and return the output that is ready."""

    def flush(self) -> bytes:
        """Return the rest of the output."""


@dataclass(frozen=True, slots=True)
class Format:
    """A compression.

    Attributes:
        suffix: of its files.
        begin: makes a compressor. The same bytes always give the same bytes: no name and no time is written into them.
        read: makes a file that unpacks another one.

    """

    suffix: str
    begin: Callable[[], Compressor]
    read: Callable[[Any], Any]


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ImportError(f"{error}; compression='zstd' needs the package: pip install 's3writer[zstd]'") from error
    return zstandard


class _UnpackedZstd(io.RawIOBase):
    """What ``source`` holds, unpacked frame by frame; EOFError if it ends within one."""

    def __init__(self, source: Any) -> None:
        self._new_frame = _zstandard().ZstdDecompressor().decompressobj
        self._source = source
        self._frame = self._new_frame()
        self._is_within = True
        self._packed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, target: Any, /) -> int:
        """Fill ``target`` with what comes next."""
        while not self._ready:
            self._packed = self._packed or self._source.read(_PIECE_BYTES)
            if not self._packed:
                if self._is_within:
                    raise EOFError("the zstd stream ends before its end")
                return 0
            if self._frame.eof:
                self._frame = self._new_frame()
            self._ready = memoryview(self._frame.decompress(self._packed))
            self._packed = self._frame.unused_data
            self._is_within = not self._frame.eof
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


#: All compressions. Beside a writer's own memory they take 0.3, 8, 94 and some 4 MiB.
FORMATS: dict[str, Format] = {
    "gzip": Format(".gz", lambda: zlib.compressobj(wbits=_GZIP_WBITS), lambda file: gzip.GzipFile(fileobj=file)),
    "bz2": Format(".bz2", bz2.BZ2Compressor, bz2.BZ2File),
    "xz": Format(".xz", lzma.LZMACompressor, lzma.LZMAFile),
    "zstd": Format(
        ".zst",
        lambda: _zstandard().ZstdCompressor(write_checksum=True).compressobj(),
        lambda file: io.BufferedReader(_UnpackedZstd(file)),
    ),
}

#: The names of the formats by the suffixes of their files.
SUFFIXES = {format.suffix: name for name, format in FORMATS.items()}


def promised_by(key: str) -> str | None:
    """The format that the suffix of ``key`` promises; None for any other suffix."""
    return next((name for suffix, name in SUFFIXES.items() if key.lower().endswith(suffix)), None)


def compressor(compression: str) -> Compressor:
    """A new compressor. ValueError for an unknown name, ImportError if the package for it is missing."""
    if compression not in FORMATS:
        name = str(compression).lower().lstrip(".")
        close = SUFFIXES.get(f".{name}") or "".join(difflib.get_close_matches(name, FORMATS, n=1))
        hint = f"did you mean {close!r}?" if close else f"use {', '.join(map(repr, FORMATS))}"
        raise ValueError(f"compression={compression!r} is unknown: {hint}")
    return FORMATS[compression].begin()


def stage(compression: str, on_error: str | None) -> "Compression":
    """Begin to compress for a writer with this ``on_error``. Raises as `compressor` does, and ValueError for "keep"."""
    begun = compressor(compression)
    if on_error == "keep":
        raise ValueError(
            "on_error='keep' does not work with a compression: to resume an upload, the producer must write the same "
            "compressed bytes again. Compress the data yourself, and write the compressed bytes with compression=None"
        )
    return Compression(begun)


class Compression:
    """Compresses what is written. It gathers small writes uncompressed, and then compresses them together.

    With ``keeps_empty=False`` the output is empty if nothing was written.
    """

    def __init__(self, compressor: Compressor, *, keeps_empty: bool = True) -> None:
        self._compressor: Compressor | None = compressor
        self._keeps_empty = keeps_empty
        self._gathered = Memory()
        self._compressed = 0

    @property
    def put(self) -> Callable[[bytes], int]:
        """The method that takes a small write."""
        return self._gathered.write

    @property
    def taken(self) -> int:
        """How many bytes were written."""
        return self._compressed + self._gathered.tell()

    def compress(self, view: memoryview, deliver: Callable[[memoryview], Result]) -> Result:
        """Compress the gathered bytes and ``view``, and pass the output that is ready to ``deliver``. Returns what
        ``deliver`` returned last.
        """
        with self._gathered.getbuffer() as whole, whole[: self._gathered.tell()] as gathered:
            self._compress(gathered, deliver)
        self._gathered.seek(0)
        return self._compress(view, deliver)

    def finish(self, deliver: Callable[[memoryview], object]) -> None:
        """Compress the gathered bytes, and pass the rest of the output to ``deliver``."""
        if self._compressor is not None and (self.taken or self._keeps_empty):
            self.compress(memoryview(b""), deliver)
            deliver(memoryview(self._compressor.flush()))

    def close(self) -> None:
        """Let go of all memory; ``taken`` stays."""
        self._compressed, self._gathered, self._compressor = self.taken, Memory(), None

    def _compress(self, view: memoryview, deliver: Callable[[memoryview], Result]) -> Result:
        assert self._compressor is not None
        for start in range(0, max(1, len(view)), _PIECE_BYTES):
            with view[start : start + _PIECE_BYTES] as piece:
                result = deliver(memoryview(self._compressor.compress(piece)))
                self._compressed += len(piece)
        return result
