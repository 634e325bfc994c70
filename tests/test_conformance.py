"""One suite for every store: what a writer makes, and what it leaves behind."""

import hashlib
import io
from typing import Any

import pytest

from s3writer import (
    AccessDeniedError,
    BucketNotFoundError,
    CredentialsError,
    KeyExistsError,
    MultipartUploadWriter,
    NotCommittedError,
)
from s3writer._s3.checksums import algorithms
from tests.conftest import assert_nothing_left
from tests.helpers import MIB, Boom, content, data, uploads, writer
from tests.stores import BUCKET, STORES, Store
from tests.wire import Wire

PUT = ["PutObject"]
CUSTOMER_KEY = hashlib.sha256(b"customer key").digest()


@pytest.fixture
def client(any_store: Store) -> Any:
    """A client of the store."""
    return any_store.client()


def multipart(parts: int) -> list[str]:
    return ["CreateMultipartUpload", *["UploadPart"] * parts, "CompleteMultipartUpload"]


@pytest.mark.parametrize(
    ("size", "requests"),
    [
        (0, PUT),
        (1, PUT),
        (5 * MIB, PUT),
        (5 * MIB + 1, multipart(2)),
        (10 * MIB, multipart(2)),
        (23 * MIB, multipart(5)),
    ],
)
def test_any_size_arrives_in_the_fewest_requests(client: Any, key: str, size: int, requests: list[str]) -> None:
    wire = Wire(client)
    with writer(client, key) as stream:
        stream.write(data(size))
    assert sorted(wire.sent) == sorted(requests)
    assert (wire.sent[0], wire.sent[-1]) == (requests[0], requests[-1])
    assert content(client, key) == data(size)
    assert (stream.result.size, stream.result.parts) == (size, max(1, len(requests) - 2))


def test_the_result_is_what_the_store_shows(client: Any, key: str, any_store: Store) -> None:
    for size in (1000, 6 * MIB):
        with writer(client, key) as stream:
            stream.write(data(size))
        head = client.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
        result = stream.result
        assert (result.bucket, result.key, result.size) == (BUCKET, key, head["ContentLength"])
        if any_store.quirks.marks_multipart_etags:
            assert result.etag == head["ETag"]
        assert result.computed_checksum is not None
        if any_store.quirks.keeps_checksums:
            algorithm, _, value = result.computed_checksum.partition(":")
            assert value == head[f"Checksum{algorithm}"]


@pytest.mark.parametrize("checksum", ["CRC64NVME", "CRC32", "CRC32C", "SHA1", "SHA256", None])
@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_each_checksum_is_taken_by_the_store(
    client: Any, key: str, any_store: Store, checksum: str | None, size: int
) -> None:
    if checksum is not None and checksum not in algorithms():
        with pytest.raises(ValueError, match=r"s3writer\[crt\]"):
            writer(client, key, checksum=checksum)
        return
    with writer(client, key, checksum=checksum) as stream:
        stream.write(data(size))
    assert content(client, key) == data(size)
    if checksum is None or not any_store.quirks.keeps_checksums:
        assert stream.result.checksum is None
    elif checksum.startswith("CRC") or size == 1000:
        assert stream.result.checksum == stream.result.computed_checksum
    else:
        assert (stream.result.checksum or "").startswith(f"{checksum}:")
        assert stream.result.computed_checksum is None


@pytest.mark.parametrize("checksum", ["CRC32", "SHA256"])
def test_what_is_committed_later_has_the_checksum_that_the_store_answers(
    client: Any, key: str, any_store: Store, checksum: str
) -> None:
    stream = writer(client, key, checksum=checksum)
    stream.write(data(6 * MIB))
    result = stream.prepare().commit(client=client)
    is_known = any_store.quirks.keeps_checksums
    assert (result.checksum or "").startswith(f"{checksum}:" if is_known else "")
    assert bool(result.checksum) is is_known


@pytest.mark.parametrize("asked_by", ["client", "writer"])
def test_who_wants_no_checksums_gets_none(any_store: Store, key: str, asked_by: str) -> None:
    changes = {"request_checksum_calculation": "when_required"} if asked_by == "client" else {}
    options: dict[str, Any] = {"checksum": None} if asked_by == "writer" else {}
    client = any_store.client(**changes)
    wire = Wire(client)
    with writer(client, key, **options) as stream:
        stream.write(data(11 * MIB))
    with writer(client, key + "2", **options) as small:
        small.write(b"small")
    for result in (stream.result, small.result):
        assert (result.checksum, result.computed_checksum) == (None, None)
    headers = {name.lower() for request in wire.requests for name in request.headers}
    assert not {name for name in headers if "checksum" in name or name == "x-amz-trailer"}


def test_the_total_size_goes_with_the_commit(client: Any, key: str) -> None:
    wire = Wire(client)
    with writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert wire.requests[-1].headers["x-amz-mp-object-size"] in (str(6 * MIB), str(6 * MIB).encode())


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_exclusive_leaves_an_existing_object_alone(client: Any, key: str, any_store: Store, size: int) -> None:
    with writer(client, key, exclusive=True) as stream:
        stream.write(data(size))
    assert stream.mode == "xb"
    if not any_store.quirks.checks_conditions:
        return
    with pytest.raises(FileExistsError) as caught, writer(client, key, exclusive=True) as second:
        second.write(data(size, seed=2))
    assert isinstance(caught.value, KeyExistsError)
    assert content(client, key) == data(size)
    assert uploads(client, key) == []


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_the_result_names_the_version_that_was_made(versions: Any, key: str, size: int) -> None:
    made = []
    for seed in range(2):
        with writer(versions, key) as stream:
            stream.write(data(size, seed))
        made.append(stream.result.version_id)
    with writer(versions, key) as stream:
        stream.write(data(size, 2))
        pending = stream.prepare()
    committed = pending.commit(client=versions)
    assert pending.commit(client=versions) == committed
    found = versions.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]
    assert {version["VersionId"] for version in found} == {*made, committed.version_id}
    for seed, version in enumerate([*made, committed.version_id]):
        assert versions.get_object(Bucket=BUCKET, Key=key, VersionId=version)["Body"].read() == data(size, seed)


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_s3_arguments_reach_the_object(client: Any, key: str, any_store: Store, size: int) -> None:
    tags = {"Tagging": "team=data"} if any_store.quirks.takes_tags else {}
    with writer(
        client, key, ContentType="text/csv", Metadata={"origin": "test"}, CacheControl="no-store", **tags
    ) as stream:
        stream.write(data(size))
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert head["ContentType"] == "text/csv"
    assert {name.lower(): value for name, value in head["Metadata"].items()}["origin"] == "test"
    if tags:
        assert client.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"] == [{"Key": "team", "Value": "data"}]


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_a_customer_key_encrypts_the_whole_object(client: Any, key: str, any_store: Store, size: int) -> None:
    secret = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY}
    if not any_store.quirks.takes_customer_keys:
        with pytest.raises(NotCommittedError, match="secure connection"), writer(client, key, **secret) as refused:
            refused.write(data(size))
        return
    wire = Wire(client)
    with writer(client, key, **secret) as stream:
        stream.write(data(size))
    named = "x-amz-server-side-encryption-customer-algorithm"
    assert all(request.headers.get(named) for request in wire.requests)
    if any_store.quirks.checks_customer_keys:
        assert client.get_object(Bucket=BUCKET, Key=key, **secret)["Body"].read() == data(size)


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_a_missing_bucket_is_named(any_store: Store, key: str, size: int) -> None:
    if not any_store.quirks.knows_missing_buckets:
        return
    with (
        pytest.raises(FileNotFoundError, match="no-such-bucket") as caught,
        MultipartUploadWriter("no-such-bucket", key, client=any_store.client()) as stream,
    ):
        stream.write(data(size))
    assert isinstance(caught.value, BucketNotFoundError)
    assert stream.closed


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_wrong_credentials_are_refused(any_store: Store, key: str, size: int) -> None:
    if not any_store.quirks.checks_credentials:
        return
    client = any_store.client(aws_access_key_id="nobody")
    with pytest.raises(PermissionError) as caught, writer(client, key) as stream:
        stream.write(data(size))
    assert isinstance(caught.value, CredentialsError | AccessDeniedError)
    assert content(any_store.client(), key) is None


def test_an_exception_publishes_nothing_and_leaves_nothing(client: Any, key: str) -> None:
    with pytest.raises(Boom), io.TextIOWrapper(writer(client, key)) as text:
        text.write("x" * 17 * MIB)
        raise Boom
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_abort_leaves_nothing_while_parts_are_in_flight(client: Any, key: str) -> None:
    stream = writer(client, key)
    stream.write(data(40 * MIB))
    stream.abort()
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_corrupted_part_is_refused_by_a_store_that_checks(any_store: Store, key: str) -> None:
    if not any_store.quirks.checks_checksums:
        return
    client = any_store.client()

    def corrupt(params: dict[str, Any], **_: Any) -> None:
        params["Body"] = io.BytesIO(bytes(len(params["Body"])))

    client.meta.events.register("before-parameter-build.s3.UploadPart", corrupt)
    with pytest.raises(NotCommittedError, match="BadDigest"), writer(client, key) as stream:
        stream.write(data(6 * MIB))
    assert content(client, key) is None
    assert uploads(client, key) == []


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_users_who_test_with_mock_aws_can_go_on_so(key: str, size: int) -> None:
    with STORES["mock_aws"]() as mocked:
        client = mocked.client()
        with writer(client, key, exclusive=True) as stream:
            stream.write(data(size))
        assert content(client, key) == data(size)
        assert stream.result.size == size
        with pytest.raises(KeyExistsError), writer(client, key, exclusive=True) as second:
            second.write(data(size, seed=2))
        with pytest.raises(Boom), writer(client, key + "2") as broken:
            broken.write(data(size))
            raise Boom
        assert content(client, key) == data(size)
        assert content(client, key + "2") is None
        assert_nothing_left(mocked)
