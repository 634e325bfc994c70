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
from s3writer.cli.command import talks_to_s3
from s3writer.cli.endings import UnknownUploadError, echo, is_terminal, say
from s3writer.cli.parameters import Age, Url, customer_key
from s3writer.pending import PendingUpload, commit_all
from s3writer.unfinished import UnfinishedUpload, abort_each, abort_uploads, list_uploads

#: A table in a pipe is for programs: no line of it is folded.
_WIDE = 2000


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.File())
@click.option("--sse-c-key-file", type=click.Path(exists=True, path_type=Path), help="If the uploads have one.")
@talks_to_s3
def commit(files: Sequence[IO[str]], sse_c_key_file: Path | None) -> Any:
    """Publish what put --prepare has written to FILES, one after the other."""
    key = customer_key(sse_c_key_file)
    results = commit_all([PendingUpload.from_json(file.read()) for file in files], **key)
    for result in results:
        say(f"s3://{result.bucket}/{result.key} published: {decimal(result.size)}")
    return {"outcome": "published", "published": [dataclasses.asdict(result) for result in results]}


@click.command()
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


@click.command()
@click.argument("url", type=Url(is_prefix=True))
@talks_to_s3
def uploads(url: tuple[str, str]) -> Any:
    """List the unfinished uploads under URL."""
    found = list(list_uploads(*url))
    _show(found)
    return [dataclasses.asdict(one) for one in found]


@click.command()
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
