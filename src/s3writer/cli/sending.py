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
from s3writer._file.compression import FORMATS, promised_by
from s3writer._file.writer import MultipartUploadWriter
from s3writer._log import counted
from s3writer._upload.plan import DEFAULT_CONCURRENCY
from s3writer.cli import signals, sources
from s3writer.cli.command import HOW, S3, WHAT, Command, option, talks_to_s3
from s3writer.cli.endings import echo, is_terminal, say
from s3writer.cli.parameters import Checksum, Pair, Size, Url, customer_key, files_of_the_shell

_PIECE_BYTES = 1024 * 1024


class Producing(Command):
    """A command that may be given another one, behind two dashes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What stands before the dashes is ours, and what stands behind them is not."""
        own, dashes, command = args, [], []
        if "--" in args:
            where = args.index("--")
            own, dashes, command = args[:where], args[where : where + 1], args[where + 1 :]
        if not ctx.resilient_parsing:  # which is for completion
            if dashes and not command:
                raise click.UsageError("there is no COMMAND behind --", ctx)
            if self._holds_command(ctx, own):
                raise click.UsageError("write -- before COMMAND, so that its options are its own", ctx)
        rest = super().parse_args(ctx, own)
        ctx.params["command"] = tuple(command)
        return rest

    def _holds_command(self, ctx: click.Context, own: list[str]) -> bool:
        """Whether a word follows our arguments, and comes before any option that is not ours."""
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        words = parser.parse_args(list(own))[0]
        behind = words["command"]
        if not isinstance(behind, (tuple, list)) or not behind:
            return False
        taken = [words.get(each.name or "") for each in self.params if isinstance(each, click.Argument)]
        return not any(str(word).startswith("-") and word != "-" for word in (*taken, behind[0]))


def _sending(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of the commands that send a stream."""

    @functools.wraps(function)
    def command(*, gzip: bool, zstd: bool, **given: Any) -> Any:
        if gzip and zstd:
            raise click.UsageError("--gzip and --zstd can't both be given: choose one")
        compression = "gzip" if gzip else "zstd" if zstd else None
        return function(compression=compression, **given)

    options = [
        click.argument(
            "command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]", shell_complete=files_of_the_shell
        ),
        option("--gzip", group=WHAT, is_flag=True, help="Compress the bytes with gzip."),
        option("--zstd", group=WHAT, is_flag=True, help="Compress the bytes with zstd, which is faster."),
        option("--expected-size", group=WHAT, type=Size(), help="About so many bytes will come."),
        option("--exact", group=WHAT, is_flag=True, help="Publish only if exactly --expected-size bytes come."),
        option("--exclusive", group=HOW, is_flag=True, help="Publish only if the key does not exist."),
        option(
            "--prepare",
            group=HOW,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Don't publish yet: write to FILE what `s3writer commit FILE` needs. - is standard output.",
        ),
        option("--part-size", group=HOW, type=Size(), help="The first parts have this size. The default is 5MiB."),
        option("--equal-parts", group=HOW, is_flag=True, help="Give all parts but the last the --part-size."),
        option(
            "--max-memory", group=HOW, type=Size(), help="The parts may take so much memory. The default is 128MiB."
        ),
        option(
            "--max-concurrency",
            group=HOW,
            type=int,
            metavar="NUMBER",
            help=f"Send so many parts at once. The default is {DEFAULT_CONCURRENCY}.",
        ),
        option(
            "--checksum",
            group=HOW,
            type=Checksum(),
            help="S3 checks the bytes with this. The default is CRC64NVME, or CRC32 where awscrt is not installed.",
        ),
        option("--allow-dot-segments", group=HOW, is_flag=True, help="The key may have a segment '.' or '..'."),
        option(
            "--sse-c-key-file",
            group=S3,
            type=click.Path(exists=True, path_type=Path),
            metavar="FILE",
            help="Encrypt the object with the key in FILE: 32 bytes, for SSE-C.",
        ),
        option(
            "--argument",
            group=S3,
            type=Pair(),
            multiple=True,
            help="Give S3 any other argument that is text, such as StorageClass=GLACIER. You can repeat it.",
        ),
    ]
    return functools.reduce(lambda decorated, added: added(decorated), reversed(options), command)


@click.command(cls=Producing)
@click.argument("url", type=Url())
@_sending
@option("--content-type", group=S3, metavar="TYPE", help="The object has this type, such as text/csv.")
@option("--metadata", group=S3, type=Pair(), multiple=True, help="Give the object metadata. You can repeat it.")
@option("--sse", group=S3, metavar="METHOD", help="S3 encrypts the object: AES256 or aws:kms.")
@option("--sse-kms-key-id", group=S3, metavar="ID", help="KMS uses this key, with --sse aws:kms.")
@option("--keep", group=HOW, is_flag=True, help="If it fails, keep the upload in S3 for `s3writer resume`.")
@option("--no-commit-token", group=HOW, is_flag=True, help="Add no token to the object's metadata.")
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
    """Send standard input, or the output of COMMAND.

    \b
    pg_dump mydb | s3writer put s3://bucket/mydb.sql.gz --gzip
    s3writer put s3://bucket/mydb.sql.gz --gzip -- pg_dump mydb

    Prefer the second form. It publishes the object only if COMMAND exits with status 0. In a pipe nobody can tell
    whether the producer failed.
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
@_sending
@option("--token", group=HOW, help="The failed upload has this token: its error named it.")
@option("--no-verify", group=HOW, is_flag=True, help="Skip the bytes that S3 has, and don't compare them.")
@talks_to_s3
def resume(url: tuple[str, str], upload_id: str, token: str | None, no_verify: bool, **sending: Any) -> Any:
    """Go on with an upload that is still in S3.

    \b
    s3writer resume s3://bucket/mydb.sql UPLOAD_ID -- cat mydb.sql

    The command reads the whole stream again, from its first byte. It compares the bytes that S3 has, and sends the
    rest. Give the options again that the upload began with, such as --exclusive, --part-size and --gzip. If the
    command fails, the upload stays in S3.
    """
    if no_verify and sending["compression"]:
        raise click.UsageError("compressed bytes must be compared with those in S3: leave out --no-verify")

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
        raise sources.ProducerError(f"the stream ends {size} bytes before the end of what S3 has")


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
        origin = "closed" if sys.stdin is None else "a terminal"
        raise click.UsageError(f"standard input is {origin}: pipe something in, or name a COMMAND after --")
    if exact and expected_size is None:
        raise click.UsageError("--exact needs --expected-size")
    given = {name: value for name, value in options.items() if value is not None}
    size_in_s3 = None if compression else expected_size
    bar = Bar(expected_size, is_shown=is_terminal(sys.stderr), is_compressed=compression is not None)
    if checksum is not None:
        given["checksum"] = None if checksum == "none" else checksum
    given |= {"expected_size": size_in_s3, "progress": bar, **_arguments(argument), **customer_key(sse_c_key_file)}
    with _output(prepare) as write, sources.produced(command, bar.say if bar.is_drawn else None) as producer:
        source = sources.compressed(producer.output, compression)
        with bar.shown(lambda: producer.output.size):
            with producer.explains():
                stream = begin(source, **given)
            bar.follow(stream)
            with _signals_come_too_late_for(stream):
                with stream:
                    producer.output.idle = lambda: stream.write(b"")
                    try:
                        _copy(source, stream, bar, compression)
                        producer.finish()
                        if exact and expected_size is not None:
                            producer.check_size(expected_size)
                    except BaseException:
                        producer.stop()
                        raise
                    if prepare is not None:
                        bar.end()
                        return _prepared(stream, write)
                signals.ignore()
    say(f"{stream.name} published: {decimal(stream.result.size)} in {counted(stream.result.parts, 'part')}")
    return {"outcome": "published", **dataclasses.asdict(stream.result)}


def _copy(source: Any, stream: MultipartUploadWriter, bar: Bar, compression: str | None) -> None:
    """Write all that ``source`` gives to ``stream``."""
    buffer, is_first = memoryview(bytearray(_PIECE_BYTES)), stream.tell() == 0
    while size := source.readinto(buffer):
        if is_first and is_terminal(sys.stderr) and (hint := _hint(stream.name, buffer[:size], compression)):
            bar.say(f"s3writer: {hint}")
        is_first = False
        stream.write(buffer[:size])


def _hint(url: str, first: memoryview, compression: str | None) -> str:
    """What to say if the key's suffix promises a compression that the bytes don't have. They may have been compressed
    before, so the suffix alone must not compress them.
    """
    promised = promised_by(url)
    if promised in (None, compression):
        return ""
    suffix = FORMATS[promised].suffix
    if compression:
        return f"the key ends in {suffix}, but --{compression} compresses the bytes with {compression}"
    with contextlib.suppress(ImportError):
        if not sources.begins_as(first, promised):
            how = f"give --{promised}" if promised in {"gzip", "zstd"} else f"pipe them through {promised}"
            return f"the key ends in {suffix}, but the bytes are not compressed: {how}, or choose another key"
    return ""


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
            raise click.UsageError(
                f"{name} is not an argument of S3's: they begin with a capital, such as StorageClass"
            )
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
    say(f"{stream.name} prepared: {decimal(pending.size)} in {counted(len(pending.parts), 'part')}")
    return {"outcome": "prepared", "bucket": pending.bucket, "key": pending.key, "upload_id": pending.upload_id}
