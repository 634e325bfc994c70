"""What every command has: options that say which S3, ``--json``, and an exit status that says how it ended."""

import functools
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import boto3
import click

from s3writer._file.close_rule import IN_FLIGHT
from s3writer._s3 import client as _client
from s3writer._s3 import faults as _faults
from s3writer.cli import signals
from s3writer.cli.endings import Warnings, echo, in_words, notes, tell_end
from s3writer.pending import PartlyCommittedError


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
            boto3.setup_default_session(profile_name=profile, region_name=region)
            _client.default_client(endpoint_url)
            answer = function(**given)
            signals.ignore()
            if as_json:
                echo(json.dumps(answer, default=str))
        except (click.ClickException, click.Abort):
            raise
        except BaseException as raised:
            signals.ignore()
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
                echo(f"s3writer: {warnings.in_shell.get(message) or in_words(message)}", err=True)
        click.get_current_context().exit(code)

    options = [
        click.option("--profile", help="Of the AWS configuration files."),
        click.option("--region", help="The bucket's region."),
        click.option("--endpoint-url", help="Of a store that is not AWS."),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
        click.option("--debug", is_flag=True, help="Show tracebacks."),
    ]
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)
