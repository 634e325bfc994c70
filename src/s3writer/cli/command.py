"""What every command has: grouped options, among them those that say which S3, ``--json``, and an exit status."""

import functools
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import click

from s3writer._file.close_rule import IN_FLIGHT
from s3writer._s3 import client as _client
from s3writer._s3 import faults as _faults
from s3writer._s3.lazy import Lazy
from s3writer.cli import signals
from s3writer.cli.endings import Warnings, echo, notes, plain, tell_end
from s3writer.pending import PartlyCommittedError

boto3, exceptions = Lazy("boto3"), Lazy("botocore.exceptions")

#: The groups of options in a help text.
WHAT, WHICH, HOW, S3, OUTPUT = "What to send", "Which uploads", "How to send it", "S3", "Output"


class Option(click.Option):
    """An option of a group."""

    def __init__(self, *names: Any, group: str = OUTPUT, **others: Any) -> None:
        super().__init__(*names, **others)
        self.group = group


#: Like ``click.option``, with a group.
option = functools.partial(click.option, cls=Option)


class Command(click.Command):
    """A command whose help shows the options by their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            if isinstance(each, click.Option) and (record := each.get_help_record(ctx)):
                groups.setdefault(getattr(each, "group", OUTPUT), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


def talks_to_s3(function: Callable[..., Any]) -> Callable[..., Any]:
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
            _connect(profile, region, endpoint_url)
            answer = function(**given)
            signals.ignore()
            if as_json:
                echo(json.dumps(answer, default=plain))
        except (click.ClickException, click.Abort):
            raise
        except BaseException as raised:
            signals.ignore()
            error = raised
            if isinstance(raised, PartlyCommittedError) and not raised.published:
                error = raised.__cause__ or raised
            if debug:
                echo(_faults.redacted(traceback.format_exc()), err=True)
            code = tell_end(error, warnings, as_json=as_json)
            warnings.messages.extend(notes(error))
        finally:
            logging.getLogger("s3writer").removeHandler(warnings)
        for message in dict.fromkeys(warnings.messages):
            if IN_FLIGHT not in message:
                echo(f"s3writer: {warnings.said(message)}", err=True)
        click.get_current_context().exit(code)

    options = [
        option("--profile", group=S3, metavar="NAME", help="Use this profile of the AWS configuration files."),
        option("--region", group=S3, metavar="NAME", help="The bucket is in this region."),
        option("--endpoint-url", group=S3, metavar="URL", help="The store is at this URL, and not AWS."),
        option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
        option("--debug", is_flag=True, help="Print the traceback of an error."),
    ]
    return functools.reduce(lambda decorated, added: added(decorated), reversed(options), command)


def _connect(profile: str | None, region: str | None, endpoint_url: str | None) -> None:
    """Make the client that all calls use. ValueError for an unknown profile."""
    try:
        boto3.setup_default_session(profile_name=profile, region_name=region)
        _client.default_client(endpoint_url)
    except exceptions.ProfileNotFound as error:
        name, origin = error.kwargs["profile"], "--profile" if profile else "AWS_PROFILE"
        raise ValueError(f"there is no profile {name}: check {origin} and the AWS configuration files") from None
