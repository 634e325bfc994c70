"""What killed processes left: listed, aborted if it is old enough, and cleaned up by the bucket's own rules."""

import datetime as dt
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import pytest

from s3writer import (
    AccessDeniedError,
    CleanupRule,
    NotCommittedError,
    S3WriterError,
    UnfinishedUpload,
    abort_uploads,
    add_cleanup_rule,
    cleanup_rules,
    list_uploads,
)
from tests.helpers import MIB, data, uploads
from tests.stores import BUCKET, Store
from tests.wire import Wire, answer, refuse

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.fixture
def client(server: Store) -> Any:
    """A client of the store."""
    return server.client()


@pytest.fixture
def begun(server: Store, key: str) -> Iterator[list[str]]:
    """Keys of three unfinished uploads: two under ``key``, of which the second has two parts, and one beside them."""
    client = server.client()
    keys = [f"{key}/a", f"{key}/b", f"x{key}"]
    ids = [client.create_multipart_upload(Bucket=BUCKET, Key=one)["UploadId"] for one in keys]
    for number, size in ((1, 5 * MIB), (2, 1000)):
        client.upload_part(Bucket=BUCKET, Key=keys[1], UploadId=ids[1], PartNumber=number, Body=data(size))
    yield keys
    for one in keys:
        for upload_id in uploads(client, one):
            client.abort_multipart_upload(Bucket=BUCKET, Key=one, UploadId=upload_id)


def listed(client: Any, prefix: str) -> list[UnfinishedUpload]:
    return sorted(list_uploads(BUCKET, prefix, client=client), key=lambda one: one.key)


def later(client: Any, by: dt.timedelta) -> None:
    """S3's clock is ahead."""

    def move(parsed: dict[str, Any], **_: Any) -> None:
        now = dt.datetime.now(tz=dt.UTC) + by
        parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = format_datetime(now, usegmt=True)

    client.meta.events.register("after-call.s3.ListMultipartUploads", move)


def test_unfinished_uploads_are_listed_with_what_they_hold(client: Any, key: str, begun: list[str]) -> None:
    found = listed(client, key)
    assert [(one.bucket, one.key) for one in found] == [(BUCKET, begun[0]), (BUCKET, begun[1])]
    assert [(one.parts, one.size) for one in found] == [(0, 0), (2, 5 * MIB + 1000)]
    assert [[one.upload_id] for one in found] == [uploads(client, one) for one in begun[:2]]
    assert found[1].active >= found[1].initiated
    assert abs(found[1].age) < HOUR


def test_a_bucket_without_any_has_none(client: Any, key: str) -> None:
    assert listed(client, key) == []


def test_a_store_that_says_of_such_a_bucket_that_the_upload_is_missing_has_none(client: Any, key: str) -> None:
    Wire(client).on("ListMultipartUploads", refuse(404, "NoSuchUpload"))
    assert listed(client, key) == []


def test_all_pages_of_uploads_are_read(running: dict[str, Store], key: str) -> None:
    client = running["rclone"].client()
    keys = [f"{key}/{number}" for number in range(3)]
    for one in keys:
        client.create_multipart_upload(Bucket=BUCKET, Key=one)
    pages = []

    def one_by_one(params: dict[str, Any], **_: Any) -> None:
        params["MaxUploads"] = 1
        pages.append(params)

    client.meta.events.register("provide-client-params.s3.ListMultipartUploads", one_by_one)
    assert [one.key for one in listed(client, key)] == keys
    assert len(pages) >= 3
    assert len(abort_uploads(BUCKET, key, older_than=0 * HOUR, dry_run=False, client=client)) == 3


def test_what_ends_while_it_is_listed_is_left_out(client: Any, key: str, begun: list[str]) -> None:
    found = list_uploads(BUCKET, key, client=client)
    [other] = {*begun[:2]} - {next(found).key}
    client.abort_multipart_upload(Bucket=BUCKET, Key=other, UploadId=uploads(client, other)[0])
    assert list(found) == []


def test_other_prefixes_are_left_out_even_if_the_store_lists_them(client: Any, key: str, begun: list[str]) -> None:
    def forget(params: dict[str, Any], **_: Any) -> None:
        del params["Prefix"]

    client.meta.events.register("provide-client-params.s3.ListMultipartUploads", forget)
    assert [one.key for one in listed(client, f"{key}/b")] == [begun[1]]


def test_nothing_is_aborted_unless_it_is_said_so(client: Any, key: str, begun: list[str]) -> None:
    later(client, DAY)
    assert {one.key for one in abort_uploads(BUCKET, key, older_than=HOUR, client=client)} == {*begun[:2]}
    assert [len(uploads(client, one)) for one in begun] == [1, 1, 1]


def test_old_uploads_under_the_prefix_are_aborted(client: Any, key: str, begun: list[str]) -> None:
    later(client, DAY)
    aborted = abort_uploads(BUCKET, key, older_than=HOUR, dry_run=False, client=client)
    assert {one.key for one in aborted} == {*begun[:2]}
    assert [len(uploads(client, one)) for one in begun] == [0, 0, 1]


def test_an_upload_that_still_gets_parts_is_young_however_long_ago_it_began(
    client: Any, key: str, begun: list[str]
) -> None:
    def long_ago(parsed: dict[str, Any], **_: Any) -> None:
        for upload in parsed.get("Uploads", []):
            upload["Initiated"] -= 30 * DAY

    client.meta.events.register("after-call.s3.ListMultipartUploads", long_ago)
    assert [one.key for one in abort_uploads(BUCKET, key, older_than=DAY, dry_run=False, client=client)] == begun[:1]
    assert [len(uploads(client, one)) for one in begun] == [0, 1, 1]


@pytest.mark.parametrize(
    ("older_than", "kind", "message"),
    [(3600, TypeError, "must be a datetime.timedelta, not int"), (-HOUR, ValueError, "0 or more")],
)
def test_an_impossible_age_is_refused(client: Any, older_than: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        abort_uploads(BUCKET, older_than=older_than, client=client)


@pytest.mark.parametrize(
    ("bucket", "prefix", "kind", "message"),
    [
        ("a b", "", ValueError, "bucket='a b' is not the name of a bucket"),
        (f"s3://{BUCKET}", "", ValueError, "is a URL"),
        (None, "", TypeError, "bucket must be a str, not NoneType"),
        (BUCKET, b"logs/", TypeError, "prefix must be a str, not bytes"),
    ],
)
def test_a_bucket_or_a_prefix_that_can_t_be_is_refused_at_once(
    client: Any, bucket: Any, prefix: Any, kind: type[Exception], message: str
) -> None:
    for function in (list_uploads, cleanup_rules, add_cleanup_rule):
        with pytest.raises(kind, match=message):
            function(bucket, prefix, client=client)
    with pytest.raises(kind, match=message):
        abort_uploads(bucket, prefix, older_than=0 * HOUR, client=client)


def test_those_that_could_not_be_aborted_are_named_and_the_others_are_gone(
    client: Any, key: str, begun: list[str]
) -> None:
    ids = [uploads(client, one)[0] for one in begun]
    wire = Wire(client)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"), nth=1)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"), nth=2)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"), nth=3)
    later(client, DAY)
    with pytest.raises(NotCommittedError) as caught:
        abort_uploads(BUCKET, key, older_than=HOUR, dry_run=False, client=client)
    assert caught.value.upload_id in ids[:2]
    assert sorted(len(uploads(client, one)) for one in begun) == [0, 1, 1]


def test_of_several_that_could_not_be_aborted_all_are_named(client: Any, key: str, begun: list[str]) -> None:
    ids = [uploads(client, one)[0] for one in begun]
    Wire(client).on("AbortMultipartUpload", refuse(403, "AccessDenied"))
    later(client, DAY)
    with pytest.raises(NotCommittedError) as caught:
        abort_uploads(BUCKET, key, older_than=HOUR, dry_run=False, client=client)
    told = [str(caught.value), *caught.value.__notes__]
    assert [len([text for text in told if upload_id in text]) for upload_id in ids] == [1, 1, 0]


def test_what_s3_does_not_tell_is_an_error(client: Any, key: str) -> None:
    Wire(client).on("ListMultipartUploads", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError, match="need the permission s3:ListBucketMultipartUploads"):
        listed(client, key)
    untyped: Any = list_uploads
    with pytest.raises(TypeError, match="ContentType"):
        list(untyped(BUCKET, key, client=client, ContentType="text/csv"))


@pytest.mark.parametrize("fault", ["AccessDenied", "SlowDown", "InternalError"])
@pytest.mark.usefixtures("begun")
def test_an_upload_that_may_be_running_is_not_swept_because_s3_does_not_tell(client: Any, key: str, fault: str) -> None:
    before = client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    Wire(client).on("ListParts", refuse(403, fault))
    with pytest.raises(NotCommittedError):
        abort_uploads(BUCKET, key, older_than=0 * DAY, dry_run=False, client=client)
    assert client.list_multipart_uploads(Bucket=BUCKET)["Uploads"] == before


def test_an_upload_whose_parts_are_not_told_is_as_old_as_it_is(client: Any, key: str, begun: list[str]) -> None:
    Wire(client).on("ListParts", refuse(400, "InvalidRequest"), nth=1)
    found = listed(client, key)
    assert sum(one.parts is None and one.size is None and one.active == one.initiated for one in found) == 1
    assert len(found) == 2
    later(client, DAY)
    assert len(abort_uploads(BUCKET, key, older_than=HOUR, dry_run=False, client=client)) == 2
    assert [len(uploads(client, one)) for one in begun] == [0, 0, 1]


@pytest.fixture(params=["localstack", "seaweedfs", "moto"])
def ruled(request: pytest.FixtureRequest, running: dict[str, Store]) -> Iterator[Any]:
    """A client of a store that keeps lifecycle rules, of which there are none yet."""
    client = running[request.param].client()
    client.delete_bucket_lifecycle(Bucket=BUCKET)
    yield client
    client.delete_bucket_lifecycle(Bucket=BUCKET)


def rules(client: Any) -> list[dict[str, Any]]:
    return list(client.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"])


def test_a_rule_is_added_once_and_found(ruled: Any) -> None:
    assert cleanup_rules(BUCKET, "backups/", client=ruled) == []
    added = add_cleanup_rule(BUCKET, "backups/", days=3, client=ruled)
    assert (added.prefix, added.days) == ("backups/", 3)
    assert cleanup_rules(BUCKET, "backups/today/", client=ruled) == [added]
    assert cleanup_rules(BUCKET, "other/", client=ruled) == []
    assert add_cleanup_rule(BUCKET, "backups/today/", days=7, client=ruled) == added
    [rule] = rules(ruled)
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}
    sooner = add_cleanup_rule(BUCKET, "backups/", days=1, client=ruled)
    assert {*cleanup_rules(BUCKET, "backups/", client=ruled)} == {added, sooner}


def test_rules_that_are_there_stay_as_they_are(ruled: Any) -> None:
    there = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
    off = {
        "ID": "off",
        "Status": "Disabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
    }
    ruled.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [there, off]})
    before = rules(ruled)
    added = add_cleanup_rule(BUCKET, client=ruled)
    assert isinstance(added, CleanupRule)
    assert (added.prefix, added.days) == ("", 7)
    assert rules(ruled)[: len(before)] == before
    assert cleanup_rules(BUCKET, client=ruled) == [added]


def test_a_rule_that_somebody_switched_off_stays_off(ruled: Any) -> None:
    add_cleanup_rule(BUCKET, days=3, client=ruled)
    [rule] = rules(ruled)
    off = {**rule, "Status": "Disabled"}
    ruled.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [off]})
    with pytest.raises(ValueError, match="was disabled or changed"):
        add_cleanup_rule(BUCKET, days=3, client=ruled)
    assert [rule["Status"] for rule in rules(ruled)] == ["Disabled"]


def test_a_bucket_with_rules_of_the_old_form_gets_one_of_that_form(running: dict[str, Store]) -> None:
    client = running["moto"].client()
    sent: list[Any] = []
    old = [{"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}]

    def show(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Rules"] = old

    def keep(params: dict[str, Any], **_: Any) -> None:
        sent.extend(params["LifecycleConfiguration"]["Rules"])

    client.meta.events.register("after-call.s3.GetBucketLifecycleConfiguration", show)
    client.meta.events.register("provide-client-params.s3.PutBucketLifecycleConfiguration", keep)
    Wire(client).on("GetBucketLifecycleConfiguration", answer(200, b"<LifecycleConfiguration/>"))
    add_cleanup_rule(BUCKET, "a/", client=client)
    assert sent[:1] == old
    assert (sent[1]["Prefix"], "Filter" in sent[1]) == ("a/", False)
    client.delete_bucket_lifecycle(Bucket=BUCKET)


def test_a_rule_for_tagged_objects_only_cleans_nothing_up(running: dict[str, Store]) -> None:
    client = running["moto"].client()
    tagged = {"Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}

    def show(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Rules"] = [{**tagged, "Filter": {"Tag": {"Key": "a", "Value": "b"}}}]

    client.meta.events.register("after-call.s3.GetBucketLifecycleConfiguration", show)
    Wire(client).on("GetBucketLifecycleConfiguration", answer(200, b"<LifecycleConfiguration/>"))
    assert cleanup_rules(BUCKET, client=client) == []


def test_what_the_bucket_refuses_is_an_error(running: dict[str, Store]) -> None:
    client = running["moto"].client()
    with pytest.raises(ValueError, match="days=0"):
        add_cleanup_rule(BUCKET, days=0, client=client)
    half: Any = 1.5
    with pytest.raises(TypeError, match="days must be an int"):
        add_cleanup_rule(BUCKET, days=half, client=client)
    wire = Wire(client)
    wire.on("PutBucketLifecycleConfiguration", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError, match="need the permission s3:PutLifecycleConfiguration"):
        add_cleanup_rule(BUCKET, client=client)
    wire.on("GetBucketLifecycleConfiguration", refuse(400, "InvalidRequest"))
    with pytest.raises(S3WriterError) as caught:
        cleanup_rules(BUCKET, client=client)
    assert "Write the object" not in str(caught.value)


def test_an_interrupt_of_several_aborts_names_what_was_aborted_and_what_was_not(
    client: Any, key: str, begun: list[str]
) -> None:
    def interrupt_the_third(request: Any) -> Any:
        if wire.sent.count("AbortMultipartUpload") > 4:
            raise KeyboardInterrupt
        return None

    client.create_multipart_upload(Bucket=BUCKET, Key=f"{key}/c")
    wire = Wire(client)
    wire.on("AbortMultipartUpload", interrupt_the_third)
    for nth in (2, 3, 4):
        wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"), nth=nth)
    with pytest.raises(KeyboardInterrupt) as caught:
        abort_uploads(BUCKET, key, older_than=0 * HOUR, dry_run=False, client=client)
    said = "\n".join(caught.value.__notes__)
    assert "aborted before: " in said
    assert said.count("could not be aborted") == 2
    wire.on("AbortMultipartUpload", lambda request: None)
    abort_uploads(BUCKET, f"{key}/c", older_than=0 * HOUR, dry_run=False, client=client)
