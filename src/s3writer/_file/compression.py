"""A writer that compresses what is written to it."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol, Self

from s3writer._file.writer import NO_ROOM, MultipartUploadWriter
from s3writer._upload.part import PartBuffer

_PIECE_BYTES = 1024 * 1024
#: What makes zlib write the header and the trailer of gzip; zlib's manual, deflateInit2.
_GZIP_WBITS = 31

#: The formats by the suffixes of their files.
SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}


class Compressor(Protocol):
    """What the standard library's compressors have in common."""

    def compress(self, data: Any, /) -> bytes:
        """What can be told of ``data`` by now."""

    def flush(self) -> bytes:
        """The rest."""


def _zstd() -> Compressor:
    try:
        import zstandard
    except ImportError as error:
        raise ImportError(f"{error}; compression='zstd' needs the package: pip install 's3writer[zstd]'") from error
    return zstandard.ZstdCompressor(write_checksum=True).compressobj()


#: Each makes the same bytes of the same bytes: no name and no time is written into them. Beside a writer's own memory
#: they take 0.3, 8, 94 and some 4 MiB.
FORMATS: dict[str, Callable[[], Compressor]] = {
    "gzip": lambda: zlib.compressobj(wbits=_GZIP_WBITS),
    "bz2": bz2.BZ2Compressor,
    "xz": lzma.LZMACompressor,
    "zstd": _zstd,
}


def compressor(compression: str) -> Compressor:
    """A new one; ValueError if there is none of that name, ImportError if a package is missing for it."""
    if compression not in FORMATS:
        raise ValueError(f"compression={compression!r} is not one of {', '.join(FORMATS)}")
    return FORMATS[compression]()


class CompressingWriter(MultipartUploadWriter):
    """A `MultipartUploadWriter` of which only the bytes in S3, and so ``result`` and ``progress``, are compressed.

    Small writes are gathered as they are, and compressed together.
    """

    def __init__(self, bucket: str, key: str, *, compression: str, **options: Any) -> None:
        if options.get("on_error") == "keep":
            raise ValueError(
                "on_error='keep' can't be had with a compression: what is resumed must begin with the same compressed "
                "bytes. Write what is compressed already to a plain writer"
            )
        self._compressor = compressor(compression)
        self._compressed = 0
        self._gathered = PartBuffer()
        super().__init__(bucket, key, **options)

    @classmethod
    def resume(cls, *_: Any, **__: Any) -> Self:
        """There is no way: only the compressed bytes can be compared with what S3 has."""
        raise io.UnsupportedOperation("resume: use MultipartUploadWriter.resume, and write what is compressed to it")

    @property
    def _taken(self) -> int:
        return self._compressed + self._gathered.tell()

    def _fill_into(self, buffer: PartBuffer) -> None:
        self._buffer = buffer
        self._put = self._gathered.write

    def _mark_closed(self) -> None:
        self._compressed, self._gathered = self._taken, PartBuffer()
        super()._mark_closed()
        self.__dict__.pop("_compressor", None)

    def _take_end(self) -> None:
        super()._take_end()
        self._copy(memoryview(self._compressor.flush()))

    def _take(self, view: memoryview) -> int:
        """Compress what was gathered, and then ``view``."""
        self._room = NO_ROOM
        try:
            with self._gathered.getbuffer() as whole, whole[: self._gathered.tell()] as gathered:
                self._compress(gathered)
            self._gathered.seek(0)
            return self._compress(view)
        except BaseException as error:
            self._fail(error)
            raise

    def _compress(self, view: memoryview) -> int:
        room = 0
        for start in range(0, max(1, len(view)), _PIECE_BYTES):
            with view[start : start + _PIECE_BYTES] as piece:
                room = self._copy(memoryview(self._compressor.compress(piece)))
                self._compressed += len(piece)
        return room
