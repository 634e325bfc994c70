"""Lists and aborts the unfinished uploads of a bucket, and adds a rule by which the bucket aborts them itself.

If a process is killed in the middle of an upload, its parts stay in S3, stored and billed. No listing of objects shows
them. https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpu-abort-incomplete-mpu-lifecycle-config.html
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack

from s3writer._errors import NotCommittedError, add_note
from s3writer._s3 import client as clients
from s3writer._s3 import faults
from s3writer._s3.arguments import Arguments, check_bucket, check_text
from s3writer._s3.calls import Calls
from s3writer._s3.lazy import Lazy
from s3writer._s3.operations import UPLOADS
from s3writer._upload.cleanup import remove_now
from s3writer._upload.jobs import run
from s3writer.options import ListArguments

#: S3 answers this if you list the parts of an upload with an SSE-C key, and don't give the key.
_NEEDS_KEY = "InvalidRequest"

email_utils = Lazy("email.utils")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload that was neither completed nor aborted.

    Attributes:
        bucket: where its object would be.
        key: the object's name there.
        upload_id: S3's name for the upload.
        initiated: when it began, in UTC.
        active: when its last part arrived, or when it began if it has none.
        age: the time since ``active``, by S3's clock, which shows whole seconds.
        parts: how many parts S3 has. None if S3 does not tell, as for uploads with an SSE-C key; then ``active`` is
            ``initiated``.
        size: bytes of all parts together. None if ``parts`` is None.

    """

    bucket: str
    key: str
    upload_id: str
    initiated: dt.datetime
    active: dt.datetime
    age: dt.timedelta
    parts: int | None
    size: int | None

    def abort(self, *, client: Any = None, **s3_arguments: Unpack[ListArguments]) -> None:
        """Remove the upload from S3. If it is gone, do nothing.

        Raises `NotCommittedError` with the ``upload_id`` if the upload may still be there. ``client`` and
        ``s3_arguments`` are those of `list_uploads`.
        """
        s3 = clients.chosen(client)
        calls = Calls(s3, self.bucket, self.key, Arguments(s3.meta.service_model, s3_arguments))
        remove_now(calls, self.upload_id)


def list_uploads(
    bucket: str, prefix: str = "", *, client: Any = None, **s3_arguments: Unpack[ListArguments]
) -> Iterator[UnfinishedUpload]:
    """Iterate over the unfinished uploads whose keys begin with ``prefix``, in the order in which S3 lists them.

    Parameters:
        client: a boto3 S3 client; None: the one that writers share.
        **s3_arguments: ``ExpectedBucketOwner`` or ``RequestPayer``.

    Raises TypeError or ValueError at once if there can be no such bucket or prefix.

    It asks S3 while you iterate: one request for each thousand uploads, and one for each thousand parts of each upload.
    It leaves out uploads that end meanwhile. Raises `S3WriterError` if S3 does not answer, or does not list an upload's
    parts: without them, a running upload would look like one that was left. Uploads with an SSE-C key are the
    exception: S3 lists their parts only with the key, so their ``parts`` is None.

    """
    _check_place(bucket, prefix)
    s3 = clients.chosen(client)
    arguments = Arguments(s3.meta.service_model, s3_arguments)
    arguments.refuse_late_ones()
    return _listed(s3, bucket, prefix, arguments)


def _listed(s3: Any, bucket: str, prefix: str, arguments: Arguments) -> Iterator[UnfinishedUpload]:
    for now, page in _pages(s3, bucket, prefix, arguments):
        for upload in page:
            key, upload_id, initiated = upload["Key"], upload["UploadId"], upload["Initiated"]
            if not key.startswith(prefix):
                continue
            try:
                held = _held(Calls(s3, bucket, key, arguments), upload_id)
            except NotCommittedError as error:
                if faults.code(error.__cause__) != _NEEDS_KEY:
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
    **s3_arguments: Unpack[ListArguments],
) -> list[UnfinishedUpload]:
    """Abort the unfinished uploads whose ``age`` is ``older_than`` or more. Returns these uploads.

    With ``dry_run``, the default, it aborts nothing, and returns the uploads that it would abort. If the upload of a
    running writer is aborted, the writer fails and publishes nothing. So let ``older_than`` be more than the longest
    pause between two parts in your programs, and more than the time that a prepared or kept upload waits.

    If an upload can't be aborted, it tries all others, and then raises the last `NotCommittedError`, whose notes hold
    the earlier ones. An interrupt gets a note that names the uploads that were aborted. ``client`` and
    ``s3_arguments`` are those of `list_uploads`.
    """
    if not isinstance(older_than, dt.timedelta):
        raise TypeError(f"older_than must be a datetime.timedelta, not {type(older_than).__name__}")
    if older_than < dt.timedelta(0):
        raise ValueError(f"older_than={older_than!r} is out of its limits: 0 or more")
    old = [one for one in list_uploads(bucket, prefix, client=client, **s3_arguments) if one.age >= older_than]
    if not dry_run:
        abort_each(old, client=client, **s3_arguments)
    return old


def abort_each(
    uploads: Iterable[UnfinishedUpload], *, client: Any = None, **s3_arguments: Unpack[ListArguments]
) -> None:
    """Abort these uploads, whatever their age. Arguments and exceptions are those of `abort_uploads`."""
    removed: list[str] = []
    failures: list[NotCommittedError] = []
    try:
        for upload in uploads:
            try:
                upload.abort(client=client, **s3_arguments)
                removed.append(f"{upload.upload_id} of s3://{upload.bucket}/{upload.key}")
            except NotCommittedError as error:
                failures.append(error)
    except BaseException as interrupt:
        add_note(interrupt, f"aborted before: {', '.join(removed) or 'no upload'}")
        for failure in failures:
            add_note(interrupt, str(failure.strerror))
        raise
    if failures:
        last = failures.pop()
        for other in failures:
            add_note(last, str(other.strerror))
        raise last


@dataclass(frozen=True, slots=True)
class CleanupRule:
    """A lifecycle rule of a bucket that aborts uploads.

    Attributes:
        name: the rule's ID.
        prefix: it aborts uploads to keys that begin with this.
        days: it aborts an upload this many days after the upload began.

    """

    name: str
    prefix: str
    days: int


def cleanup_rules(bucket: str, prefix: str = "", *, client: Any = None) -> list[CleanupRule]:
    """Return the bucket's lifecycle rules that abort the uploads to all keys that begin with ``prefix``.

    Raises `S3WriterError` if S3 does not tell.
    """
    _check_place(bucket, prefix)
    return list(filter(None, (_cleanup(rule, prefix) for rule in _lifecycle(clients.chosen(client), bucket)["Rules"])))


def add_cleanup_rule(bucket: str, prefix: str = "", *, days: int = 7, client: Any = None) -> CleanupRule:
    """Add a lifecycle rule: the bucket aborts uploads to keys that begin with ``prefix``, ``days`` after they began.

    If a rule already does that, as early or earlier, it is returned, and nothing is changed. Other rules stay as they
    are. S3 can't add a single rule: this function reads all rules and writes them back. So nobody else should change
    them at the same time.

    Raises ValueError if ``days`` is less than 1, or if the rule exists but was disabled or changed, and `S3WriterError`
    if S3 refuses.
    """
    if not isinstance(days, int):
        raise TypeError(f"days must be an int, not {type(days).__name__}")
    if days < 1:
        raise ValueError(f"days={days} is out of its limits: 1 or more")
    s3 = clients.chosen(client)
    for rule in cleanup_rules(bucket, prefix, client=s3):
        if rule.days <= days:
            return rule
    digest = hashlib.sha256(prefix.encode()).hexdigest()
    added = CleanupRule(f"s3writer-unfinished-uploads-{digest[:16]}-{days}d", prefix, days)
    lifecycle = _lifecycle(s3, bucket)
    rules = lifecycle["Rules"]
    if any(rule.get("ID") == added.name for rule in rules):
        raise ValueError(f"the bucket's rule {added.name} was disabled or changed: check it, or remove it")
    place = {"Prefix": prefix} if any("Prefix" in rule for rule in rules) else {"Filter": {"Prefix": prefix}}
    ours = {"ID": added.name, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}
    kept = {name: value for name, value in lifecycle.items() if name == "TransitionDefaultMinimumObjectSize"}
    written = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": [*rules, {**ours, **place}]}, **kept}
    _ask("adding a rule to", bucket, prefix, lambda: s3.put_bucket_lifecycle_configuration(**written))
    return added


def _check_place(bucket: str, prefix: str) -> None:
    check_bucket(bucket)
    check_text("prefix", prefix)


def _pages(s3: Any, bucket: str, prefix: str, arguments: Arguments) -> Iterator[tuple[dt.datetime, list[Any]]]:
    """The time by S3's clock, and ListMultipartUploads' entries, for each page."""
    given = {"Bucket": bucket, "Prefix": prefix, **arguments.of(UPLOADS)}
    pages = iter(s3.get_paginator("list_multipart_uploads").paginate(**given))

    def next_page() -> Any:
        try:
            return next(pages, None)
        except s3.exceptions.NoSuchUpload:
            return None

    while page := _ask("listing the unfinished uploads of", bucket, prefix, next_page):
        clock = page["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = email_utils.parsedate_to_datetime(clock) if clock else dt.datetime.now(tz=dt.UTC)
        yield now, page.get("Uploads", [])


def _held(calls: Calls, upload_id: str) -> list[Mapping[str, Any]] | None:
    """ListParts' entries of the upload; None if there is no such upload."""
    try:
        return run(lambda: [part for page in calls.list_parts(upload_id) for part in page.get("Parts", [])])
    except NotCommittedError as error:
        if faults.says_gone(error):
            return None
        raise


def _lifecycle(s3: Any, bucket: str) -> dict[str, Any]:
    """The bucket's lifecycle configuration."""

    def read() -> dict[str, Any]:
        try:
            return dict(s3.get_bucket_lifecycle_configuration(Bucket=bucket))
        except s3.exceptions.ClientError as error:
            if faults.code(error) != "NoSuchLifecycleConfiguration":
                raise
            return {"Rules": []}

    return _ask("reading the rules of", bucket, "", read)


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


def _ask(doing: str, bucket: str, prefix: str, call: Callable[[], Result]) -> Result:
    """Return what ``call`` returns, in another thread. Translate S3's errors."""

    def work() -> Result:
        try:
            return call()
        except Exception as error:
            failure = faults.translate(error, doing, bucket, prefix)
            raise failure from failure.__cause__

    return run(work)
