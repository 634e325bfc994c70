"""A writer that compresses what is written to it."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from s3writer._writer import MultipartUploadWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

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
    return zstandard.ZstdCompressor().compressobj()


#: Each makes the same bytes of the same bytes: no name and no time is written into them.
FORMATS: dict[str, Callable[[], Compressor]] = {
    "gzip": lambda: zlib.compressobj(wbits=_GZIP_WBITS),
    "bz2": bz2.BZ2Compressor,
    "xz": lzma.LZMACompressor,
    "zstd": _zstd,
}


class CompressingWriter(MultipartUploadWriter):
    """A `MultipartUploadWriter` of which only the bytes in S3, and so ``result`` and ``progress``, are compressed."""

    def __init__(self, bucket: str, key: str, *, compression: str, **options: Any) -> None:
        self._compressor = FORMATS[compression]()
        self._written = 0
        super().__init__(bucket, key, **options)

    def write(self, data: "ReadableBuffer | str", /) -> int:
        """As of any writer; a failure of the compressor aborts as well."""
        return self._write_alone(data)

    def tell(self) -> int:
        """The number of bytes written so far, before compression."""
        self._check_open()
        return self._written

    def _fill(self, view: memoryview) -> None:
        for start in range(0, max(1, len(view)), _PIECE_BYTES):
            with view[start : start + _PIECE_BYTES] as piece:
                self._fill_with(partial(self._compressor.compress, piece))
                self._written += len(piece)

    def _fill_end(self) -> None:
        super()._fill_end()
        self._fill_with(self._compressor.flush)

    def _fill_with(self, compressed: Callable[[], bytes]) -> None:
        try:
            ready = compressed()
        except BaseException as error:
            self._fail(error)
            raise
        super()._fill(memoryview(ready))
