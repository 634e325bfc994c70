"""How a command of the command line has ended: told to people, to machines, and to a shell."""

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import os
import shlex
import sys
from typing import IO, Any

import click

from s3writer._errors import NotCommittedError, OutcomeUnknownError, S3WriterError
from s3writer._file.close_rule import IN_FLIGHT
from s3writer._s3 import faults as _faults
from s3writer._s3.receipts import UploadResult
from s3writer.cli.sources import ProducerError
from s3writer.cli.words import in_shell
from s3writer.pending import PartlyCommittedError, PendingUpload

#: What the log says of an upload that was kept.
_KEPT = ("bucket", "key", "upload_id", "resume")
#: Commands that publish nothing.
_LOOKING = {"abort", "check-store", "sweep", "uploads"}


class UnknownUploadError(Exception):
    """There is no such upload."""


class NobodyAnswersError(Exception):
    """A question was asked, and standard input has ended."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which must abort as Ctrl-C does."""


class HungUp(KeyboardInterrupt):
    """SIGHUP, when the terminal goes away."""


#: What an exception says of the outcome, and the exit status; the first that fits.
ENDINGS: list[tuple[type[BaseException], str, int]] = [
    (OutcomeUnknownError, "it is not known whether the object was published", 3),
    (PartlyCommittedError, "only some were published", 4),
    (NotCommittedError, "not published", 1),
    (S3WriterError, "published before", 0),
    (ProducerError, "not published", 1),
    (Terminated, "terminated", 143),
    (HungUp, "hung up", 129),
    (KeyboardInterrupt, "interrupted", 130),
    (ValueError, "wrong usage", 2),
    (TypeError, "wrong usage", 2),
    (BaseException, "failed", 1),
]


class Warnings(logging.Handler):
    """What the library logs meanwhile, to be told once, in the end; and what is told instead of it, for a shell."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.in_shell: dict[str, str] = {}
        self.kept: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what it says."""
        message = record.getMessage()
        self.messages.append(message)
        if hasattr(record, "s3_resume"):
            kept = {name: vars(record)[f"s3_{name}"] for name in _KEPT}
            self.in_shell[message] = _how_to_resume(**kept)
            self.kept = {"upload_id": kept["upload_id"], "resume": shlex.join(_resuming(**kept))}

    def said(self, message: str) -> str:
        """``message`` in the words of a shell."""
        return self.in_shell.get(message) or in_words(message)


def echo(text: str, *, err: bool = False) -> None:
    """Say it, if anybody listens: whether somebody does has no part in the outcome."""
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # it was closed; click would take the other one
        return
    try:
        try:
            click.echo(text, file=stream)
        except UnicodeEncodeError as error:  # a key may have characters that the terminal has not
            click.echo(text.encode(error.encoding, "backslashreplace").decode(error.encoding), file=stream)
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a person looks at it."""
    return stream is not None and stream.isatty()


def say(text: str) -> None:
    """To a person, if there is one."""
    if is_terminal(sys.stderr):
        echo(text, err=True)


def tell_end(error: BaseException, warnings: Warnings, *, as_json: bool) -> int:
    """Tell people in a line what went wrong, and machines also which upload was kept. Returns the exit status."""
    ending, code = next((ending, code) for kind, ending, code in ENDINGS if isinstance(error, kind))
    if isinstance(error, S3WriterError) and click.get_current_context().info_name in _LOOKING:
        ending, code = "failed", 1
    if isinstance(error, KeyboardInterrupt) and any(IN_FLIGHT in note for note in notes(error)):
        ending += ", not published"
    message = _faults.redacted(str(error.strerror if isinstance(error, S3WriterError) else error))
    if isinstance(error, (S3WriterError, ValueError, TypeError)):
        message = in_words(message)
    if as_json:
        known = {name: value for name, value in vars(error).items() if not name.startswith("_")}
        added = [warnings.said(note) for note in notes(error)]
        answer = {"outcome": ending, "error": type(error).__name__, "message": message, "notes": added}
        answer |= known | warnings.kept
        echo(json.dumps(answer, default=plain))
    echo(f"s3writer: {ending}{': ' if message else ''}{message}", err=True)
    return code


def in_words(text: str) -> str:
    """``text`` in the words of the command line, but for the key that was given to the command."""
    url = click.get_current_context().params.get("url")
    return in_shell(text, key=url[1] if isinstance(url, tuple) else "")


def notes(error: BaseException) -> list[str]:
    """What was added to it on its way."""
    return list(getattr(error, "__notes__", []))


def _how_to_resume(bucket: str, key: str, upload_id: str, resume: dict[str, Any]) -> str:
    return (
        f"upload {upload_id} to s3://{bucket}/{key} was kept. To go on, run the command below with the whole stream "
        "again, from a pipe or from -- COMMAND behind it. Add the other options that you gave, such as --part-size.\n"
        f"{shlex.join(_resuming(bucket, key, upload_id, resume))}"
    )


def _resuming(bucket: str, key: str, upload_id: str, resume: dict[str, Any]) -> list[str]:
    """The words of the command that does it."""
    words = ["s3writer", "resume", f"s3://{bucket}/{key}", upload_id]
    for name, value in resume.items():
        if name == "checksum" and value is None:
            words += ["--checksum", "none"]
        elif value is not None:
            own = {"token": ["--token", value], "checksum": ["--checksum", value], "exclusive": ["--exclusive"]}
            words += own.get(name, ["--argument", f"{name}={value}"])
    return words


def plain(value: Any) -> Any:
    """``value`` as JSON has it: times and durations in ISO 8601."""
    if isinstance(value, dt.timedelta):
        return f"PT{int(value.total_seconds())}S"
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return dataclasses.asdict(value) if isinstance(value, (PendingUpload, UploadResult)) else str(value)
