"""The command line: ``pg_dump mydb | s3writer put s3://bucket/mydb.sql``.

Standard output is for what was asked for (JSON, tables, a prepared upload), standard error for people.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import boto3
import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from s3writer import _sources
from s3writer._errors import OutcomeUnknownError, S3WriterError
from s3writer._open import parsed
from s3writer._parameters import Age, Pair, Size, Url
from s3writer._session import UploadResult
from s3writer._writer import IN_FLIGHT, MultipartUploadWriter
from s3writer.pending import PartlyCommittedError, PendingUpload, commit_all
from s3writer.unfinished import UnfinishedUpload, abort_each, abort_uploads, list_uploads

Function = Callable[..., Any]

_PIECE_BYTES = 1024 * 1024
_CUSTOMER_KEY_BYTES = 32
#: A table in a pipe is for programs: no line of it is folded.
_WIDE = 2000


class _Warnings(logging.Handler):
    """What the library logs meanwhile, to be told once, in the end."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class Terminated(KeyboardInterrupt):
    """SIGTERM, which must abort as Ctrl-C does."""


#: What an exception says of the outcome, and the exit status; the first that fits.
ENDINGS: list[tuple[type[BaseException], str, int]] = [
    (OutcomeUnknownError, "it is not known whether the object was published", 3),
    (PartlyCommittedError, "only some were published", 4),
    (S3WriterError, "not published", 1),
    (_sources.ProducerError, "not published", 1),
    (Terminated, "terminated, not published", 143),
    (KeyboardInterrupt, "interrupted, not published", 130),
    (ValueError, "wrong usage", 2),
    (TypeError, "wrong usage", 2),
    (BaseException, "failed", 1),
]


def run(arguments: Sequence[str]) -> int:
    """Run the command line; its exit status."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return app.main(list(arguments), prog_name="s3writer", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> None:
    raise Terminated


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="s3writer")
def app() -> None:
    r"""Stream to S3: an object appears wholly or not at all.

    \b
    Exit status: 0 done, 1 not published, 2 wrong usage,
    3 not known whether it was published, 4 only some of several were,
    130 interrupted, 143 terminated.
    """


def talks_to_s3(function: Function) -> Function:
    """Adds the options that all commands have, and says how it ended. The function returns what ``--json`` shows."""

    @functools.wraps(function)
    def command(
        *, profile: str | None, region: str | None, endpoint_url: str | None, as_json: bool, debug: bool, **given: Any
    ) -> None:
        if endpoint_url:
            os.environ["AWS_ENDPOINT_URL_S3"] = endpoint_url
        warnings, code = _Warnings(), 0
        logging.getLogger("s3writer").addHandler(warnings)
        try:
            boto3.setup_default_session(profile_name=profile, region_name=region)
            answer = function(**given)
            if as_json:
                click.echo(json.dumps(answer, default=str))
        except (click.ClickException, click.Abort):
            raise
        except BaseException as error:
            if debug:
                traceback.print_exc()
            code = _end(error, as_json=as_json)
            warnings.messages.extend(getattr(error, "__notes__", []))
        finally:
            logging.getLogger("s3writer").removeHandler(warnings)
        for message in dict.fromkeys(warnings.messages):
            if IN_FLIGHT not in message:
                click.echo(f"s3writer: {message}", err=True)
        click.get_current_context().exit(code)

    options = [
        click.option("--profile", help="Of the AWS configuration files."),
        click.option("--region", help="The bucket's region."),
        click.option("--endpoint-url", help="Of a store that is not AWS."),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
        click.option("--debug", is_flag=True, help="Show tracebacks."),
    ]
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


def _end(error: BaseException, *, as_json: bool) -> int:
    """Tell what went wrong, in a line; the exit status."""
    ending, code = next((ending, code) for kind, ending, code in ENDINGS if isinstance(error, kind))
    message = str(error.strerror if isinstance(error, S3WriterError) else error)
    if as_json:
        known = {name: value for name, value in vars(error).items() if not name.startswith("_")}
        notes = list(getattr(error, "__notes__", []))
        answer = {"outcome": ending, "error": type(error).__name__, "message": message, "notes": notes, **known}
        click.echo(json.dumps(answer, default=_plain))
    click.echo(f"s3writer: {ending}{': ' if message else ''}{message}", err=True)
    return code


def _plain(value: Any) -> Any:
    is_data = isinstance(value, (PendingUpload, UploadResult))
    return dataclasses.asdict(value) if is_data else str(value)


def _sending(function: Function) -> Function:
    """Adds the options of the commands that send a stream."""
    options = [
        click.option("--gzip", "compression", flag_value="gzip", help="Compress on the way."),
        click.option("--zstd", "compression", flag_value="zstd", help="Compress on the way."),
        click.option("--exclusive", is_flag=True, help="Publish only if the key does not exist."),
        click.option("--part-size", type=Size(), help="Of the first parts; 5MiB if not given."),
        click.option("--max-memory", type=Size(), help="That parts may take; 128MiB if not given."),
        click.option("--max-concurrency", type=int, help="Parts in flight at once."),
        click.option("--expected-size", type=Size(), help="Of the whole stream, for large ones and for an ETA."),
        click.option("--checksum", help="Algorithm, such as CRC64NVME or SHA256."),
        click.option(
            "--sse-c-key-file", type=click.Path(exists=True, path_type=Path), help="32 bytes: a key for SSE-C."
        ),
        click.option("--prepare", type=click.Path(path_type=Path), help="Don't publish; write what commit needs here."),
    ]
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), function)


@app.command()
@click.argument("url", type=Url())
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_sending
@click.option("--content-type", help="Such as text/csv.")
@click.option("--metadata", type=Pair(), multiple=True, help="Once for each name.")
@click.option("--sse", help="AES256 or aws:kms.")
@click.option("--sse-kms-key-id", help="For aws:kms.")
@click.option("--argument", type=Pair(), multiple=True, help="Any other of S3's, such as StorageClass=GLACIER.")
@click.option("--keep", is_flag=True, help="If it fails, leave the upload in S3, to be resumed.")
@talks_to_s3
def put(
    *,
    url: tuple[str, str],
    content_type: str | None,
    metadata: tuple[tuple[str, str], ...],
    sse: str | None,
    sse_kms_key_id: str | None,
    argument: tuple[tuple[str, str], ...],
    keep: bool,
    **sending: Any,
) -> Any:
    r"""Stream standard input to an object, or the output of COMMAND.

    \b
    pg_dump mydb | s3writer put s3://bucket/mydb.sql.gz --gzip
    s3writer put s3://bucket/mydb.sql.gz --gzip -- pg_dump mydb

    Prefer the second form: the object is published only if COMMAND exits with 0. In a pipe nobody can tell a
    producer that failed from one that was done.
    """
    given = {
        "ContentType": content_type,
        "Metadata": dict(metadata) or None,
        "ServerSideEncryption": sse,
        "SSEKMSKeyId": sse_kms_key_id,
        **dict(argument),
    }
    arguments: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def begin(_: IO[bytes], **options: Any) -> MultipartUploadWriter:
        bucket, key = url
        return MultipartUploadWriter(bucket, key, on_error="keep" if keep else "abort", **arguments, **options)

    return _send(begin, **sending)


@app.command()
@click.argument("url", type=Url())
@click.argument("upload_id")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_sending
@click.option("--token", help="That the failed upload was begun with.")
@click.option("--no-verify", is_flag=True, help="Skip what S3 has, and don't compare it.")
@talks_to_s3
def resume(url: tuple[str, str], upload_id: str, token: str | None, no_verify: bool, **sending: Any) -> Any:
    """Go on with an upload that was left in S3.

    The whole stream is read again, from its first byte: what S3 has of it is compared, the rest is sent. Compression
    must be the same as before.
    """

    def begin(source: IO[bytes], **options: Any) -> MultipartUploadWriter:
        verify = None if no_verify else source
        stream = MultipartUploadWriter.resume(*url, upload_id, token=token, verify=verify, **options)
        if no_verify:
            _skip(source, stream.tell())
        return stream

    return _send(begin, **sending)


def _skip(source: IO[bytes], size: int) -> None:
    while size and (piece := source.read(min(size, _PIECE_BYTES))):
        size -= len(piece)
    if size:
        raise _sources.ProducerError(f"the stream ends {size} bytes before what S3 has of it")


class _Bar:
    """Progress on a terminal: called with the bytes that S3 has acknowledged."""

    def __init__(self, expected_size: int | None) -> None:
        remaining = [TimeRemainingColumn()] if expected_size else []
        in_flight = TextColumn("{task.fields[parts]} parts in flight")
        self._progress = Progress(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            in_flight,
            TimeElapsedColumn(),
            *remaining,
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task("", total=expected_size, parts=0)
        self._stream: MultipartUploadWriter | None = None

    def __call__(self, size: int) -> None:
        parts = self._stream.parts_in_flight if self._stream else 0
        self._progress.update(self._task, advance=size, parts=parts)

    def watch(self, stream: MultipartUploadWriter) -> Progress:
        """Show how ``stream`` fares."""
        self._stream = stream
        self._progress.update(self._task, completed=stream.tell())
        return self._progress


def _send(
    begin: Callable[..., MultipartUploadWriter],
    *,
    command: Sequence[str],
    compression: str | None,
    sse_c_key_file: Path | None,
    prepare: Path | None,
    expected_size: int | None,
    **options: Any,
) -> dict[str, Any]:
    """Copy what is produced into the writer that ``begin`` makes, and publish it or prepare it."""
    if not command and sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal: pipe something in, or name a COMMAND after --")
    given = {name: value for name, value in options.items() if value is not None}
    if expected_size is not None and compression is None:
        given["expected_size"] = expected_size
    bar = _Bar(expected_size)
    with _sources.produced(command) as producer, _output(prepare) as output:
        source = _sources.compressed(producer.output, compression)
        with begin(source, progress=bar, **given, **_customer_key(sse_c_key_file)) as stream, bar.watch(stream):
            _copy(source, stream)
            producer.finish()
            if output is not None:
                return _prepared(stream, output)
    _say(f"{stream.name} published: {decimal(stream.result.size)} in {stream.result.parts} parts")
    return {"outcome": "published", **dataclasses.asdict(stream.result)}


def _copy(source: Any, stream: MultipartUploadWriter) -> None:
    """Whatever has come is written at once, so that a part that failed is noticed although the producer is slow."""
    read = getattr(source, "read1", source.read)
    while piece := read(_PIECE_BYTES):
        stream.write(piece)


def _output(path: Path | None) -> contextlib.AbstractContextManager[IO[str] | None]:
    """The file for a prepared upload, opened before anything is sent."""
    if path is None:
        return contextlib.nullcontext()
    return contextlib.nullcontext(sys.stdout) if str(path) == "-" else path.open("w", encoding="utf-8")


def _prepared(stream: MultipartUploadWriter, output: IO[str]) -> dict[str, Any]:
    pending = stream.prepare()
    try:
        output.write(pending.to_json() + "\n")
        output.flush()
    except BaseException:
        pending.abort()
        raise
    _say(f"{stream.name} prepared: {decimal(pending.size)} in {len(pending.parts)} parts")
    return {"outcome": "prepared", "bucket": pending.bucket, "key": pending.key, "upload_id": pending.upload_id}


def _customer_key(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    key = path.read_bytes()
    if len(key) != _CUSTOMER_KEY_BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes; a key for SSE-C has {_CUSTOMER_KEY_BYTES}")
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def _say(text: str) -> None:
    """To a person, if there is one."""
    if sys.stderr.isatty():
        click.echo(text, err=True)


@app.command()
@click.argument("files", nargs=-1, required=True, type=click.File())
@click.option("--sse-c-key-file", type=click.Path(exists=True, path_type=Path), help="If the uploads have one.")
@talks_to_s3
def commit(files: Sequence[IO[str]], sse_c_key_file: Path | None) -> Any:
    """Publish what put --prepare has written to FILES, one after the other."""
    key = _customer_key(sse_c_key_file)
    results = commit_all([PendingUpload.from_json(file.read()) for file in files], **key)
    for result in results:
        _say(f"s3://{result.bucket}/{result.key} published: {decimal(result.size)}")
    return {"outcome": "published", "published": [dataclasses.asdict(result) for result in results]}


@app.command()
@click.argument("target")
@click.argument("upload_id", required=False)
@talks_to_s3
def abort(target: str, upload_id: str | None) -> Any:
    """Remove an unfinished upload: TARGET is an s3:// URL before UPLOAD_ID, or a file written by put --prepare."""
    if upload_id:
        bucket, key = parsed(target)
        pending = PendingUpload(bucket, key, upload_id, 0, ())
    else:
        with click.open_file(target) as file:
            pending = PendingUpload.from_json(file.read())
    pending.abort()
    _say(f"upload {pending.upload_id} is gone")
    return {"outcome": "aborted", "bucket": pending.bucket, "key": pending.key, "upload_id": pending.upload_id}


@app.command()
@click.argument("url", type=Url(is_prefix=True))
@talks_to_s3
def uploads(url: tuple[str, str]) -> Any:
    """List the unfinished uploads under URL."""
    found = list(list_uploads(*url))
    _show(found)
    return [dataclasses.asdict(one) for one in found]


@app.command()
@click.argument("url", type=Url(is_prefix=True))
@click.option("--older-than", type=Age(), required=True, help="To which nothing happened for so long: 36h, 7d.")
@click.option("--dry-run", is_flag=True, help="Only show what would be aborted.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@talks_to_s3
def sweep(url: tuple[str, str], older_than: dt.timedelta, dry_run: bool, yes: bool) -> Any:
    """Abort the old unfinished uploads under URL."""
    found = abort_uploads(*url, older_than=older_than)
    _show(found)
    if found and not dry_run:
        if not yes:
            click.confirm(f"Abort {len(found)} uploads?", abort=True, err=True)
        abort_each(found)
    return {"outcome": "listed" if dry_run else "aborted", "uploads": [dataclasses.asdict(one) for one in found]}


def _show(found: Sequence[UnfinishedUpload]) -> None:
    if click.get_current_context().params["as_json"]:
        return
    table = Table("key", "begun", "idle", "parts", "size", "upload id", box=None)
    for one in found:
        begun, idle = f"{one.initiated:%Y-%m-%d %H:%M}", str(one.age).partition(".")[0]
        table.add_row(one.key, begun, idle, str(one.parts), decimal(one.size), one.upload_id)
    width = None if sys.stdout.isatty() else _WIDE
    Console(width=width).print(table)
