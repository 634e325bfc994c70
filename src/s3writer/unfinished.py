"""Unfinished uploads of a bucket: what there is, what is to go, and a rule by which the bucket cleans up by itself.

Whoever is killed in the middle of an upload leaves its parts in S3, stored and billed, and no listing of objects shows
them. https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpu-abort-incomplete-mpu-lifecycle-config.html
"""

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from s3writer._errors import NotCommittedError
from s3writer._s3 import client as _client
from s3writer._s3 import faults as _faults
from s3writer._s3.arguments import UPLOADS, Arguments
from s3writer._s3.calls import Store
from s3writer._s3.lazy import Lazy

#: What S3 answers who lists the parts of an upload with a customer's key, and does not give the key.
_NEEDS_KEY = "InvalidRequest"

email_utils = Lazy("email.utils")


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload that was neither completed nor aborted.

    Attributes:
        bucket: where its object would be.
        key: its name there.
        upload_id: S3's name for it.
        initiated: when it began, in UTC.
        active: when its last part arrived, or when it began if it has none.
        age: how long nothing has happened to it, by the clock of S3, which shows whole seconds.
        parts: how many S3 has; None if it won't tell, as of uploads with a customer's key. Then all that is known is
            when it began.
        size: bytes, all parts together, or None.

    """

    bucket: str
    key: str
    upload_id: str
    initiated: dt.datetime
    active: dt.datetime
    age: dt.timedelta
    parts: int | None
    size: int | None

    def abort(self, *, client: Any = None, **s3_arguments: Any) -> None:
        """Remove the upload from S3; one that is gone is left alone.

        Raises `NotCommittedError` with the ``upload_id`` if it may still be there. ``client`` and ``s3_arguments`` are
        those of `list_uploads`.
        """
        s3 = _client.chosen(client)
        arguments = Arguments(s3.meta.service_model, s3_arguments)
        Store(s3, self.bucket, self.key, arguments=arguments).remove(self.upload_id)


def list_uploads(
    bucket: str, prefix: str = "", *, client: Any = None, **s3_arguments: Any
) -> Iterator[UnfinishedUpload]:
    """The unfinished uploads whose keys begin with ``prefix``, in the order in which S3 lists them.

    Parameters:
        client: a boto3 S3 client; None: the one that writers share.
        **s3_arguments: ``ExpectedBucketOwner`` or ``RequestPayer``.

    S3 is asked while this is iterated: it takes a request for each thousand uploads, and one for each thousand parts of
    each. What ends meanwhile is left out. Raises `S3WriterError` if S3 does not answer, or won't tell of an upload's
    parts (but for those that have a customer's key): a running upload must not be taken for one that was left.

    """
    s3 = _client.chosen(client)
    arguments = Arguments(s3.meta.service_model, s3_arguments)
    arguments.refuse_late_ones()
    for now, page in _pages(s3, bucket, prefix, arguments):
        for upload in page:
            key, upload_id, initiated = upload["Key"], upload["UploadId"], upload["Initiated"]
            if not key.startswith(prefix):
                continue
            try:
                held = Store(s3, bucket, key, arguments=arguments).held(upload_id)
            except NotCommittedError as error:
                if _faults.code(error.__cause__) != _NEEDS_KEY:
                    raise
                age = max(now - initiated, dt.timedelta(0))
                yield UnfinishedUpload(bucket, key, upload_id, initiated, initiated, age, None, None)
                continue
            if held is None:
                continue
            active = max([initiated, *(part["LastModified"] for part in held if "LastModified" in part)])
            size = sum(part["Size"] for part in held)
            age = max(now - active, dt.timedelta(0))
            yield UnfinishedUpload(bucket, key, upload_id, initiated, active, age, len(held), size)


def abort_uploads(
    bucket: str,
    prefix: str = "",
    *,
    older_than: dt.timedelta,
    dry_run: bool = True,
    client: Any = None,
    **s3_arguments: Any,
) -> list[UnfinishedUpload]:
    """Abort the unfinished uploads to which nothing has happened for ``older_than``; which they were.

    With ``dry_run``, the default, nothing is aborted: what is returned is what would be. A writer whose upload is
    aborted under its hands fails and publishes nothing, so ``older_than`` should be more than the longest pause that a
    program of yours makes between two parts, and than the time that a prepared or kept upload waits.

    Raises the last `NotCommittedError`, after all have been tried, if some could not be aborted; its notes name the
    others. ``client`` and ``s3_arguments`` are those of `list_uploads`.
    """
    if not isinstance(older_than, dt.timedelta):
        raise TypeError(f"older_than must be a datetime.timedelta, not {type(older_than).__name__}")
    if older_than < dt.timedelta(0):
        raise ValueError(f"older_than={older_than!r} is out of its limits: 0 or more")
    old = [one for one in list_uploads(bucket, prefix, client=client, **s3_arguments) if one.age >= older_than]
    if not dry_run:
        abort_each(old, client=client, **s3_arguments)
    return old


def abort_each(uploads: Iterable[UnfinishedUpload], *, client: Any = None, **s3_arguments: Any) -> None:
    """Abort these uploads, whatever their age; raises and takes what `abort_uploads` does."""
    failures: list[NotCommittedError] = []
    for upload in uploads:
        try:
            upload.abort(client=client, **s3_arguments)
        except NotCommittedError as error:
            failures.append(error)
    if failures:
        last = failures.pop()
        for other in failures:
            last.add_note(str(other.strerror))
        raise last


@dataclass(frozen=True, slots=True)
class CleanupRule:
    """A lifecycle rule of a bucket that aborts uploads.

    Attributes:
        name: the rule's ID.
        prefix: with what the keys begin whose uploads it aborts.
        days: how long after they began.

    """

    name: str
    prefix: str
    days: int


def cleanup_rules(bucket: str, prefix: str = "", *, client: Any = None) -> list[CleanupRule]:
    """The bucket's own rules that clean up all keys that begin with ``prefix``; an empty list if there are none.

    Raises `S3WriterError` if S3 does not tell.
    """
    return list(filter(None, (_cleanup(rule, prefix) for rule in _lifecycle(_client.chosen(client), bucket)["Rules"])))


def add_cleanup_rule(bucket: str, prefix: str = "", *, days: int = 7, client: Any = None) -> CleanupRule:
    """Have the bucket itself abort uploads to keys that begin with ``prefix``, ``days`` after they began.

    A rule that does so already, as early or earlier, is left alone and returned. Other rules stay as they are. S3 knows
    no way to add one rule: all are read and written back, so nobody else should change them at the same time.

    Raises ValueError if ``days`` is less than 1 or the rule is there but disabled, `S3WriterError` if S3 refuses.
    """
    if not isinstance(days, int):
        raise TypeError(f"days must be an int, not {type(days).__name__}")
    if days < 1:
        raise ValueError(f"days={days} is out of its limits: 1 or more")
    s3 = _client.chosen(client)
    for rule in cleanup_rules(bucket, prefix, client=s3):
        if rule.days <= days:
            return rule
    digest = hashlib.sha256(prefix.encode()).hexdigest()
    added = CleanupRule(f"s3writer-unfinished-uploads-{digest[:16]}-{days}d", prefix, days)
    lifecycle = _lifecycle(s3, bucket)
    rules = lifecycle["Rules"]
    if any(rule.get("ID") == added.name for rule in rules):
        raise ValueError(f"the bucket has a rule {added.name} that was disabled or changed: mend or remove it")
    place = {"Prefix": prefix} if any("Prefix" in rule for rule in rules) else {"Filter": {"Prefix": prefix}}
    ours = {"ID": added.name, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}
    kept = {name: value for name, value in lifecycle.items() if name == "TransitionDefaultMinimumObjectSize"}
    with _asking("adding a rule to", bucket, prefix):
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [*rules, {**ours, **place}]}, **kept
        )
    return added


def _pages(s3: Any, bucket: str, prefix: str, arguments: Arguments) -> Iterator[tuple[dt.datetime, list[Any]]]:
    """ListMultipartUploads' entries, page by page, and S3's clock."""
    given = {"Bucket": bucket, "Prefix": prefix, **arguments.of(UPLOADS)}
    with _asking("listing the unfinished uploads of", bucket, prefix):
        try:
            for page in s3.get_paginator("list_multipart_uploads").paginate(**given):
                clock = page["ResponseMetadata"]["HTTPHeaders"].get("date")
                now = email_utils.parsedate_to_datetime(clock) if clock else dt.datetime.now(tz=dt.UTC)
                yield now, page.get("Uploads", [])
        except s3.exceptions.NoSuchUpload:
            return


def _lifecycle(s3: Any, bucket: str) -> dict[str, Any]:
    """The bucket's lifecycle configuration."""
    with _asking("reading the rules of", bucket, ""):
        try:
            return dict(s3.get_bucket_lifecycle_configuration(Bucket=bucket))
        except s3.exceptions.ClientError as error:
            if _faults.code(error) != "NoSuchLifecycleConfiguration":
                raise
            return {"Rules": []}


def _cleanup(rule: Mapping[str, Any], prefix: str) -> CleanupRule | None:
    """``rule`` if it aborts all uploads under ``prefix``."""
    days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
    place = rule.get("Filter", rule)
    within = place.get("Prefix", "")
    is_wider = prefix.startswith(within) and not place.keys() & {
        "Tag",
        "And",
        "ObjectSizeGreaterThan",
        "ObjectSizeLessThan",
    }
    if days is None or rule["Status"] != "Enabled" or not is_wider:
        return None
    return CleanupRule(rule.get("ID", ""), within, days)


@contextlib.contextmanager
def _asking(doing: str, bucket: str, prefix: str) -> Iterator[None]:
    """Translates what S3 answers."""
    try:
        yield
    except Exception as error:
        raise _faults.translate(error, doing, bucket, prefix) from error
