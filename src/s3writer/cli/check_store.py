"""The command that tells which promises hold on a store: ``check-store``."""

import os
from typing import TYPE_CHECKING, Any

import click

from s3writer._errors import add_note
from s3writer._s3 import client as clients
from s3writer._s3.lazy import Lazy
from s3writer.cli.command import Command, talks_to_s3
from s3writer.cli.endings import echo
from s3writer.cli.parameters import Url
from s3writer.cli.place import Place
from s3writer.cli.words import in_shell

if TYPE_CHECKING:
    from s3writer.cli.probes import Finding

probes = Lazy("s3writer.cli.probes")


class UnfitStoreError(Exception):
    """The store does not do what s3writer needs, or something of the check is left there."""

    def __init__(self, message: str, findings: list[dict[str, Any]], left: str) -> None:
        super().__init__(message)
        self.findings = findings
        self.left = left


@click.command(cls=Command)
@click.argument("url", type=Url(is_prefix=True))
@talks_to_s3
def check_store(url: tuple[str, str]) -> Any:
    """Try which promises hold on a store.

    \b
    s3writer check-store s3://bucket/check/

    The command writes some 30 MB below URL, under keys that nobody uses, and removes them. It takes seconds, or a
    minute on a slow line.
    """
    bucket, prefix = url
    separator = "/" if prefix and not prefix.endswith("/") else ""
    place = Place(clients.default_client(), bucket, f"{prefix}{separator}s3writer-check-{os.urandom(8).hex()}/")
    is_for_people = not click.get_current_context().params["as_json"]
    findings: list[Finding] = []
    try:
        for finding in probes.check(place):
            findings.append(finding)
            if is_for_people:
                _show(finding)
    except BaseException as error:
        _remove(place, error)
        raise
    left = _remove(place, None)
    shown = [{**vars(finding), "verdict": finding.verdict.value} for finding in findings]
    missing = [finding.name for finding in findings if finding.is_needed and not finding.holds]
    if missing or left:
        reason = f"s3writer can't be used here: {', '.join(missing)}" if missing else f"{left} may be left"
        raise UnfitStoreError(reason, shown, left)
    return shown


def _remove(place: Place, error: BaseException | None) -> str:
    """Remove all. Returns the URLs of what may be left, and tells them to ``error``, or to an interrupt."""
    try:
        left = place.remove()
    except BaseException as interrupt:
        add_note(interrupt, f"objects and uploads may be left below s3://{place.bucket}/{place.prefix}")
        raise
    urls = ", ".join(f"s3://{place.bucket}/{key}" for key in left)
    if error is not None and urls:
        add_note(error, f"{urls} may be left")
    return urls


def _show(finding: "Finding") -> None:
    echo(f"{finding.verdict.value:8} {in_shell(finding.promise)}")
    if not finding.holds:
        echo(f"{'':8} {finding.detail}: {in_shell(finding.advice)}")
