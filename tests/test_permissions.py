"""The policy of docs/permissions.md is enough, and each action is needed for what the page says: moto enforces it."""

import json
import re
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from s3writer import (
    AccessDeniedError,
    MultipartUploadWriter,
    NotCommittedError,
    OutcomeUnknownError,
    add_cleanup_rule,
    list_uploads,
)
from tests.helpers import MIB, Boom, data, logged
from tests.stores import KEY_ID, REGION, SECRET, STORES, Store
from tests.wire import Wire

PAGE = (Path(__file__).parent.parent / "docs" / "permissions.md").read_text()
BUCKET, KEY = "my-bucket", "exports/key"
LOOKING = ["s3:GetObject", "s3:ListBucket"]

Allowed = Callable[[list[str]], Any]


def page_s_actions() -> list[str]:
    (policy,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (statement,) = json.loads(policy)["Statement"]
    assert statement["Resource"] == f"arn:aws:s3:::{BUCKET}/exports/*"
    return list(statement["Action"])


@pytest.fixture(scope="module")
def enforcing() -> Iterator[Store]:
    """A store that asks IAM."""
    with STORES["moto"]() as store:
        store.client().create_bucket(Bucket=BUCKET)
        yield store


def enforce(store: Store, yes: bool) -> None:
    url, plain = f"{store.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, data=b"0" if yes else b"inf", headers=plain)
    urllib.request.urlopen(request).close()


@pytest.fixture
def allowed(enforcing: Store) -> Iterator[Allowed]:
    """Makes a client of a user who may do what is named, and nothing else."""
    keys = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}
    iam = boto3.client("iam", endpoint_url=enforcing.endpoint, region_name=REGION, **keys)
    users: list[str] = []

    def make(actions: list[str]) -> Any:
        enforce(enforcing, yes=False)
        name = uuid.uuid4().hex
        users.append(name)
        iam.create_user(UserName=name)
        statement = {
            "Effect": "Allow",
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/exports/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="page", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        enforce(enforcing, yes=True)
        return enforcing.client(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])

    yield make
    enforce(enforcing, yes=False)
    for name in users:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="page")
        iam.delete_user(UserName=name)
    client = enforcing.client()
    client.delete_object(Bucket=BUCKET, Key=KEY)
    for left in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=left["Key"], UploadId=left["UploadId"])


def publish(client: Any, size: int) -> MultipartUploadWriter:
    with MultipartUploadWriter(BUCKET, KEY, client=client) as stream:
        stream.write(data(size))
    return stream


def fail(client: Any) -> BaseException:
    with logged(), pytest.raises(Boom) as caught, MultipartUploadWriter(BUCKET, KEY, client=client) as stream:
        stream.write(data(6 * MIB))
        raise Boom
    return caught.value


def unfinished(store: Store) -> list[Any]:
    enforce(store, yes=False)
    return list(store.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_the_page_s_policy_is_enough_to_publish(allowed: Allowed, size: int) -> None:
    assert publish(allowed(page_s_actions()), size).result.size == size


def test_the_page_s_policy_is_enough_to_leave_nothing_behind(allowed: Allowed, enforcing: Store) -> None:
    error = fail(allowed(page_s_actions()))
    assert not any("could not be aborted" in note for note in error.__notes__)
    assert unfinished(enforcing) == []


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_nothing_is_written_without_put_object(allowed: Allowed, size: int) -> None:
    rest = [action for action in page_s_actions() if action != "s3:PutObject"]
    with pytest.raises(AccessDeniedError):
        publish(allowed(rest), size)


def test_without_the_permission_to_abort_the_upload_that_is_left_is_named(allowed: Allowed, enforcing: Store) -> None:
    error = fail(allowed(["s3:PutObject", "s3:ListMultipartUploadParts"]))
    (left,) = unfinished(enforcing)
    assert any(left["UploadId"] in note for note in error.__notes__)


def test_without_the_permission_to_list_parts_uploads_are_aborted_all_the_same(
    allowed: Allowed, enforcing: Store
) -> None:
    fail(allowed(["s3:PutObject", "s3:AbortMultipartUpload"]))
    assert unfinished(enforcing) == []


def test_without_the_permission_to_list_parts_an_abort_says_what_it_did(allowed: Allowed, enforcing: Store) -> None:
    client = allowed(["s3:PutObject", "s3:AbortMultipartUpload"])
    stream = MultipartUploadWriter(BUCKET, KEY, client=client)
    stream.write(data(6 * MIB))
    pending = stream.prepare()
    assert pending.abort(client=client)
    assert not pending.abort(client=client)
    assert unfinished(enforcing) == []


def test_an_upload_is_resumed_only_with_the_permission_to_list_parts(allowed: Allowed, enforcing: Store) -> None:
    client = allowed(page_s_actions())
    with logged(), pytest.raises(Boom), MultipartUploadWriter(BUCKET, KEY, client=client, on_error="keep") as stream:
        stream.write(data(6 * MIB))
        raise Boom
    (left,) = unfinished(enforcing)
    enforce(enforcing, yes=True)
    resumed = MultipartUploadWriter.resume(BUCKET, KEY, left["UploadId"], client=client)
    assert resumed.tell() in (0, 5 * MIB)
    resumed.abort()
    with pytest.raises(NotCommittedError):
        MultipartUploadWriter.resume(BUCKET, KEY, left["UploadId"], client=allowed(["s3:PutObject"]))


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_a_lost_answer_is_settled_only_with_the_permission_to_look(allowed: Allowed, size: int) -> None:
    for actions in (page_s_actions() + LOOKING, page_s_actions()):
        client = allowed(actions)
        wire = Wire(client)
        wire.on("PutObject" if size < MIB else "CompleteMultipartUpload", wire.lose_answer)
        if LOOKING[0] in actions:
            assert publish(client, size).result.size == size
        else:
            with pytest.raises(OutcomeUnknownError):
                publish(client, size)


def test_looking_for_what_was_left_and_cleaning_up_are_the_bucket_s_permissions(allowed: Allowed) -> None:
    wanted = ["s3:ListBucketMultipartUploads", "s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"]
    client = allowed(wanted)
    assert list(list_uploads(BUCKET, client=client)) == []
    add_cleanup_rule(BUCKET, "exports/", days=7, client=client)
    with pytest.raises(AccessDeniedError):
        list(list_uploads(BUCKET, client=allowed(["s3:PutObject"])))
    with pytest.raises(AccessDeniedError):
        add_cleanup_rule(BUCKET, "exports/", days=3, client=allowed(["s3:GetLifecycleConfiguration"]))
