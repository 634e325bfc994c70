"""The standard library's wrappers around a writer, and one way to write bytes to each."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

from tests.helpers import MIB


def _lzma(stream: Any) -> lzma.LZMAFile:
    return lzma.LZMAFile(stream, "wb", preset=0)


def _gzip(stream: Any) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1)


def _tar(stream: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w|")


#: Each made around a writer. Text is Latin-1, so that any bytes can be written as text.
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "gzip": _gzip,
    "gzip's text": lambda stream: io.TextIOWrapper(_gzip(stream), encoding="latin-1", newline=""),
    "bz2": lambda stream: bz2.BZ2File(stream, "wb", compresslevel=1),
    "lzma": _lzma,
    "zip": lambda stream: zipfile.ZipFile(stream, "w"),
    "tar": _tar,
    "buffer": lambda stream: io.BufferedWriter(stream, 3 * MIB),
    "text": lambda stream: io.TextIOWrapper(stream, encoding="latin-1", newline=""),
    "text in a buffer": lambda stream: io.TextIOWrapper(io.BufferedWriter(stream), encoding="latin-1", newline=""),
}


def write(wrapper: Any, piece: bytes) -> None:
    """Write ``piece``: as text, as a member of an archive, or as it is."""
    if isinstance(wrapper, io.TextIOWrapper):
        wrapper.write(piece.decode("latin-1"))
    elif isinstance(wrapper, zipfile.ZipFile):
        wrapper.writestr(f"{len(wrapper.namelist())}", piece)
    elif isinstance(wrapper, tarfile.TarFile):
        member = tarfile.TarInfo("member")
        member.size = len(piece)
        wrapper.addfile(member, io.BytesIO(piece))
    else:
        wrapper.write(piece)
