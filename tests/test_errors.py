"""Errors: told apart, with an errno, with the address and what to do, and intact after pickling."""

import errno
import pickle
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from botocore.stub import ANY, Stubber

import s3writer
from s3writer import MultipartUploadWriter, NotCommittedError, PreconditionFailedError, S3WriterError
from s3writer._errors import add_note
from tests.helpers import content, data, writer
from tests.stores import BUCKET, Store
from tests.wire import Wire, refuse

KINDS = [
    getattr(s3writer, name)
    for name in s3writer.__all__
    if isinstance(getattr(s3writer, name), type) and issubclass(getattr(s3writer, name), S3WriterError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_is_an_oserror_that_survives_pickling(kind: type[S3WriterError]) -> None:
    error = kind("what happened", "bucket", "key", "upload")
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert isinstance(again, OSError)
    assert (again.bucket, again.key, again.upload_id) == ("bucket", "key", "upload")
    assert (again.errno, str(again)) == (error.errno, str(error))
    assert again.errno in errno.errorcode
    assert again.__notes__ == ["a note"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_documentation_shows_each_error_with_its_builtin_type_and_its_errno(kind: type[S3WriterError]) -> None:
    builtins = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
    shown = "" if builtins[0] == "OSError" else f"`{builtins[0]}` "
    row = f"| `{kind.__name__}` | {shown}| `{errno.errorcode[kind.ERRNO]}` | "
    assert row in (Path(__file__).parent.parent / "docs" / "errors.md").read_text()


@pytest.mark.parametrize(
    ("code", "status", "kind", "builtin"),
    [
        ("NoSuchBucket", 404, s3writer.BucketNotFoundError, FileNotFoundError),
        ("AccessDenied", 403, s3writer.AccessDeniedError, PermissionError),
        ("ExpiredToken", 400, s3writer.CredentialsError, PermissionError),
        ("InvalidAccessKeyId", 403, s3writer.CredentialsError, PermissionError),
        ("SignatureDoesNotMatch", 403, s3writer.CredentialsError, PermissionError),
        ("PermanentRedirect", 301, s3writer.WrongRegionError, OSError),
        ("AuthorizationHeaderMalformed", 400, s3writer.WrongRegionError, OSError),
        ("ConditionalRequestConflict", 409, s3writer.ConflictError, OSError),
        ("BadDigest", 400, s3writer.ChecksumMismatchError, OSError),
        ("EntityTooLarge", 400, s3writer.ObjectTooLargeError, OSError),
        ("SomethingNew", 418, NotCommittedError, OSError),
    ],
)
def test_what_s3_says_is_told_apart(
    store: Store, key: str, code: str, status: int, kind: type[S3WriterError], builtin: type[OSError]
) -> None:
    client = store.client()
    with Stubber(client) as stubber:
        stubber.add_client_error("put_object", code, "as S3 says it", status)
        with pytest.raises(kind) as caught, writer(client, key) as stream:
            stream.write(b"small")
    error = caught.value
    assert isinstance(error, builtin)
    assert isinstance(error, NotCommittedError)
    assert f"s3://{BUCKET}/{key}" in str(error)
    assert "as S3 says it" in str(error)
    assert isinstance(error.__cause__, botocore.exceptions.ClientError)
    assert (error.bucket, error.key, error.upload_id) == (BUCKET, key, None)


def test_a_stubbed_client_sees_what_is_sent(store: Store) -> None:
    client = store.client()
    with Stubber(client) as stubber:
        stubber.add_response(
            "put_object",
            {"ETag": '"abc"', "VersionId": "v1"},
            {"Bucket": BUCKET, "Key": "k", "Body": ANY, "ContentType": "text/csv"},
        )
        with MultipartUploadWriter(
            BUCKET, "k", client=client, checksum=None, commit_token=False, ContentType="text/csv"
        ) as stream:
            stream.write(b"a,b")
    assert (stream.result.etag, stream.result.version_id, stream.result.size) == ('"abc"', "v1", 3)


def test_a_stubbed_client_may_leave_out_what_the_writer_can_do_without(store: Store) -> None:
    client = store.client()
    with Stubber(client) as stubber:
        stubber.add_response("create_multipart_upload", {"UploadId": "u"})
        stubber.add_response("upload_part", {})
        stubber.add_response("upload_part", {})
        stubber.add_response("complete_multipart_upload", {})
        with MultipartUploadWriter(BUCKET, "k", client=client, max_concurrency=1) as stream:
            stream.write(data(6 * 1024**2))
    assert (stream.result.size, stream.result.parts) == (6 * 1024**2, 2)
    with Stubber(client) as stubber:
        stubber.add_response("put_object", {})
        with MultipartUploadWriter(BUCKET, "k", client=client) as stream:
            stream.write(b"small")
    assert (stream.result.size, stream.result.etag) == (5, None)


def test_an_error_says_each_thing_once() -> None:
    error = ValueError()
    assert [add_note(error, note) for note in ("left", "left", "other")] == [True, False, True]
    assert error.__notes__ == ["left", "other"]


def test_that_an_object_is_not_there_is_not_called_that_it_exists(client: Any, key: str) -> None:
    Wire(client).on("PutObject", refuse(404, "NoSuchKey"))
    with pytest.raises(PreconditionFailedError) as caught, writer(client, key, exclusive=True) as stream:
        stream.write(b"x")
    assert not isinstance(caught.value, FileExistsError)


def test_nobody_listening_is_no_connection(store: Store, key: str) -> None:
    client = store.client(endpoint_url="http://127.0.0.1:9", connect_timeout=2)
    for size in (10, 6 * 1024**2):
        with pytest.raises(ConnectionError) as caught, writer(client, key) as stream:
            stream.write(data(size))
        assert isinstance(caught.value, s3writer.ConnectionFailedError)
        assert "endpoint_url" in str(caught.value)


@pytest.mark.parametrize("size", [10, 6 * 1024**2])
def test_no_credentials_are_told(store: Store, key: str, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    client = store.client(aws_access_key_id=None, aws_secret_access_key=None)
    with pytest.raises(s3writer.CredentialsError, match="a profile or a role"), writer(client, key) as stream:
        stream.write(data(size))


@pytest.mark.parametrize("size", [10, 6 * 1024**2])
def test_no_secret_is_in_a_message_a_repr_or_the_log(
    client: Any, key: str, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    caplog.set_level("DEBUG", logger="s3writer")
    stream = writer(client, key, SSECustomerAlgorithm="no-such", SSECustomerKey=secret)
    with pytest.raises(NotCommittedError) as caught:
        stream.write(data(size))
        stream.close()
    told = [repr(stream), repr(caught.value), str(caught.value), repr(caught.value.__dict__), caplog.text]
    assert not [text for text in told if secret in text or "test-secret-key" in text]
    with pytest.raises(ValueError, match="SSECustomerKey") as refused:
        writer(client, key, SSECustomerKey=[secret])
    assert secret not in str(refused.value)
    assert content(client, key) is None


def test_what_botocore_or_a_handler_of_the_users_raises_is_told_too(client: Any, key: str) -> None:
    def fail(**_: Any) -> None:
        raise ZeroDivisionError("in a handler")

    client.meta.events.register("before-parameter-build.s3.PutObject", fail)
    with pytest.raises(NotCommittedError, match="in a handler") as caught, writer(client, key) as stream:
        stream.write(b"small")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_users_own_calls_through_the_same_client_are_left_alone(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(b"ours")
    client.put_object(Bucket=BUCKET, Key=key, Body=b"theirs")
    assert content(client, key) == b"theirs"


@pytest.mark.parametrize("password", ["hunter2", "hun@ter2", "hun:ter2", "hun/ter2"])
def test_an_endpoint_s_password_is_in_no_message(client: Any, key: str, password: str) -> None:
    def lose(**_: Any) -> None:
        raise botocore.exceptions.EndpointConnectionError(endpoint_url=f"http://name:{password}@127.0.0.1:9/{key}")

    client.meta.events.register("before-send.s3.UploadPart", lose)
    client.meta.events.register("before-send.s3.AbortMultipartUpload", lose)
    stream = writer(client, key)
    with pytest.raises(s3writer.ConnectionFailedError) as caught:
        stream.write(data(6 * 1024**2))
        stream.close()
    told = " ".join([str(caught.value), *caught.value.__notes__])
    assert "could not be aborted" in told
    assert "127.0.0.1:9" in told
    assert not [word for word in ("name:", "hunter2", "ter2") if word in told]
    client.meta.events.unregister("before-send.s3.AbortMultipartUpload", lose)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=caught.value.upload_id)
