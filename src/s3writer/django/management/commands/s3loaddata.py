"""``manage.py s3loaddata s3://bucket/key.jsonl.gz``: loaddata that streams from S3."""

import bz2
import contextlib
import gzip
import io
import lzma
from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import loaddata

from s3writer._open import SCHEME, parsed
from s3writer.django._options import read_arguments


def _zstd(stream: Any) -> Any:
    import zstandard

    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))


#: What reads each of the formats, by the last part of a name.
_READERS: dict[str | None, Callable[[Any], Any]] = {
    None: io.BufferedReader,
    "gz": lambda stream: gzip.GzipFile(fileobj=stream),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zst": _zstd,
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
        if not fixture_label.startswith(SCHEME):
            return super().find_fixtures(fixture_label)
        parsed(fixture_label)
        if self.parse_name(fixture_label.rpartition("/")[2])[1] is None:
            raise CommandError(f"{fixture_label} must end in a format, such as .jsonl or .jsonl.gz")
        return [(fixture_label, None, fixture_label)]

    @cached_property
    def compression_formats(self) -> Any:
        """By the last part of a name, what opens a fixture, and the mode for it."""
        found = {**dict.fromkeys(_READERS, (None, "rb")), **super().compression_formats}
        return {name: (self._opener(name, how), mode) for name, (how, mode) in found.items()}

    def _opener(self, name: str | None, local: Any) -> Callable[[str, str], Any]:
        def opened(path: str, mode: str) -> Any:
            if not path.startswith(SCHEME):
                return local(path, mode)
            if name not in _READERS:
                raise CommandError(f"{path}: {name} is not among {', '.join(filter(None, _READERS))}")
            bucket, key = parsed(path)
            client, arguments = read_arguments()
            body = client.get_object(Bucket=bucket, Key=key, **arguments)["Body"]
            self._opened.callback(body.close)
            return _READERS[name](body)

        return opened
