"""`s3writer.testing`: what users test their own code with. That it behaves like a store is in the conformance suite."""

import base64
import contextlib
import gzip
import hashlib
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import s3writer
from s3writer import (
    AccessDeniedError,
    ConnectionFailedError,
    KeyExistsError,
    MultipartUploadWriter,
    NotCommittedError,
    OutcomeUnknownError,
    PreconditionFailedError,
    ThrottledError,
)
from s3writer.testing import MemoryS3
from tests.helpers import MIB, Boom, data, logged

URL = "s3://bucket/dir/Grüße & Co.bin"
KEY = "dir/Grüße & Co.bin"


def export(size: int, **options: Any) -> MultipartUploadWriter:
    """Code as users have it: it makes its writer itself, and gives it no client."""
    with MultipartUploadWriter("bucket", KEY, **options) as stream:
        stream.write(data(size))
    return stream


@pytest.mark.parametrize(
    ("size", "calls"),
    [
        (0, ["PutObject"]),
        (1000, ["PutObject"]),
        (11 * MIB, ["CreateMultipartUpload", "UploadPart", "UploadPart", "UploadPart", "CompleteMultipartUpload"]),
    ],
)
def test_a_writer_without_a_client_writes_to_memory(size: int, calls: list[str]) -> None:
    with MemoryS3("bucket") as s3:
        export(size)
    assert s3.objects == {URL: data(size)}
    assert s3.unfinished == []
    assert s3.calls == calls


def test_what_stands_around_it_comes_back_afterwards() -> None:
    with MemoryS3("bucket") as outer:
        with MemoryS3("bucket") as inner:
            export(1)
        export(2)
    assert (inner.objects, outer.objects) == ({URL: data(1)}, {URL: data(2)})


@pytest.mark.parametrize(
    ("call", "size"), [("PutObject", 1), ("UploadPart", 6 * MIB), ("CompleteMultipartUpload", 6 * MIB)]
)
@pytest.mark.parametrize(("code", "kind"), [("AccessDenied", AccessDeniedError), ("SlowDown", ThrottledError)])
def test_a_call_that_is_refused_publishes_nothing(call: str, size: int, code: str, kind: type[Exception]) -> None:
    with MemoryS3("bucket") as s3:
        s3.refuse(call, code)
        with pytest.raises(kind):
            export(size)
    assert (s3.objects, s3.unfinished) == ({}, [])


def test_only_the_call_that_was_named_fails() -> None:
    with MemoryS3("bucket") as s3:
        s3.refuse("PutObject", "AccessDenied", nth=2)
        export(1)
        with pytest.raises(AccessDeniedError):
            export(2)
        assert s3.objects == {URL: data(1)}
        export(3)
    assert s3.objects == {URL: data(3)}


@pytest.mark.parametrize(("call", "size"), [("PutObject", 1), ("UploadPart", 6 * MIB)])
def test_a_connection_can_break(call: str, size: int) -> None:
    with MemoryS3("bucket") as s3:
        s3.cut(call)
        with pytest.raises(ConnectionFailedError):
            export(size)
    assert (s3.objects, s3.unfinished) == ({}, [])


@pytest.mark.parametrize(("call", "size"), [("PutObject", 1), ("CompleteMultipartUpload", 6 * MIB)])
def test_an_answer_can_get_lost_and_is_looked_up(call: str, size: int) -> None:
    with MemoryS3("bucket") as s3:
        s3.lose_answer(call)
        assert export(size).result.size == size
    assert s3.objects == {URL: data(size)}
    assert s3.calls[-1] == "HeadObject"


def test_an_outcome_can_be_unknown() -> None:
    with MemoryS3("bucket") as s3:
        s3.lose_answer("PutObject")
        s3.refuse("HeadObject", "AccessDenied")
        with pytest.raises(OutcomeUnknownError):
            export(1)
    assert s3.objects == {URL: data(1)}


def test_what_can_not_be_aborted_is_unfinished() -> None:
    with MemoryS3("bucket") as s3, logged():
        s3.refuse("AbortMultipartUpload", "AccessDenied")
        with pytest.raises(Boom), MultipartUploadWriter("bucket", KEY) as stream:
            stream.write(data(6 * MIB))
            raise Boom
        assert s3.unfinished == [URL]
        (found,) = s3writer.list_uploads("bucket")
    assert found.key == KEY


def test_a_fault_that_can_not_be_is_refused_at_once() -> None:
    s3 = MemoryS3("bucket")
    with pytest.raises(ValueError, match="call='upload_part' is not one of S3's, such as UploadPart"):
        s3.refuse("upload_part", "AccessDenied")
    with pytest.raises(ValueError, match="nth=0 is not counted from 1"):
        s3.cut("UploadPart", nth=0)


@pytest.mark.parametrize("size", [1, 6 * MIB])
def test_conditions_are_those_of_s3(size: int) -> None:
    with MemoryS3("bucket") as s3:
        etag = export(size).result.etag
        with pytest.raises(KeyExistsError):
            export(size, exclusive=True)
        with pytest.raises(PreconditionFailedError):
            export(size, IfMatch='"another"')
        export(size + 1, IfMatch=etag)
    assert s3.objects == {URL: data(size + 1)}
    assert s3.unfinished == []


@pytest.mark.parametrize("size", [1, 6 * MIB])
def test_a_condition_on_nothing_is_not_met(size: int) -> None:
    with MemoryS3("bucket") as s3, pytest.raises(PreconditionFailedError, match="NoSuchKey"):
        export(size, IfMatch='"etag"')
    assert (s3.objects, s3.unfinished) == ({}, [])


def test_the_code_s_own_client_can_be_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    s3 = MemoryS3("bucket")
    s3.attach(theirs)
    with MultipartUploadWriter("bucket", KEY, client=theirs, checksum=None, ContentEncoding="gzip") as stream:
        stream.write(gzip.compress(data(6 * MIB)))
    theirs.put_object(Bucket="bucket", Key="plain", Body=io.BytesIO(b"theirs"))
    assert gzip.decompress(s3.objects[URL]) == data(6 * MIB)
    assert s3.objects["s3://bucket/plain"] == b"theirs"
    assert theirs.head_object(Bucket="bucket", Key=KEY)["ContentEncoding"] == "gzip"


def test_its_client_reads_lists_and_deletes() -> None:
    s3 = MemoryS3("bucket", "other")
    s3.client.put_object(Bucket="bucket", Key=KEY, Body=b"12345", Metadata={"a": "b"}, ContentType="text/csv")
    answer = s3.client.get_object(Bucket="bucket", Key=KEY)
    assert (answer["Body"].read(), answer["Metadata"], answer["ContentType"]) == (b"12345", {"a": "b"}, "text/csv")
    listed = s3.client.list_objects_v2(Bucket="bucket", Prefix="dir/")
    assert [(one["Key"], one["Size"]) for one in listed["Contents"]] == [(KEY, 5)]
    assert "Contents" not in s3.client.list_objects_v2(Bucket="other")
    s3.client.delete_object(Bucket="bucket", Key=KEY)
    assert s3.objects == {}


@pytest.mark.parametrize(
    ("call", "arguments", "code"),
    [
        ("put_object", {"Bucket": "none", "Key": "k"}, "NoSuchBucket"),
        ("get_object", {"Bucket": "bucket", "Key": "k"}, "NoSuchKey"),
        ("head_object", {"Bucket": "bucket", "Key": "k"}, "404"),
        ("copy_object", {"Bucket": "bucket", "Key": "k", "CopySource": "a/b"}, "NotImplemented"),
        ("abort_multipart_upload", {"Bucket": "bucket", "Key": "k", "UploadId": "u"}, "NoSuchUpload"),
        ("put_object", {"Bucket": "bucket", "Key": "k", "Body": b"x", "ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
    ],
)
def test_what_s3_refuses_is_refused(call: str, arguments: dict[str, Any], code: str) -> None:
    s3 = MemoryS3("bucket")
    with pytest.raises(ClientError) as caught:
        getattr(s3.client, call)(**arguments)
    assert caught.value.response["Error"]["Code"] == code


def upload(s3: MemoryS3, *bodies: bytes, **arguments: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    named = {"Bucket": "bucket", "Key": KEY}
    named["UploadId"] = s3.client.create_multipart_upload(**named, **arguments)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.client.upload_part(**named, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, start=1)
    ]
    return named, parts


@pytest.mark.parametrize(
    ("bodies", "change", "arguments", "code"),
    [
        ((b"small", b"last"), lambda parts: parts, {}, "EntityTooSmall"),
        ((b"a",), lambda parts: [], {}, "MalformedXML"),
        ((b"a", b"b"), lambda parts: parts[::-1], {}, "InvalidPartOrder"),
        ((b"a",), lambda parts: [{"PartNumber": 1, "ETag": "other"}], {}, "InvalidPart"),
        ((b"a",), lambda parts: [{"PartNumber": 2, "ETag": "none"}], {}, "InvalidPart"),
        ((b"a",), lambda parts: [parts[0] | {"ChecksumCRC32": "AAAAAA=="}], {}, "InvalidPart"),
        ((b"a",), lambda parts: [parts[0] | {"ChecksumCRC32": "6Le+Qw=="}], {}, "InvalidPart"),  # none was declared
        ((b"a",), lambda parts: parts, {"MpuObjectSize": 2}, "InvalidRequest"),
        ((b"a",), lambda parts: parts, {"ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
    ],
)
def test_parts_that_make_no_object_are_refused(bodies: Any, change: Any, arguments: dict[str, Any], code: str) -> None:
    s3 = MemoryS3("bucket")
    named, parts = upload(s3)
    parts = []
    for number, body in enumerate(bodies, start=1):
        sent = s3.client.upload_part(**named, PartNumber=number, Body=body, ChecksumCRC32=crc32(body))
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    with pytest.raises(ClientError) as caught:
        s3.client.complete_multipart_upload(**named, MultipartUpload={"Parts": change(parts)}, **arguments)
    assert caught.value.response["Error"]["Code"] == code
    assert (s3.objects, s3.unfinished) == ({}, [URL])


def crc32(body: bytes) -> str:
    digest = s3writer._s3.checksums.algorithms()["CRC32"].start()
    digest.update(memoryview(body))
    return digest.value()


def test_a_part_number_that_can_not_be_is_refused() -> None:
    s3 = MemoryS3("bucket")
    named, _ = upload(s3)
    with pytest.raises(ClientError, match="between 1 and 10000"):
        s3.client.upload_part(**named, PartNumber=10_001, Body=b"")


def test_the_key_of_sse_c_must_be_given_again() -> None:
    s3 = MemoryS3("bucket")
    secret = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    named, _ = upload(s3, **secret)
    with pytest.raises(ClientError, match="key of SSE-C"):
        s3.client.upload_part(**named, PartNumber=1, Body=b"")
    s3.client.put_object(Bucket="bucket", Key=KEY, Body=b"secret", **secret)
    with pytest.raises(ClientError, match="key of SSE-C"):
        s3.client.get_object(Bucket="bucket", Key=KEY)
    assert s3.client.get_object(Bucket="bucket", Key=KEY, **secret)["Body"].read() == b"secret"


class Dribble(io.BytesIO):
    """A file that gives little at first."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(100 if self.tell() == 0 else size)


def test_a_short_chunk_is_taken_as_the_last_one_only() -> None:
    s3 = MemoryS3("bucket")
    with pytest.raises(ClientError, match="InvalidChunkSizeError"):
        s3.client.put_object(Bucket="bucket", Key=KEY, Body=Dribble(bytes(10_000)), ChecksumAlgorithm="CRC32")
    s3.client.put_object(Bucket="bucket", Key=KEY, Body=Dribble(bytes(100)), ChecksumAlgorithm="CRC32")
    assert s3.objects == {URL: bytes(100)}


def test_what_is_kept_between_short_writes_goes_out_in_chunks_that_s3_takes() -> None:
    theirs = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    s3, payload = MemoryS3("bucket"), data(MIB)
    s3.attach(theirs)
    with MultipartUploadWriter("bucket", KEY, client=theirs, checksum=None) as stream:
        for _ in range(12):
            stream.write(b"header")
            stream.write(payload)
    assert s3.objects == {URL: (b"header" + payload) * 12}


def test_an_upload_is_resumed_in_memory() -> None:
    with MemoryS3("bucket") as s3, logged():
        with pytest.raises(Boom), MultipartUploadWriter("bucket", KEY, on_error="keep") as stream:
            stream.write(data(11 * MIB))
            raise Boom
        (found,) = s3writer.list_uploads("bucket")
        with MultipartUploadWriter.resume("bucket", KEY, found.upload_id) as again:
            again.write(data(11 * MIB)[again.tell() :])
    assert s3.objects == {URL: data(11 * MIB)}


def test_a_client_talks_to_the_store_that_it_was_attached_to_last() -> None:
    theirs = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    one, two = MemoryS3("bucket"), MemoryS3("bucket")
    one.attach(theirs)
    two.attach(theirs)
    export(3, client=theirs)
    assert (one.objects, two.objects) == ({}, {URL: data(3)})
    two.refuse("PutObject", "AccessDenied")
    with pytest.raises(AccessDeniedError):
        export(4, client=theirs)


def test_the_same_store_may_be_entered_again() -> None:
    with MemoryS3("bucket") as s3:
        with s3:
            export(1)
        export(2)
    assert s3.objects == {URL: data(2)}


def test_overlapping_blocks_leave_each_store_its_time() -> None:
    first, second = MemoryS3("bucket"), MemoryS3("bucket")
    first.__enter__()
    second.__enter__()
    first.__exit__()
    export(1)
    second.__exit__()
    with MemoryS3("bucket") as third:
        export(2)
    assert (first.objects, second.objects, third.objects) == ({}, {URL: data(1)}, {URL: data(2)})


@pytest.mark.parametrize(
    "options",
    [
        {"config": Config(s3={"use_accelerate_endpoint": True})},
        {"config": Config(use_fips_endpoint=True, s3={"addressing_style": "virtual"})},
        {"config": Config(use_dualstack_endpoint=True)},
        {"endpoint_url": "http://localhost:9000/some/path"},
    ],
    ids=["accelerate", "FIPS", "dual stack", "path"],
)
def test_a_client_s_endpoint_may_have_any_form(options: dict[str, Any]) -> None:
    given = {"region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b", **options}
    client, s3 = boto3.client("s3", **given), MemoryS3("bucket")
    s3.attach(client)
    export(11 * MIB, client=client)
    assert s3.objects == {URL: data(11 * MIB)}


def test_stores_that_threads_make_at_once_know_nothing_of_each_other() -> None:
    def make(number: int) -> MemoryS3:
        s3 = MemoryS3("bucket")
        s3.client.put_object(Bucket="bucket", Key=str(number), Body=b"")
        return s3

    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(make, range(16)))
    assert [list(s3.objects) for s3 in stores] == [[f"s3://bucket/{number}"] for number in range(16)]


def test_no_profile_of_the_environment_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    with MemoryS3("bucket") as s3:
        export(1)
    assert s3.objects == {URL: data(1)}


@pytest.mark.parametrize(
    ("asked", "expected"), [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")]
)
def test_a_range_is_a_range(asked: str, expected: bytes) -> None:
    s3 = MemoryS3("bucket")
    s3.client.put_object(Bucket="bucket", Key=KEY, Body=b"0123456789")
    answer = s3.client.get_object(Bucket="bucket", Key=KEY, Range=asked)
    assert answer["Body"].read() == expected
    assert answer["ContentRange"].endswith("/10")


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,3-4"])
def test_what_is_no_range_is_ignored(asked: str) -> None:
    s3 = MemoryS3("bucket")
    s3.client.put_object(Bucket="bucket", Key=KEY, Body=b"0123456789")
    assert s3.client.get_object(Bucket="bucket", Key=KEY, Range=asked)["Body"].read() == b"0123456789"


def test_boto3_downloads_in_ranges() -> None:
    with MemoryS3("bucket") as s3:
        export(20 * MIB)
    found = io.BytesIO()
    s3.client.download_fileobj("bucket", KEY, found)
    assert found.getvalue() == data(20 * MIB)


@pytest.mark.parametrize(
    ("call", "arguments", "code"),
    [
        ("get_object", {"Key": KEY, "Range": "bytes=10-"}, "InvalidRange"),
        ("get_object", {"Key": KEY, "Range": "bytes=-0"}, "InvalidRange"),
        ("get_object", {"Key": KEY, "VersionId": "1"}, "NotImplemented"),
        ("get_object", {"Key": KEY, "PartNumber": 1}, "NotImplemented"),
        ("get_object", {"Key": KEY, "IfNoneMatch": '"other"'}, "NotImplemented"),
        ("delete_object", {"Key": KEY, "IfMatch": '"other"'}, "NotImplemented"),
        ("put_object", {"Key": KEY, "Body": b"x", "WriteOffsetBytes": 10}, "NotImplemented"),
        ("get_object", {"Key": KEY, "IfMatch": '"other"'}, "PreconditionFailed"),
        ("list_objects_v2", {"MaxKeys": 1}, "NotImplemented"),
        ("list_objects_v2", {"Delimiter": "/"}, "NotImplemented"),
        ("put_object", {"Key": KEY, "Body": b"x", "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "BadDigest"),
    ],
)
def test_what_is_not_known_is_refused(call: str, arguments: dict[str, Any], code: str) -> None:
    s3 = MemoryS3("bucket")
    s3.client.put_object(Bucket="bucket", Key=KEY, Body=b"0123456789")
    with pytest.raises(ClientError) as caught:
        getattr(s3.client, call)(Bucket="bucket", **arguments)
    assert caught.value.response["Error"]["Code"] == code


def test_a_key_of_any_characters_is_listed() -> None:
    odd = "a\x01b\rc & d"
    s3 = MemoryS3("bucket")
    s3.client.put_object(Bucket="bucket", Key=odd, Body=b"")
    assert [one["Key"] for one in s3.client.list_objects_v2(Bucket="bucket")["Contents"]] == [odd]


def test_a_commit_that_is_sent_again_is_answered_again() -> None:
    with MemoryS3("bucket") as s3:
        stream = MultipartUploadWriter("bucket", KEY, commit_token=False)
        stream.write(b"12345")
        pending = stream.prepare()
        assert pending.commit().etag == pending.commit().etag
    assert s3.objects == {URL: b"12345"}


def test_a_refusal_can_get_lost_as_well() -> None:
    with MemoryS3("bucket") as s3:
        export(1)
        s3.lose_answer("PutObject")
        with pytest.raises(OutcomeUnknownError):
            export(2, exclusive=True, commit_token=False)
    assert s3.objects == {URL: data(1)}


def test_a_part_has_the_checksum_that_its_upload_was_begun_with() -> None:
    s3 = MemoryS3("bucket")
    named, _ = upload(s3, ChecksumAlgorithm="SHA256")
    with pytest.raises(ClientError, match="begun with SHA256"):
        s3.client.upload_part(**named, PartNumber=1, Body=b"a", ChecksumCRC32=crc32(b"a"))


def test_only_parts_without_checksums_of_their_own_may_have_gaps_between_their_numbers() -> None:
    s3 = MemoryS3("bucket")
    for algorithm, code in ((None, None), ("SHA256", "InvalidPartOrder")):
        declared = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        named, _ = upload(s3, **declared)
        sent = s3.client.upload_part(**named, PartNumber=2, Body=b"a", **declared)
        part = {"PartNumber": 2, "ETag": sent["ETag"]}
        with contextlib.ExitStack() as stack:
            if code:
                stack.enter_context(pytest.raises(ClientError, match=code))
            s3.client.complete_multipart_upload(**named, MultipartUpload={"Parts": [part]})


def test_a_checksum_of_checksums_is_verified() -> None:
    s3 = MemoryS3("bucket")
    for change, code in (("", None), ("x", "BadDigest")):
        named, _ = upload(s3, ChecksumAlgorithm="SHA256")
        sent = s3.client.upload_part(**named, PartNumber=1, Body=b"a", ChecksumAlgorithm="SHA256")
        digest = base64.b64encode(hashlib.sha256(base64.b64decode(sent["ChecksumSHA256"]) + change.encode()).digest())
        part = {"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]}
        commit = {**named, "MultipartUpload": {"Parts": [part]}, "ChecksumSHA256": f"{digest.decode()}-1"}
        if code is None:
            s3.client.complete_multipart_upload(**commit)
        else:
            with pytest.raises(ClientError, match=code):
                s3.client.complete_multipart_upload(**commit)
    assert s3.client.head_object(Bucket="bucket", Key=KEY)["ContentType"] == "binary/octet-stream"


@pytest.mark.parametrize("size", [1, 6 * MIB])
def test_the_algorithm_of_a_customer_key_needs_the_key(size: int) -> None:
    with MemoryS3("bucket") as s3, pytest.raises(NotCommittedError, match="InvalidArgument"):
        export(size, SSECustomerAlgorithm="AES256")
    assert (s3.objects, s3.unfinished) == ({}, [])


def test_its_repr_counts_and_shows_no_content() -> None:
    assert repr(MemoryS3()) == "<MemoryS3 without buckets: 0 objects, 0 unfinished uploads, 0 calls>"
    with MemoryS3("one", "bucket") as s3:
        export(1)
        MultipartUploadWriter("bucket", "secret").prepare()
    assert repr(s3) == "<MemoryS3 bucket one: 1 object, 1 unfinished upload, 3 calls>"


FIXTURE_USED = """
import sys

import pytest

assert not {"boto3", "botocore", "s3writer"} & sys.modules.keys()
pytestmark = pytest.mark.memory_s3("bucket")


def test_a_writer_writes_to_memory(memory_s3):
    import s3writer

    with s3writer.open("s3://bucket/key", "w") as text:
        text.write("in memory")
    assert memory_s3.objects == {"s3://bucket/key": b"in memory"}


@pytest.mark.memory_s3("another")
def test_a_test_may_have_one_bucket_more(memory_s3):
    memory_s3.client.put_object(Bucket="another", Key="key", Body=b"")
    memory_s3.client.put_object(Bucket="bucket", Key="key", Body=b"")
    assert sorted(memory_s3.objects) == ["s3://another/key", "s3://bucket/key"]


def test_nothing_is_left_of_another_test(memory_s3):
    assert memory_s3.objects == {}
"""


@pytest.mark.traces_processes
def test_a_forked_child_waits_for_no_lock_of_its_parent_s_stores() -> None:
    script = """
import os, signal
from s3writer import MultipartUploadWriter
from s3writer.testing import MemoryS3, memory_s3
with MemoryS3("bucket") as old:
    # As if other threads were making a store, entering one, and writing to this one.
    with memory_s3._making, memory_s3._entering, old._lock, old._memory._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            with MultipartUploadWriter("bucket", "old") as stream:
                stream.write(b"12345")
            with MemoryS3("bucket") as new, MultipartUploadWriter("bucket", "new") as stream:
                stream.write(b"67")
            os._exit(len(old.objects["s3://bucket/old"] + new.objects["s3://bucket/new"]))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), list(old._memory._objects))
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.stdout, ended.stderr) == ("7 []\n", "")


def run_pytest(folder: Path, code: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_used.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--strict-markers", "-p", "no:cacheprovider", "-p", "no:randomly", "-q"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_pytest_has_the_fixture_once_the_package_is_installed(tmp_path: Path) -> None:
    ended = run_pytest(tmp_path, FIXTURE_USED)
    assert (ended.returncode, "3 passed" in ended.stdout) == (0, True), ended.stdout


def test_the_fixture_says_that_it_needs_a_bucket(tmp_path: Path) -> None:
    ended = run_pytest(tmp_path, "def test_without_a_bucket(memory_s3): pass")
    assert ended.returncode == 1
    assert 'mark the test with @pytest.mark.memory_s3("my-bucket")' in ended.stdout
