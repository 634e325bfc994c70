"""The command line: ``pg_dump mydb | s3writer put s3://bucket/mydb.sql``.

Standard output is for what was asked for (JSON, tables, a prepared upload), standard error for people.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import io
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import boto3
import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

from s3writer._file.bar import Bar
from s3writer._file.close_rule import IN_FLIGHT
from s3writer._file.open import parsed
from s3writer._file.writer import MultipartUploadWriter
from s3writer._s3 import client as _client
from s3writer._s3 import faults as _faults
from s3writer.cli import sources as _sources
from s3writer.cli.endings import (
    ENDINGS,
    HungUp,
    Terminated,
    UnknownUploadError,
    Warnings,
    echo,
    is_terminal,
    notes,
    say,
    tell_end,
)
from s3writer.cli.parameters import Age, Pair, Size, Url
from s3writer.pending import PartlyCommittedError, PendingUpload, commit_all
from s3writer.unfinished import UnfinishedUpload, abort_each, abort_uploads, list_uploads

Function = Callable[..., Any]

_PIECE_BYTES = 1024 * 1024
_CUSTOMER_KEY_BYTES = 32
#: A table in a pipe is for programs: no line of it is folded.
_WIDE = 2000


def run(arguments: Sequence[str]) -> int:
    """Run the command line; its exit status."""
    with _signals():
        try:
            return app.main(list(arguments), prog_name="s3writer", standalone_mode=False) or 0
        except click.ClickException as error:
            with contextlib.suppress(OSError):
                error.show()
            return error.exit_code
        except click.Abort as aborted:
            return next((code for kind, _, code in ENDINGS if isinstance(aborted.__context__, kind)), 1)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Signals that end a program become exceptions, and children can be waited for, whoever started this one."""
    kinds = {signal.SIGTERM: Terminated, signal.SIGHUP: HungUp}
    before = {which: signal.getsignal(which) for which in (*kinds, signal.SIGINT, signal.SIGCHLD)}

    def leave(which: int, _: object) -> None:
        raise kinds[signal.Signals(which)]

    for which in kinds:
        if before[which] is not signal.SIG_IGN:
            signal.signal(which, leave)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _ignore_signals() -> None:
    """The outcome is decided, and nothing changes it any more."""
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, signal.SIG_IGN)


class Producing(click.Command):
    """A command that may be given another one, behind two dashes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What stands before the dashes is ours, and what stands behind them is not."""
        own, dashes, command = args, [], []
        if "--" in args:
            where = args.index("--")
            own, dashes, command = args[:where], args[where : where + 1], args[where + 1 :]
        if dashes and not command:
            raise click.UsageError("there is no COMMAND behind --", ctx)
        rest = super().parse_args(ctx, own)
        if ctx.params.get("command"):
            raise click.UsageError("write -- before COMMAND, so that its options are its own", ctx)
        ctx.params["command"] = tuple(command)
        return rest


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="s3writer")
def app() -> None:
    """Stream to S3: an object appears wholly or not at all.

    \b
    Exit status: 0 done, 1 not published, 2 wrong usage,
    3 not known whether it was published, 4 only some of several were,
    130 interrupted, 143 terminated, 129 hung up.
    """


def talks_to_s3(function: Function) -> Function:
    """Adds the options that all commands have, and says how it ended. The function returns what ``--json`` shows, and
    from then on no signal changes the outcome.
    """

    @functools.wraps(function)
    def command(
        *, profile: str | None, region: str | None, endpoint_url: str | None, as_json: bool, debug: bool, **given: Any
    ) -> None:
        warnings, code = Warnings(), 0
        logging.getLogger("s3writer").addHandler(warnings)
        try:
            boto3.setup_default_session(profile_name=profile, region_name=region)
            _client.default_client(endpoint_url)
            answer = function(**given)
            _ignore_signals()
            if as_json:
                echo(json.dumps(answer, default=str))
        except (click.ClickException, click.Abort):
            raise
        except BaseException as raised:
            _ignore_signals()
            error = raised
            if isinstance(raised, PartlyCommittedError) and not raised.published:
                error = raised.__cause__ or raised
            if debug:
                echo(_faults.redacted(traceback.format_exc()), err=True)
            code = tell_end(error, as_json=as_json, **warnings.kept)
            warnings.messages.extend(notes(error))
        finally:
            logging.getLogger("s3writer").removeHandler(warnings)
        for message in dict.fromkeys(warnings.messages):
            if IN_FLIGHT not in message:
                echo(f"s3writer: {warnings.in_shell.get(message, message)}", err=True)
        click.get_current_context().exit(code)

    options = [
        click.option("--profile", help="Of the AWS configuration files."),
        click.option("--region", help="The bucket's region."),
        click.option("--endpoint-url", help="Of a store that is not AWS."),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
        click.option("--debug", is_flag=True, help="Show tracebacks."),
    ]
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


def _sending(function: Function) -> Function:
    """Adds the options of the commands that send a stream."""
    options = [
        click.option("--gzip", "compression", flag_value="gzip", help="Compress on the way."),
        click.option("--zstd", "compression", flag_value="zstd", help="Compress on the way."),
        click.option("--exclusive", is_flag=True, help="Publish only if the key does not exist."),
        click.option("--part-size", type=Size(), help="Of the first parts; 5MiB if not given."),
        click.option("--max-memory", type=Size(), help="That parts may take; 128MiB if not given."),
        click.option("--max-concurrency", type=int, help="Parts in flight at once; 7 if not given."),
        click.option("--expected-size", type=Size(), help="Of the whole stream, for large ones and for an ETA."),
        click.option("--checksum", help="CRC64NVME, CRC32C, CRC32, SHA256 or SHA1; the best CRC if not given."),
        click.option(
            "--sse-c-key-file", type=click.Path(exists=True, path_type=Path), help="32 bytes: a key for SSE-C."
        ),
        click.option(
            "--argument",
            type=Pair(),
            multiple=True,
            help="Any other of S3's that is text, such as StorageClass=GLACIER.",
        ),
        click.option(
            "--prepare",
            type=click.Path(path_type=Path),
            help="Don't publish: write what commit needs to this file, or to - for standard output.",
        ),
    ]
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), function)


@app.command(cls=Producing)
@click.argument("url", type=Url())
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_sending
@click.option("--content-type", help="Such as text/csv.")
@click.option("--metadata", type=Pair(), multiple=True, help="Once for each name.")
@click.option("--sse", help="AES256 or aws:kms.")
@click.option("--sse-kms-key-id", help="For aws:kms.")
@click.option("--keep", is_flag=True, help="If it fails, leave the upload in S3, to be resumed.")
@talks_to_s3
def put(
    *,
    url: tuple[str, str],
    content_type: str | None,
    metadata: tuple[tuple[str, str], ...],
    sse: str | None,
    sse_kms_key_id: str | None,
    keep: bool,
    **sending: Any,
) -> Any:
    """Stream standard input to an object, or the output of COMMAND.

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
    }
    arguments: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def begin(_: Any, **options: Any) -> MultipartUploadWriter:
        bucket, key = url
        on_error: Literal["keep", "abort"] = "keep" if keep else "abort"
        return MultipartUploadWriter(bucket, key, on_error=on_error, **{**arguments, **options})

    return _send(begin, **sending)


@app.command(cls=Producing)
@click.argument("url", type=Url())
@click.argument("upload_id")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_sending
@click.option("--token", help="That the failed upload was begun with.")
@click.option("--no-verify", is_flag=True, help="Skip what S3 has, and don't compare it.")
@talks_to_s3
def resume(url: tuple[str, str], upload_id: str, token: str | None, no_verify: bool, **sending: Any) -> Any:
    """Go on with an upload that was left in S3.

    The whole stream is read again, from its first byte: what S3 has of it is compared, the rest is sent. Give the
    options that it was begun with, such as --exclusive, --part-size and compression. If it fails again, the upload
    stays in S3 again.
    """
    if no_verify and sending["compression"]:
        raise click.UsageError("what is compressed must be compared with what S3 has: leave out --no-verify")

    def begin(source: Any, **options: Any) -> MultipartUploadWriter:
        verify = None if no_verify else source
        stream = MultipartUploadWriter.resume(*url, upload_id, token=token, verify=verify, **options)
        if no_verify:
            with contextlib.ExitStack() as undo:
                undo.enter_context(stream)
                _skip(source, stream.tell())
                undo.pop_all()
        return stream

    return _send(begin, **sending)


def _skip(source: Any, size: int) -> None:
    while size and (piece := source.read(min(size, _PIECE_BYTES))):
        size -= len(piece)
    if size:
        raise _sources.ProducerError(f"the stream ends {size} bytes before what S3 has of it")


def _send(
    begin: Callable[..., MultipartUploadWriter],
    *,
    command: Sequence[str],
    compression: str | None,
    sse_c_key_file: Path | None,
    prepare: Path | None,
    expected_size: int | None,
    argument: tuple[tuple[str, str], ...],
    **options: Any,
) -> dict[str, Any]:
    """Copy what is produced into the writer that ``begin`` makes, and publish it or prepare it."""
    if not command and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("standard input is no pipe and no file: pipe something in, or name a COMMAND after --")
    given = {name: value for name, value in options.items() if value is not None}
    size_in_s3 = None if compression else expected_size
    bar, buffer = Bar(size_in_s3, is_shown=is_terminal(sys.stderr)), memoryview(bytearray(_PIECE_BYTES))
    given |= {"expected_size": size_in_s3, "progress": bar, **_arguments(argument), **_customer_key(sse_c_key_file)}
    with _output(prepare) as write, _sources.produced(command) as producer:
        source = _sources.compressed(producer.output, compression)
        with producer.explains():
            stream = begin(source, **given)
        with stream, bar.watch(stream):
            producer.output.idle = lambda: stream.write(b"")
            try:
                while size := source.readinto(buffer):
                    stream.write(buffer[:size])
                producer.finish()
            except BaseException:
                producer.stop()
                raise
            if prepare is not None:
                return _prepared(stream, write)
        _ignore_signals()
    say(f"{stream.name} published: {decimal(stream.result.size)} in {stream.result.parts} parts")
    return {"outcome": "published", **dataclasses.asdict(stream.result)}


def _arguments(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    for name, _ in pairs:
        if not name[:1].isupper():
            raise click.UsageError(f"{name} is no argument of S3's: they begin with a capital, such as StorageClass")
    return dict(pairs)


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Writes a prepared upload down, to what was opened before anything is sent. A file is replaced as a whole."""
    if path is None:
        yield echo
    elif str(path) == "-":
        if sys.stdout is None or click.get_current_context().params["as_json"]:
            raise click.UsageError("--prepare - needs standard output for itself")
        yield lambda text: print(text, flush=True)
    elif path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as special:
            yield lambda text: print(text, file=special, flush=True)
    else:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=path.name) as file:

            def write(text: str) -> None:
                print(text, file=file, flush=True)
                whole = Path(f"{file.name}.whole")
                os.link(file.name, whole)
                whole.replace(path)

            yield write


def _prepared(stream: MultipartUploadWriter, write: Callable[[str], None]) -> dict[str, Any]:
    pending = stream.prepare()
    try:
        write(pending.to_json())
        _ignore_signals()
    except BaseException:
        pending.abort()
        raise
    say(f"{stream.name} prepared: {decimal(pending.size)} in {len(pending.parts)} parts")
    return {"outcome": "prepared", "bucket": pending.bucket, "key": pending.key, "upload_id": pending.upload_id}


def _customer_key(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    key = path.read_bytes()
    if len(key) != _CUSTOMER_KEY_BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes; a key for SSE-C has {_CUSTOMER_KEY_BYTES}")
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


@app.command()
@click.argument("files", nargs=-1, required=True, type=click.File())
@click.option("--sse-c-key-file", type=click.Path(exists=True, path_type=Path), help="If the uploads have one.")
@talks_to_s3
def commit(files: Sequence[IO[str]], sse_c_key_file: Path | None) -> Any:
    """Publish what put --prepare has written to FILES, one after the other."""
    key = _customer_key(sse_c_key_file)
    results = commit_all([PendingUpload.from_json(file.read()) for file in files], **key)
    for result in results:
        say(f"s3://{result.bucket}/{result.key} published: {decimal(result.size)}")
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
    elif target.startswith("s3://"):
        raise click.UsageError("there is no UPLOAD_ID behind the URL")
    else:
        with click.open_file(target) as file:
            pending = PendingUpload.from_json(file.read())
    if not pending.abort():
        raise UnknownUploadError(f"S3 does not show upload {pending.upload_id} of s3://{pending.bucket}/{pending.key}")
    say(f"upload {pending.upload_id} is gone")
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
    if click.get_current_context().params["as_json"] and not (yes or dry_run):
        raise click.UsageError("with --json nobody is asked: give --yes or --dry-run")
    found = abort_uploads(*url, older_than=older_than)
    _show(found)
    if found and not dry_run:
        if not yes:
            click.confirm(f"Abort {len(found)} uploads?", abort=True, err=True)
            shown = {one.upload_id for one in found}
            found = [one for one in abort_uploads(*url, older_than=older_than) if one.upload_id in shown]
        abort_each(found)
    return {"outcome": "listed" if dry_run else "aborted", "uploads": [dataclasses.asdict(one) for one in found]}


def _show(found: Sequence[UnfinishedUpload]) -> None:
    if click.get_current_context().params["as_json"]:
        return
    names = ("key", "begun", "idle", "parts", "size", "upload id")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None)
    for one in found:
        begun, idle = f"{one.initiated:%Y-%m-%d %H:%M}", str(one.age).partition(".")[0]
        held = ["?", "?"] if one.parts is None or one.size is None else [str(one.parts), decimal(one.size)]
        table.add_row(*map(Text, (one.key, begun, idle, *held, one.upload_id)))
    text = io.StringIO()
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else _WIDE
    Console(file=text, width=width).print(table)
    echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))
