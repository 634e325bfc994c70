"""The command that tells which promises hold on a store: ``check-store``."""

import os
from typing import Any

import click

from s3writer._s3.client import default_client
from s3writer.cli.command import talks_to_s3
from s3writer.cli.endings import echo
from s3writer.cli.parameters import Url
from s3writer.cli.place import Place
from s3writer.cli.probes import Finding, Verdict, check
from s3writer.cli.words import in_shell


class UnfitStoreError(Exception):
    """The store does not do what s3writer needs, or something of the check is left there."""

    def __init__(self, message: str, findings: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.findings = findings


@click.command()
@click.argument("url", type=Url(is_prefix=True))
@talks_to_s3
def check_store(url: tuple[str, str]) -> Any:
    """Try under URL which promises hold on the store, and which it ignores or refuses.

    Some 30 MB are written below URL, under keys that nobody uses, and removed. It takes a minute or less.
    """
    bucket, prefix = url
    separator = "/" if prefix and not prefix.endswith("/") else ""
    place = Place(default_client(), bucket, f"{prefix}{separator}s3writer-check-{os.urandom(8).hex()}/")
    is_for_people = not click.get_current_context().params["as_json"]
    findings: list[Finding] = []
    left: list[str] = []
    try:
        for finding in check(place):
            findings.append(finding)
            if is_for_people:
                _show(finding)
    finally:
        left = place.remove()
        if left:
            echo(f"s3writer: these may be left in s3://{bucket}: {', '.join(left)}", err=True)
    shown = [{**vars(finding), "verdict": finding.verdict.value} for finding in findings]
    missing = [finding.name for finding in findings if finding.is_needed and finding.verdict is not Verdict.HOLDS]
    if missing or left:
        reason = f"s3writer can't be used here: {', '.join(missing)}" if missing else "not all could be removed"
        raise UnfitStoreError(reason, shown)
    return shown


def _show(finding: Finding) -> None:
    echo(f"{finding.verdict.value:8} {in_shell(finding.promise)}")
    if finding.verdict is not Verdict.HOLDS:
        echo(f"{'':8} {finding.detail}: {in_shell(finding.advice)}")
