"""``manage.py s3dumpdata --output s3://bucket/key.jsonl.gz``: dumpdata that streams to S3."""

import contextlib
from pathlib import PurePosixPath
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.core.management.commands import dumpdata
from django.core.serializers import get_public_serializer_formats

import s3writer
from s3writer._file.bar import Bar
from s3writer._file.close_rule import IN_FLIGHT
from s3writer._file.compression import SUFFIXES
from s3writer._log import counted
from s3writer.django.options import in_settings, writer_options

#: The exit status that the command line ``s3writer`` has for it, too.
_UNKNOWN = 3


#: Options of dumpdata's that mean more here: whether they are required, their value, and their help.
_OWN = {
    "output": (
        True,
        "s3://BUCKET/KEY",
        (
            "The dump becomes this object. Its name tells the format and the compression (.gz, .bz2, .xz, .zst), as in "
            "dump.jsonl.gz."
        ),
    ),
    "format": (
        False,
        "FORMAT",
        "The dump has this format. The default is the one that the name tells, or json if it tells none.",
    ),
}


class Command(dumpdata.Command):
    """dumpdata, with an object in S3 as its output."""

    help = (
        "Dump the database as dumpdata does, straight to an object in S3. Nothing is written to the local disk. If "
        "anything fails, nothing is published."
    )
    stdout: Any

    def add_arguments(self, parser: Any) -> None:
        """Those of dumpdata, and what S3 adds."""
        super().add_arguments(parser)
        parser.set_defaults(format=None)
        for action in parser._actions:  # argparse has no other way to change what dumpdata has added
            if action.dest in _OWN:
                action.required, action.metavar, action.help = _OWN[action.dest]
        parser.add_argument("--exclusive", action="store_true", help="Publish only if the key does not exist.")

    def handle(self, *app_labels: str, **options: Any) -> None:
        """Dump, and publish if all went well; else CommandError, whose returncode is 3 if it is not known."""
        url, fmt = options["output"], options["format"]
        if not url:
            raise CommandError("--output s3://bucket/key is missing")
        dumping = {**options, "output": None, "format": fmt or _format_of(url), "traceback": True}
        before = self.stdout
        try:
            result = self._dump(url, options, lambda: super(Command, self).handle(*app_labels, **dumping))
        except CommandError:
            raise
        except Exception as error:
            if options["traceback"]:
                raise
            raise _failure(url, error) from error
        finally:
            self.stdout = before
        if options["verbosity"] > 0:
            said = f"{url} published: {result.size} bytes in {counted(result.parts, 'part')}"
            with contextlib.suppress(Exception):
                self.stderr.write(said, style_func=str)

    def _dump(self, url: str, options: dict[str, Any], dump: Any) -> s3writer.UploadResult:
        bar = Bar(is_shown=options["verbosity"] > 0 and self.stderr.isatty())
        given = {**writer_options(), "progress": bar}
        if options["exclusive"]:
            given["exclusive"] = True
        with s3writer.open(url, "w", **given) as text:
            writer: Any = text.buffer
            bar.follow(writer)
            with bar.shown():
                self.stdout = OutputWrapper(text)
                dump()
        result: s3writer.UploadResult = writer.result
        return result


def _format_of(url: str) -> str:
    """What the name says, so that `s3loaddata` understands it; dumpdata's own default if it says nothing."""
    name = PurePosixPath(url)
    if name.suffix in SUFFIXES:
        name = name.with_suffix("")
    fmt, known = name.suffix.removeprefix("."), get_public_serializer_formats()
    if fmt and fmt not in known:
        raise CommandError(
            f"{url}: {name.suffix} is not a format; end it in one of {', '.join(known)}, and then perhaps in one of "
            f"{', '.join(SUFFIXES)}, or give --format"
        )
    return fmt or "json"


def _failure(url: str, error: Exception) -> CommandError:
    """``error`` in words, with what it says of an upload that may be left."""
    is_unknown = isinstance(error, s3writer.OutcomeUnknownError)
    notes = [note for note in getattr(error, "__notes__", []) if IN_FLIGHT not in note]
    said = in_settings("\n".join([str(getattr(error, "strerror", None) or error), *notes]), url)
    ending = "may have been published, or not" if is_unknown else "was not published"
    return CommandError(
        f"{url} {ending}: {said.removeprefix(f'publishing {url} failed: ')}", returncode=_UNKNOWN if is_unknown else 1
    )
