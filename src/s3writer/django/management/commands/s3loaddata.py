"""``manage.py s3loaddata s3://bucket/key.jsonl.gz``: loaddata that streams from S3."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.core.management.commands import loaddata

from s3writer._file.compression import FORMATS
from s3writer._file.open import SCHEME, parsed
from s3writer._s3.faults import said
from s3writer.django.options import read_arguments

#: What reads each of the formats, by the last part of a name.
_READERS: dict[str | None, Callable[[Any], Any]] = {
    None: io.BufferedReader,
    **{format.suffix.removeprefix("."): format.read for format in FORMATS.values()},
}


class Command(loaddata.Command):
    """loaddata, with objects in S3 as fixtures beside those that are files."""

    help = (
        "Load fixtures as loaddata does, straight from objects in S3. Nothing is written to the local disk. JSONL and "
        "XML are read row by row. JSON and YAML need memory for the whole object."
    )

    def add_arguments(self, parser: Any) -> None:
        """Those of loaddata, with a help that names URLs."""
        super().add_arguments(parser)
        for action in parser._actions:  # argparse has no other way to change what loaddata has added
            if action.dest == "args":
                action.help = "URLs of objects, such as s3://bucket/dump.jsonl.gz, or fixture labels as in loaddata."

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
            raise CommandError(str(error).removeprefix("url=")) from error
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
