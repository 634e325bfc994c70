"""``manage.py s3loaddata s3://bucket/key.jsonl.gz``: loaddata that streams from S3."""

import bz2
import contextlib
import gzip
import io
import lzma
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.core.management.commands import loaddata

from s3writer._file.open import SCHEME, parsed
from s3writer._s3.faults import said
from s3writer.django.options import read_arguments

_PIECE_BYTES = 1024 * 1024


class _Zstd(io.RawIOBase):
    """What ``source`` holds, unpacked frame by frame; EOFError if it ends within one."""

    def __init__(self, source: Any) -> None:
        import zstandard

        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._source = source
        self._frame = self._new_frame()
        self._is_within = True
        self._packed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        while not self._ready:
            self._packed = self._packed or self._source.read(_PIECE_BYTES)
            if not self._packed:
                if self._is_within:
                    raise EOFError("the zstd stream ends before its end")
                return 0
            self._unpack()
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _unpack(self) -> None:
        if self._frame.eof:
            self._frame = self._new_frame()
        self._ready = memoryview(self._frame.decompress(self._packed))
        self._packed = self._frame.unused_data
        self._is_within = not self._frame.eof


#: What reads each of the formats, by the last part of a name.
_READERS: dict[str | None, Callable[[Any], Any]] = {
    None: io.BufferedReader,
    "gz": lambda body: gzip.GzipFile(fileobj=body),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zst": lambda body: io.BufferedReader(_Zstd(body)),
}


class Command(loaddata.Command):
    """loaddata, with objects in S3 as fixtures beside those that are files."""

    help = (
        "Install fixtures, as loaddata does, from s3:// URLs such as s3://bucket/key.jsonl.gz. Nothing is written to "
        "the local disk. JSONL and XML are read row by row, JSON and YAML need memory for all of it."
    )

    def load_label(self, fixture_label: str) -> None:
        """Load a fixture, and let go of the connection that it came by."""
        with contextlib.ExitStack() as self._opened:
            super().load_label(fixture_label)

    def find_fixtures(self, fixture_label: str) -> Any:
        """A URL is what it is; anything else is looked for where loaddata does."""
        self._is_remote = fixture_label.startswith(SCHEME)
        if not self._is_remote:
            return super().find_fixtures(fixture_label)
        try:
            parsed(fixture_label)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if self.parse_name(fixture_label.rpartition("/")[2])[1] is None:
            raise CommandError(f"{fixture_label} must end in a format, such as .jsonl or .jsonl.gz")
        return [(fixture_label, None, fixture_label)]

    @property
    def compression_formats(self) -> Any:
        """By the last part of a name, what opens a fixture, and the mode for it."""
        if self._is_remote:
            return {name: (self._opener(reader), "rb") for name, reader in _READERS.items()}
        return super().compression_formats

    def _opener(self, reader: Callable[[Any], Any]) -> Callable[[str, str], Any]:
        def opened(url: str, _: str) -> Any:
            bucket, key = parsed(url)
            try:
                client, arguments = read_arguments()
                body = client.get_object(Bucket=bucket, Key=key, **arguments)["Body"]
                self._opened.callback(body.close)
                return reader(body)
            except ImproperlyConfigured:
                raise
            except Exception as error:
                raise CommandError(f"{url} can't be read: {said(error)}") from error

        return opened
