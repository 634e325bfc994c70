"""The commands that send a stream: ``put`` and ``resume``."""

import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from s3writer._file.bar import Bar
from s3writer._file.writer import MultipartUploadWriter
from s3writer.cli import signals, sources
from s3writer.cli.command import talks_to_s3
from s3writer.cli.endings import echo, is_terminal, say
from s3writer.cli.parameters import Pair, Size, Url, customer_key

_PIECE_BYTES = 1024 * 1024


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


def _sending(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of the commands that send a stream."""
    options = [
        click.option("--gzip", "compression", flag_value="gzip", help="Compress on the way."),
        click.option("--zstd", "compression", flag_value="zstd", help="Compress on the way."),
        click.option("--exclusive", is_flag=True, help="Publish only if the key does not exist."),
        click.option("--part-size", type=Size(), help="Of the first parts; 5MiB if not given."),
        click.option("--equal-parts", is_flag=True, help="Give all parts but the last --part-size."),
        click.option("--max-memory", type=Size(), help="That parts may take; 128MiB if not given."),
        click.option("--max-concurrency", type=int, help="Parts in flight at once; 15 if not given."),
        click.option("--expected-size", type=Size(), help="Of the whole stream, for large ones and for an ETA."),
        click.option("--exact", is_flag=True, help="Publish only if exactly --expected-size bytes come."),
        click.option("--allow-dot-segments", is_flag=True, help="Let the key have a segment '.' or '..'."),
        click.option("--checksum", help="CRC64NVME, CRC32C, CRC32, SHA256, SHA1 or none; the best CRC if not given."),
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


@click.command(cls=Producing)
@click.argument("url", type=Url())
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_sending
@click.option("--content-type", help="Such as text/csv.")
@click.option("--metadata", type=Pair(), multiple=True, help="Once for each name.")
@click.option("--sse", help="AES256 or aws:kms.")
@click.option("--sse-kms-key-id", help="For aws:kms.")
@click.option("--keep", is_flag=True, help="If it fails, leave the upload in S3, to be resumed.")
@click.option("--no-commit-token", is_flag=True, help="Add no token to the object's metadata.")
@talks_to_s3
def put(
    *,
    url: tuple[str, str],
    content_type: str | None,
    metadata: tuple[tuple[str, str], ...],
    sse: str | None,
    sse_kms_key_id: str | None,
    keep: bool,
    no_commit_token: bool,
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
        own: dict[str, Any] = {"on_error": "keep" if keep else "abort", "commit_token": not no_commit_token}
        return MultipartUploadWriter(bucket, key, **{**arguments, **own, **options})

    return _send(begin, **sending)


@click.command(cls=Producing)
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
        raise sources.ProducerError(f"the stream ends {size} bytes before what S3 has of it")


def _send(
    begin: Callable[..., MultipartUploadWriter],
    *,
    command: Sequence[str],
    compression: str | None,
    sse_c_key_file: Path | None,
    prepare: Path | None,
    expected_size: int | None,
    exact: bool,
    checksum: str | None,
    argument: tuple[tuple[str, str], ...],
    **options: Any,
) -> dict[str, Any]:
    """Copy what is produced into the writer that ``begin`` makes, and publish it or prepare it."""
    if not command and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("standard input is no pipe and no file: pipe something in, or name a COMMAND after --")
    if exact and expected_size is None:
        raise click.UsageError("--exact needs --expected-size")
    demanded = expected_size if exact else None
    given = {name: value for name, value in options.items() if value is not None}
    size_in_s3 = None if compression else expected_size
    bar, buffer = Bar(size_in_s3, is_shown=is_terminal(sys.stderr)), memoryview(bytearray(_PIECE_BYTES))
    if checksum is not None:
        given["checksum"] = None if checksum.lower() == "none" else checksum
    given |= {"expected_size": size_in_s3, "progress": bar, **_arguments(argument), **customer_key(sse_c_key_file)}
    with _output(prepare) as write, sources.produced(command) as producer:
        source = sources.compressed(producer.output, compression)
        with producer.explains():
            stream = begin(source, **given)
        with _signals_come_too_late_for(stream):
            with stream, bar.watch(stream):
                producer.output.idle = lambda: stream.write(b"")
                try:
                    while size := source.readinto(buffer):
                        stream.write(buffer[:size])
                    producer.finish()
                    if demanded is not None:
                        producer.check_size(demanded)
                except BaseException:
                    producer.stop()
                    raise
                if prepare is not None:
                    return _prepared(stream, write)
            signals.ignore()
    say(f"{stream.name} published: {decimal(stream.result.size)} in {stream.result.parts} parts")
    return {"outcome": "published", **dataclasses.asdict(stream.result)}


@contextlib.contextmanager
def _signals_come_too_late_for(stream: MultipartUploadWriter) -> Iterator[None]:
    """Ignore a signal that comes once the object is published."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        signals.ignore()
        with contextlib.suppress(ValueError):
            _ = stream.result
            return
        raise interrupt


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
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with contextlib.ExitStack() as stack:
            stack.callback(Path(name).unlink, missing_ok=True)
            file = stack.enter_context(os.fdopen(descriptor, "w", encoding="utf-8"))

            def write(text: str) -> None:
                print(text, file=file)
                file.close()  # Windows does not replace by a file that is open
                Path(name).replace(path)

            yield write


def _prepared(stream: MultipartUploadWriter, write: Callable[[str], None]) -> dict[str, Any]:
    pending = stream.prepare()
    try:
        write(pending.to_json())
        signals.ignore()
    except BaseException:
        pending.abort()
        raise
    say(f"{stream.name} prepared: {decimal(pending.size)} in {len(pending.parts)} parts")
    return {"outcome": "prepared", "bucket": pending.bucket, "key": pending.key, "upload_id": pending.upload_id}
