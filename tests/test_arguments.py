"""Bad input gets a clear error at once, before S3 hears of it, and good input goes where it belongs."""

import base64
import hashlib
import inspect
import os
import re
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest

import s3writer
from s3writer import MultipartUploadWriter
from s3writer.segments import SegmentedUpload
from s3writer.testing import MemoryS3
from tests.helpers import MIB, content, data, writer
from tests.stores import BUCKET
from tests.wire import Wire

OWNER = "123456789012"
KEY_MD5 = base64.b64encode(hashlib.md5(b"k" * 32).digest()).decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ContentTyp": "text/plain"}, "ContentTyp .* did you mean ContentType"),
        ({"content_type": "text/plain"}, "content_type .* did you mean ContentType"),
        ({"sse_customer_key": b"k"}, "did you mean SSECustomerKey"),
        ({"part_sise": 5 * MIB}, "did you mean part_size"),
        ({"xyzzy": 1}, "^xyzzy is not an option of the writer or an argument of S3$"),
        ({"IfNoneMatch": "*"}, "IfNoneMatch .* use exclusive=True"),
        ({"ChecksumAlgorithm": "SHA1"}, "ChecksumAlgorithm .* use checksum="),
        ({"ChecksumCRC32": "AAAAAA=="}, "ChecksumCRC32 .* use checksum="),
        ({"compression": "gzip"}, "compression .* use s3writer.open"),
        ({"Body": b"bytes"}, "Body .* write to the writer"),
        ({"Bucket": "other"}, "Bucket .* first positional"),
        ({"ContentLength": 5}, "ContentLength .* the writer sets it"),
        ({"Range": "bytes=0-1"}, "Range is not an option"),
        ({"progress": "no"}, "progress must be callable, not str"),
        ({"client": "s3"}, "client must be a boto3 S3 client, not str"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(client: Any, key: str, arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        MultipartUploadWriter(BUCKET, key, **{"client": client, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ContentType": 5}, "ContentType must be a str, not int"),
        ({"Metadata": {"n": 5, "text": "x"}}, "Metadata must be a dict of str, not dict of int, str"),
        ({"Metadata": None}, "Metadata must be a dict of str, not None"),
        ({"Metadata": []}, "Metadata must be a dict of str, not list"),
        ({"SSECustomerKey": 5}, "SSECustomerKey must be a str or bytes, not int"),
        ({"SSECustomerKey": b"k", "SSECustomerKeyMD5": "m"}, "SSECustomerKey must be base64 text"),
        ({"SSECustomerKey": "a2V5\n", "SSECustomerKeyMD5": "m"}, "SSECustomerKey must be base64 text"),
        ({"SSECustomerKey": ""}, "SSECustomerKey is 0 bytes long; S3 takes 32"),
        ({"ContentType": "text/csv\n"}, "ContentType holds a control character"),
        ({"Metadata": {"name": "two\r\nlines"}}, "Metadata holds a control character"),
        ({"Metadata": {"two words": ""}}, "Metadata must have names"),
        ({"Metadata": {"name": "ü"}}, "Metadata must have names .* values in ASCII.* urllib.parse.quote"),
        ({"BucketKeyEnabled": "yes"}, "BucketKeyEnabled must be a bool, not str"),
        ({"ObjectLockRetainUntilDate": "soon"}, "ObjectLockRetainUntilDate must be a datetime, not str"),
        ({"part_size": 1}, "part_size=1 .* 5 MiB to 5 GiB"),
        ({"checksum": "MD4"}, "checksum='MD4'"),
        ({"encoding": "no-such"}, "encoding='no-such'"),
        ({"encoding": "base64"}, "encoding='base64'"),
    ],
)
def test_an_impossible_value_is_refused_by_name(client: Any, key: str, arguments: Any, message: str) -> None:
    wire = Wire(client)
    with pytest.raises(ValueError, match=message):
        writer(client, key, **arguments)
    assert wire.sent == []


@pytest.mark.parametrize(
    ("bucket", "key", "error", "message"),
    [
        (
            "",
            "key",
            ValueError,
            "^bucket='' is not the name of a bucket: .* an access point$",
        ),
        ("no/slash", "key", ValueError, "bucket='no/slash' .* an access point. The bucket comes first, then the key$"),
        ("s3://bucket", "key", ValueError, "is a URL: give the bucket's name and the key, or use s3writer.open"),
        (None, "key", TypeError, "bucket must be a str"),
        (BUCKET, "", ValueError, "key is 0 bytes .* 1 to 1024"),
        (BUCKET, "ü" * 513, ValueError, "key is 1026 bytes .* 1 to 1024"),
        (BUCKET, b"key", TypeError, "key must be a str"),
    ],
)
def test_an_impossible_address_is_refused(client: Any, bucket: Any, key: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        MultipartUploadWriter(bucket, key, client=client)


def test_a_url_in_the_place_of_bucket_and_key_is_told_of_open() -> None:
    untyped: Any = MultipartUploadWriter
    with pytest.raises(
        TypeError, match=r"^'s3://bucket/key' is a URL: use s3writer.open\(url\), or give the bucket and"
    ):
        untyped("s3://bucket/key")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'key'"):
        untyped("bucket")
    parameters = list(inspect.signature(MultipartUploadWriter).parameters)
    assert parameters[:3] == ["bucket", "key", "client"]


class AioClient:
    """Stands in for one of aiobotocore, which has botocore's ``meta``."""

    __module__ = "aiobotocore.client"

    def __init__(self, client: Any) -> None:
        self.meta = client.meta


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda _: boto3.client("sqs", region_name="us-east-1"), 'not SQS: make one with boto3.client("s3")'),
        (lambda _: boto3.resource("s3", region_name="us-east-1"), "not s3.ServiceResource: pass its meta.client"),
        (lambda _: boto3.Session(region_name="us-east-1"), 'not Session: make one with boto3.client("s3")'),
        (lambda client: client.get_paginator("list_parts"), "not S3.Paginator.ListParts: make one with"),
        (AioClient, "not an aiobotocore client: make one with"),
    ],
    ids=["another service's", "a resource", "a session", "a paginator", "aiobotocore's"],
)
def test_what_is_no_client_of_boto3_for_s3_is_refused_with_what_to_pass(
    client: Any, key: str, make: Callable[[Any], Any], hint: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(f"client must be a boto3 S3 client, {hint}")):
        MultipartUploadWriter(BUCKET, key, client=make(client))


@pytest.mark.parametrize("name", ["s3_client", "writebuffer", "lock", "executor"])
@pytest.mark.parametrize("make", [threading.Lock, tempfile.TemporaryFile, lambda: boto3.client("s3", region_name="x")])
def test_an_unknown_name_is_refused_whatever_its_value(
    client: Any, key: str, name: str, make: Callable[[], Any]
) -> None:
    value = make()
    with pytest.raises(TypeError, match=f"^{name} is not an option of the writer or an argument of S3"):
        MultipartUploadWriter(BUCKET, key, client=client, **{name: value})
    with pytest.raises(ValueError, match=r"^Metadata must be a dict of str, not "):
        MultipartUploadWriter(BUCKET, key, client=client, Metadata=value)
    if hasattr(value, "close"):
        value.close()


NO_UNICODE = os.fsdecode(b"Gr\xfc\xdfe")


@pytest.mark.parametrize(
    "arguments",
    [
        {"ContentType": NO_UNICODE},
        {"ContentDisposition": f"attachment; filename={NO_UNICODE}"},
        {"Metadata": {"name": NO_UNICODE}},
        {"Metadata": {NO_UNICODE: "value"}},
        {"Tagging": f"name={NO_UNICODE}"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_text_that_is_no_unicode_is_refused_by_name(client: Any, key: str, arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"^{name} holds a lone surrogate"):
        writer(client, key, **arguments)


@pytest.mark.parametrize(
    "name", ["\x00", "a\x01b", "line\nline", "a\rb", "\x1f", "\x7f", "\ufffe", "\uffff", NO_UNICODE], ids=ascii
)
def test_a_key_that_can_not_be_named_in_xml_is_refused(client: Any, name: str) -> None:
    with pytest.raises(ValueError, match=r"^key=.* holds a (control character|lone surrogate)"):
        writer(client, name)


@pytest.mark.parametrize("name", ["a/../b", "../b", "a/..", ".", "a/./b", "./b", ".."])
def test_a_key_that_proxies_fold_is_refused_unless_it_is_insisted_on(client: Any, name: str) -> None:
    with pytest.raises(ValueError, match=r"^key=.* allow_dot_segments=True allows it"):
        writer(client, name)
    with pytest.raises(ValueError, match="allow_dot_segments"):
        SegmentedUpload.begin(BUCKET, name, segments=1)
    writer(client, name, allow_dot_segments=True).abort()
    with MemoryS3(BUCKET) as s3:
        SegmentedUpload.begin(BUCKET, name, segments=1, allow_dot_segments=True).abort()
        assert s3.unfinished == []


@pytest.mark.parametrize("name", ["a..b", ".hidden", "a/.b/c.", "...", "a/.../b"])
def test_dots_within_a_name_are_no_segments(client: Any, name: str) -> None:
    writer(client, name).abort()


def test_each_argument_goes_to_every_call_that_takes_it_and_to_no_other(client: Any, key: str) -> None:
    wire = Wire(client)
    header = "x-amz-expected-bucket-owner"
    with pytest.raises(RuntimeError), writer(client, key, ExpectedBucketOwner=OWNER, ContentType="text/csv") as stream:
        stream.write(data(6 * MIB))
        raise RuntimeError
    with writer(client, key, ExpectedBucketOwner=OWNER, ContentType="text/csv") as stream:
        stream.write(data(6 * MIB))
    assert all(header in request.headers for request in wire.requests)
    assert {"AbortMultipartUpload", "ListParts", "CompleteMultipartUpload"} < set(wire.sent)
    typed = {
        name
        for name, sent in zip(wire.sent, wire.requests, strict=True)
        if sent.headers.get("Content-Type") == b"text/csv"
    }
    assert typed == {"CreateMultipartUpload"}


def test_a_condition_goes_to_the_commit_alone(client: Any, key: str) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=b"old")
    etag = client.head_object(Bucket=BUCKET, Key=key)["ETag"]
    wire = Wire(client)
    with writer(client, key, IfMatch=etag) as stream:
        stream.write(data(6 * MIB))
    conditional = [name for name, sent in zip(wire.sent, wire.requests, strict=True) if "If-Match" in sent.headers]
    assert conditional == ["CompleteMultipartUpload"]
    assert content(client, key) == data(6 * MIB)


def test_a_condition_that_does_not_hold_is_told(client: Any, key: str) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=b"old")
    with pytest.raises(s3writer.PreconditionFailedError), writer(client, key, IfMatch='"other"') as stream:
        stream.write(b"new")
    assert content(client, key) == b"old"


@pytest.mark.parametrize("key_material", [b"k" * 32, "k" * 32, bytearray(b"k" * 32)])
def test_a_customer_key_goes_to_each_call_in_the_same_form(client: Any, key: str, key_material: Any) -> None:
    wire = Wire(client)
    stream = writer(client, key, SSECustomerAlgorithm="AES256", SSECustomerKey=key_material)
    stream.write(data(6 * MIB))
    while "UploadPart" not in wire.sent:
        pass
    stream.abort()
    name = "x-amz-server-side-encryption-customer-key"
    sent = {operation: request.headers.get(name) for operation, request in zip(wire.sent, wire.requests, strict=True)}
    assert {sent["CreateMultipartUpload"], sent["UploadPart"], sent["ListParts"]} == {base64.b64encode(b"k" * 32)}


def test_a_customer_key_that_comes_with_its_md5_is_left_as_it_is(client: Any, key: str) -> None:
    text = base64.b64encode(b"k" * 32).decode()
    given = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": text, "SSECustomerKeyMD5": KEY_MD5}
    with writer(client, key, **given) as stream:
        stream.write(b"secret")
    read = client.get_object(Bucket=BUCKET, Key=key, SSECustomerAlgorithm="AES256", SSECustomerKey=b"k" * 32)
    assert read["Body"].read() == b"secret"


def test_arguments_may_change_after_the_writer_was_made(client: Any, key: str) -> None:
    metadata = {"origin": "then"}
    with writer(client, key, Metadata=metadata) as stream:
        metadata["origin"] = "now"
        stream.write(b"x")
    assert client.head_object(Bucket=BUCKET, Key=key)["Metadata"]["origin"] == "then"
