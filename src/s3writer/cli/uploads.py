"""The commands for uploads that were begun earlier: ``commit``, ``abort``, ``uploads`` and ``sweep``."""

import dataclasses
import datetime as dt
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

from s3writer._file.open import parsed
from s3writer._log import counted
from s3writer.cli.command import S3, WHICH, Command, option, talks_to_s3
from s3writer.cli.endings import NobodyAnswersError, UnknownUploadError, echo, is_terminal, say
from s3writer.cli.parameters import Age, Url, customer_key, files_of_the_shell
from s3writer.pending import PendingUpload, commit_all
from s3writer.unfinished import UnfinishedUpload, abort_each, abort_uploads, list_uploads

#: A table in a pipe is for programs: no line of it is folded.
_WIDE = 2000


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.File())
@option(
    "--sse-c-key-file",
    group=S3,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="The uploads were encrypted with the key in FILE.",
)
@talks_to_s3
def commit(files: Sequence[IO[str]], sse_c_key_file: Path | None) -> Any:
    """Publish prepared uploads, one after the other.

    \b
    s3writer put s3://bucket/mydb.sql --prepare upload.json -- pg_dump mydb
    s3writer commit upload.json

    Each of FILES was written by `s3writer put --prepare`. - is standard input.
    """
    key = customer_key(sse_c_key_file)
    results = commit_all([_read(file) for file in files], **key)
    for result in results:
        say(f"s3://{result.bucket}/{result.key} published: {decimal(result.size)}")
    return {"outcome": "published", "published": [dataclasses.asdict(result) for result in results]}


@click.command(cls=Command)
@click.argument("target", metavar="FILE|URL", shell_complete=files_of_the_shell)
@click.argument("upload_id", required=False)
@talks_to_s3
def abort(target: str, upload_id: str | None) -> Any:
    """Remove a prepared or an unfinished upload.

    \b
    s3writer abort upload.json
    s3writer abort s3://bucket/mydb.sql UPLOAD_ID

    FILE was written by `s3writer put --prepare`. `s3writer uploads` shows upload ids.
    """
    if upload_id:
        bucket, key = parsed(target)
        pending = PendingUpload(bucket, key, upload_id, 0, ())
    elif target.startswith("s3://"):
        raise click.UsageError("there is no UPLOAD_ID behind the URL")
    else:
        with click.open_file(target) as file:
            pending = _read(file)
    if not pending.abort():
        raise UnknownUploadError(f"S3 does not show upload {pending.upload_id} of s3://{pending.bucket}/{pending.key}")
    say(f"upload {pending.upload_id} is gone")
    return {"outcome": "aborted", "bucket": pending.bucket, "key": pending.key, "upload_id": pending.upload_id}


@click.command(cls=Command)
@click.argument("url", type=Url(is_prefix=True))
@talks_to_s3
def uploads(url: tuple[str, str]) -> Any:
    """List the unfinished uploads under URL.

    \b
    s3writer uploads s3://bucket/backups/
    """
    found = list(list_uploads(*url))
    _show(found, "no unfinished uploads")
    return [dataclasses.asdict(one) for one in found]


@click.command(cls=Command)
@click.argument("url", type=Url(is_prefix=True))
@option(
    "--older-than",
    group=WHICH,
    type=Age(),
    required=True,
    help="Abort uploads to which nothing has happened for so long, such as 36h or 7d.",
)
@option("--dry-run", group=WHICH, is_flag=True, help="Only show the uploads that would be aborted.")
@option("--yes", group=WHICH, is_flag=True, help="Don't ask.")
@talks_to_s3
def sweep(url: tuple[str, str], older_than: dt.timedelta, dry_run: bool, yes: bool) -> Any:
    """Abort the old unfinished uploads under URL.

    \b
    s3writer sweep s3://bucket/backups/ --older-than 7d
    """
    if click.get_current_context().params["as_json"] and not (yes or dry_run):
        raise click.UsageError("with --json nobody is asked: give --yes or --dry-run")
    found = abort_uploads(*url, older_than=older_than)
    _show(found, "no unfinished uploads that old")
    if found and not dry_run:
        if not yes:
            _ask(f"Abort {counted(len(found), 'upload')}?")
            shown = {one.upload_id for one in found}
            found = [one for one in abort_uploads(*url, older_than=older_than) if one.upload_id in shown]
        abort_each(found)
        say(f"{counted(len(found), 'upload')} aborted")
    return {"outcome": "listed" if dry_run else "aborted", "uploads": [dataclasses.asdict(one) for one in found]}


def _ask(question: str) -> None:
    """``click.Abort`` unless the answer is yes."""
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as aborted:
        if isinstance(aborted.__context__, EOFError):
            echo("", err=True)  # behind the question
            raise NobodyAnswersError("nobody answers on standard input: give --yes or --dry-run") from None
        raise


def _read(file: IO[str]) -> PendingUpload:
    """The upload that `put --prepare` has written to ``file``. ValueError names the file."""
    try:
        return PendingUpload.from_json(file.read())
    except ValueError as error:
        name, cause = "standard input" if file.name == sys.stdin.name else file.name, error.__cause__ or error
        reason = f"it has no {cause}" if isinstance(cause, KeyError) else cause
        raise ValueError(f"{name} was not written by put --prepare: {reason}") from error


def _show(found: Sequence[UnfinishedUpload], otherwise: str) -> None:
    """Print a table of the uploads; without any, say ``otherwise`` to a person."""
    if click.get_current_context().params["as_json"]:
        return
    if not found:
        say(otherwise)
        return
    names = ("key", "begun (UTC)", "idle", "parts", "size", "upload id")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None)
    for one in found:
        begun, idle = f"{one.initiated:%Y-%m-%d %H:%M}", str(one.age).partition(".")[0]
        held = ["?", "?"] if one.parts is None or one.size is None else [str(one.parts), decimal(one.size)]
        table.add_row(*map(Text, (one.key, begun, idle, *held, one.upload_id)))
    text = io.StringIO()
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else _WIDE
    Console(file=text, width=width).print(table)
    echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))
