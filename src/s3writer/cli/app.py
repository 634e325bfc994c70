"""The command line: ``pg_dump mydb | s3writer put s3://bucket/mydb.sql``.

Standard output is for what was asked for (JSON, tables, a prepared upload), standard error for people.
"""

import contextlib
from collections.abc import Sequence

import click

from s3writer.cli import signals
from s3writer.cli.check_store import check_store
from s3writer.cli.endings import ENDINGS
from s3writer.cli.sending import put, resume
from s3writer.cli.uploads import abort, commit, sweep, uploads


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="s3writer")
def app() -> None:
    """Stream to S3: an object appears wholly or not at all.

    \b
    s3writer put s3://bucket/mydb.sql.gz --gzip -- pg_dump mydb

    \b
    Exit status: 0 done, 1 not published, 2 wrong usage,
    3 not known whether it was published, 4 only some of several were,
    130 interrupted, 143 terminated, 129 hung up.
    """


for command in (put, resume, commit, abort, uploads, sweep, check_store):
    app.add_command(command)


def run(arguments: Sequence[str], *, is_program: bool = False) -> int:
    """Run the command line; its exit status. ``is_program`` says that the process ends with it."""
    with signals.raised(is_program=is_program):
        try:
            return app.main(list(arguments), prog_name="s3writer", standalone_mode=False) or 0
        except click.ClickException as error:
            with contextlib.suppress(OSError):
                error.show()
            return error.exit_code
        except click.Abort as aborted:
            return next((code for kind, _, code in ENDINGS if isinstance(aborted.__context__, kind)), 1)
