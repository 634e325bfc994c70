"""Files and transactions: each object is published whole, or not at all."""

import base64
import gc
import gzip
import hashlib
import io
import logging
import os
import pickle
import signal
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pytest
from botocore.exceptions import ClientError

import s3writer
from s3writer._s3 import client as clients
from s3writer._s3.operations import PUT
from s3writer.fsspec import DeferredFile, PublishedFile, S3WriterFileSystem
from s3writer.testing import MemoryS3
from tests.s3w.conftest import OPTIONS

MIB = 1024**2


class Boom(Exception):
    """An exception of the user's own."""


def keys(client: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_a_binary_file_is_a_writer_whose_object_is_there_once_it_is_closed(fs: Any, client: Any, bucket: str) -> None:
    with fs.open(f"s3w://{bucket}/folder/key", "wb") as stream:
        assert isinstance(stream, s3writer.MultipartUploadWriter)
        stream.write(bytes(6 * MIB))
        assert keys(client, bucket) == []
    assert stream.result.parts == 2
    assert fs.cat(f"{bucket}/folder/key") == bytes(6 * MIB)


def test_a_listing_shows_what_was_published_since(fs: Any, bucket: str) -> None:
    assert fs.ls(bucket) == []
    with fs.open(f"{bucket}/key", "wb") as stream:
        stream.write(b"12345")
    assert fs.ls(bucket) == [f"{bucket}/key"]
    stream = fs.open(f"{bucket}/other", "wb")
    assert not fs.exists(f"{bucket}/other")
    stream.commit()
    assert fs.exists(f"{bucket}/other")


@pytest.mark.parametrize("size", [5, 6 * MIB])
def test_an_exception_in_a_binary_file_s_block_leaves_nothing(fs: Any, client: Any, bucket: str, size: int) -> None:
    with pytest.raises(Boom), fs.open(f"{bucket}/key", "wb") as stream:
        stream.write(bytes(size))
        raise Boom
    assert keys(client, bucket) == []


@pytest.mark.parametrize("compression", [None, "gzip", "bz2", "xz", "lzma", "infer"])
def test_an_exception_in_a_text_file_s_block_leaves_nothing(
    fs: Any, client: Any, bucket: str, compression: str | None
) -> None:
    with pytest.raises(Boom), fs.open(f"{bucket}/key.gz", "w", compression=compression) as text:
        text.write("12345")
        raise Boom
    with pytest.raises(Boom), fsspec.open(f"s3w://{bucket}/key.gz", "wt", compression=compression, **OPTIONS) as text:
        text.write("12345")
        raise Boom
    assert keys(client, bucket) == []


@pytest.mark.parametrize("compression", [None, "gzip", "bz2", "xz", "lzma", "infer"])
def test_text_is_encoded_and_compressed_and_published(fs: Any, bucket: str, compression: str | None) -> None:
    paths = [f"{bucket}/ours.bz2", f"{bucket}/theirs.bz2"]
    with fs.open(paths[0], "w", compression=compression, encoding="utf-16-le", newline="\r\n") as text:
        text.write("grüße\n")
    with fsspec.open(
        f"s3w://{paths[1]}", "wt", compression=compression, encoding="utf-16-le", newline="\r\n", **OPTIONS
    ) as text:
        text.write("grüße\n")
    for path in paths:
        with fs.open(path, "r", compression=compression, encoding="utf-16-le", newline="") as text:
            assert text.read() == "grüße\r\n"


def test_a_format_whose_package_is_missing_is_refused(fs: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for compression in ("infer", "zstd"):
        with pytest.raises(ImportError, match=r"s3writer\[zstd\]"):
            fs.open(f"{bucket}/key.zst", "w", compression=compression)


def test_a_compression_that_the_writer_does_not_have_is_refused(fs: Any, client: Any, bucket: str) -> None:
    with pytest.raises(ValueError, match="compression='zip' is not one of gzip, bz2, xz, zstd"):
        fs.open(f"{bucket}/key", "wb", compression="zip")
    assert keys(client, bucket) == []


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_an_upload_to_be_resumed_can_t_be_compressed(fs: Any, client: Any, bucket: str, mode: str) -> None:
    keeping = fsspec.filesystem("s3w", writer={"on_error": "keep"}, **OPTIONS)
    with pytest.raises(ValueError, match="on_error='keep' does not work with a compression"):
        keeping.open(f"{bucket}/key", mode, compression="gzip")
    with pytest.raises(ValueError, match="on_error='keep' does not work with a compression"):
        fs.open(f"{bucket}/key", mode, compression="gzip", on_error="keep")
    with keeping.open(f"{bucket}/key", mode, compression="gzip", on_error="abort") as stream:
        stream.write("12345" if mode == "w" else b"12345")
    assert keys(client, bucket) == ["key"]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_text_has_its_byte_order_mark_and_nothing_is_held_back(
    fs: Any, client: Any, bucket: str, compression: str | None
) -> None:
    text = fs.open(f"{bucket}/key", "wt", encoding="utf-16", newline="\r\n", compression=compression)
    text.write("grüße\n")
    text.buffer.commit()
    stored = fs.cat(f"{bucket}/key")
    assert (gzip.decompress(stored) if compression else stored) == "grüße\r\n".encode("utf-16")


def test_text_is_utf_8_unless_another_encoding_is_given(fs: Any, bucket: str) -> None:
    with fs.open(f"{bucket}/key", "x", errors="replace") as text:
        assert (text.encoding, text.errors) == ("utf-8", "replace")
    with fs.open(f"{bucket}/key", "r") as text:
        assert text.encoding == "utf-8"
    with fs.open(f"{bucket}/key", "r", encoding="latin-1") as text:
        assert text.encoding == "latin-1"
    with pytest.raises(ValueError, match="newline='x' is unknown"):
        fs.open(f"{bucket}/key", "w", newline="x")


def test_a_text_file_that_is_never_closed_is_not_published(
    fs: Any, client: Any, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = fs.open(f"{bucket}/key", "w")
    text.write("12345")
    with pytest.warns(ResourceWarning, match="the file around it"):
        del text
    assert keys(client, bucket) == []
    assert [record.levelno for record in caplog.records if record.name == "s3writer"] == [logging.WARNING]


@pytest.mark.parametrize("mode", ["ab", "a", "at", "r+b", "w+b", "rb+"])
def test_an_object_is_neither_appended_to_nor_updated(fs: Any, bucket: str, mode: str) -> None:
    with pytest.raises(io.UnsupportedOperation, match="s3w writes whole objects, and does not append to them"):
        fs.open(f"{bucket}/key", mode)


def test_a_mode_that_is_not_understood_leaves_the_object_alone(fs: Any, bucket: str) -> None:
    fs.pipe_file(f"{bucket}/key", b"12345")
    for mode in ("br", "rb"):
        with fs.open(f"{bucket}/key", mode) as source:
            assert source.read() == b"12345"
    with fs.open(f"{bucket}/key", "tr") as source:
        assert source.read() == "12345"
    for mode in ("b", "", "t", "z", "rw", "wr", "rbU", "wx", "ww", "rbt", "wbt", "wtt"):
        for opening in (fs.open, fs._open):
            with pytest.raises(ValueError, match=f"mode='{mode}' is unknown: use 'wb' or 'xb' to write bytes"):
                opening(f"{bucket}/key", mode)
    for mode in ("a", "ab", "r+b"):
        with pytest.raises(io.UnsupportedOperation):
            fs._open(f"{bucket}/key", mode)
    assert fs.cat(f"{bucket}/key") == b"12345"
    with fs.open(f"{bucket}/key", "bw") as stream:
        stream.write(b"new")
    with fs._open(f"{bucket}/key", "r") as source:
        assert source.read() == b"new"


def test_a_bucket_is_no_file(fs: Any, bucket: str) -> None:
    with pytest.raises(ValueError, match="names no object: s3w://bucket/key does"):
        fs.open(bucket, "wb")


def test_bytes_are_asked_for_in_binary_mode(fs: Any, client: Any, bucket: str) -> None:
    with pytest.raises(TypeError), fs.open(f"{bucket}/key", "wb") as stream:
        stream.write("text")
    assert keys(client, bucket) == []


def test_an_exclusive_file_is_refused_when_it_is_opened_and_when_it_is_published(fs: Any, bucket: str) -> None:
    with pytest.raises(FileExistsError, match="PreconditionFailed"), fs.open(f"{bucket}/key", "xb") as late:
        late.write(b"late")
        with fs.open(f"{bucket}/key", "xb") as early:
            early.write(b"early")
    with pytest.raises(FileExistsError, match=f"s3://{bucket}/key exists already"):
        fs.open(f"{bucket}/key", "x")
    assert fs.cat(f"{bucket}/key") == b"early"


def test_an_exclusive_file_may_be_written_where_looking_is_forbidden(fs: Any, client: Any, bucket: str) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    blind = boto3.client("s3", **client_options())
    blind.meta.events.register("before-call.s3.HeadObject", refuse)
    with fs.open(f"{bucket}/key", "xb", client=blind) as stream:
        stream.write(b"12345")
    assert fs.cat(f"{bucket}/key") == b"12345"


def test_another_thread_looks_whether_the_key_exists(fs: Any, client: Any, bucket: str) -> None:
    looking = boto3.client("s3", **client_options())
    threads: list[int] = []
    looking.meta.events.register("before-call.s3.HeadObject", lambda **_: threads.append(threading.get_ident()))
    with fs.open(f"{bucket}/key", "xb", client=looking) as stream:
        stream.write(b"12345")
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_an_interrupt_while_it_looks_whether_the_key_exists_ends_the_file(
    fs: Any, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(**_: Any) -> None:
        raise KeyboardInterrupt

    looking = boto3.client("s3", **client_options())
    looking.meta.events.register("before-call.s3.HeadObject", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fs.open(f"{bucket}/key", "xb", client=looking)
    gc.collect()
    assert [record for record in caplog.records if record.name == "s3writer"] == []


def opened(fs: Any, path: str = "bucket/key") -> Any:
    """The calls of S3 that a file opened for writing would make; the file is aborted."""
    stream = fs.open(path, "wb")
    stream.abort()
    return stream._upload.calls


def client_options() -> dict[str, Any]:
    return {
        "endpoint_url": OPTIONS["endpoint_url"],
        "aws_access_key_id": OPTIONS["key"],
        "aws_secret_access_key": OPTIONS["secret"],
    }


def test_options_reach_the_writer_and_s3(bucket: str, client: Any) -> None:
    fs = fsspec.filesystem(
        "s3w",
        writer={"part_size": 7 * MIB, "ContentType": "text/csv", "encoding": "latin-1"},
        s3_additional_kwargs={"Metadata": {"by": "s3w"}, "ContentType": "text/plain", "ChecksumMode": "ENABLED"},
        requester_pays=True,
        **OPTIONS,
    )
    with fs.open(f"{bucket}/key", "wb", block_size=99, CacheControl="no-cache", acl="private") as stream:
        stream.write("grün")
    head = client.head_object(Bucket=bucket, Key="key")
    assert (head["ContentType"], head["CacheControl"], head["ContentLength"]) == ("text/csv", "no-cache", 4)
    assert head["Metadata"]["by"] == "s3w"
    with pytest.raises(TypeError, match="did you mean max_memory"):
        fs.open(f"{bucket}/key", "wb", max_memroy=1)


@pytest.mark.parametrize(("of_all", "of_one", "sent"), [(True, None, True), (True, False, False), (False, True, True)])
def test_who_pays_is_said_for_all_files_or_for_one(of_all: bool, of_one: bool | None, sent: bool) -> None:
    with MemoryS3("bucket"):
        stream = S3WriterFileSystem(requester_pays=of_all).open("bucket/key", "wb", requester_pays=of_one)
        stream.abort()
    assert stream._upload.calls.arguments.of(PUT) == ({"RequestPayer": "requester"} if sent else {})


def test_the_writers_client_has_the_credentials_and_the_settings_of_s3fs() -> None:
    fs = S3WriterFileSystem(
        key="id",
        secret="secret",
        token="token",
        client_kwargs={"region_name": "eu-west-1", "endpoint_url": "https://one.invalid"},
        endpoint_url="https://two.invalid",
        config_kwargs={"read_timeout": 7, "s3": {"addressing_style": "path"}, "connector_args": {}},
        skip_instance_cache=True,
    )
    client = opened(fs).client
    credentials = client._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("id", "secret", "token")
    assert (client.meta.region_name, client.meta.endpoint_url) == ("eu-west-1", "https://two.invalid")
    config = client.meta.config
    assert (config.read_timeout, config.s3["addressing_style"], config.max_pool_connections) == (7, "path", 64)
    assert opened(fs, "bucket/other").client is client


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_child_that_is_forked_while_a_client_is_made_makes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*arguments: Any, **named: Any) -> Any:
        if os.getpid() == parent:
            is_making.set()
            may_go_on.wait(60)
        return tuned(*arguments, **named)

    parent, tuned = os.getpid(), clients.tuned
    is_making, may_go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(clients, "tuned", make)
    fs = S3WriterFileSystem(key="id", secret="secret", skip_instance_cache=True)
    thread = threading.Thread(target=opened, args=(fs,))
    thread.start()
    is_making.wait(60)
    if (child := os.fork()) == 0:
        try:
            opened(fs)
            os._exit(0)
        finally:
            os._exit(1)
    ended: list[int] = []
    waiter = threading.Thread(target=lambda: ended.append(os.waitpid(child, 0)[1]))
    waiter.start()
    waiter.join(30)
    in_time = not waiter.is_alive()
    if not in_time:
        os.kill(child, signal.SIGKILL)
    may_go_on.set()
    for one in (thread, waiter):
        one.join()
    assert (in_time, ended) == (True, [0])


def test_parts_have_checksums_unless_the_settings_say_that_none_are_wanted() -> None:
    given: dict[str, Any] = {"key": "id", "secret": "secret", "skip_instance_cache": True}
    proof = opened(S3WriterFileSystem(**given)).proof
    assert proof.algorithm.name in ("CRC64NVME", "CRC32")
    none = S3WriterFileSystem(config_kwargs={"request_checksum_calculation": "when_required"}, **given)
    assert opened(none).proof.algorithm is None


def test_a_profile_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[mine]\naws_access_key_id = of-mine\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    fs = S3WriterFileSystem(profile="mine", skip_instance_cache=True)
    client = opened(fs).client
    assert client._request_signer._credentials.access_key == "of-mine"


def test_without_options_the_files_are_written_with_the_shared_client() -> None:
    with MemoryS3("bucket") as s3, S3WriterFileSystem(skip_instance_cache=True).open("bucket/key", "wb") as stream:
        stream.write(b"12345")
    assert s3.objects["s3://bucket/key"] == b"12345"


def test_a_client_of_one_s_own_is_used() -> None:
    s3 = MemoryS3("bucket")
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    s3.attach(client)
    fs = S3WriterFileSystem(writer={"client": client}, session=object(), skip_instance_cache=True)
    with fs.open("bucket/key", "wb") as stream:
        stream.write(b"12345")
    assert s3.objects["s3://bucket/key"] == b"12345"


def test_who_is_anonymous_or_has_only_an_aiobotocore_session_can_t_write() -> None:
    with pytest.raises(ValueError, match="anon=True can't write: give credentials"):
        S3WriterFileSystem(anon=True).open("bucket/key", "wb")
    with pytest.raises(ValueError, match="can't write with an aiobotocore session: give writer="):
        S3WriterFileSystem(session=object(), skip_instance_cache=True).open("bucket/key", "wb")


def test_a_pickled_file_system_writes_with_the_same_options(fs: Any, bucket: str) -> None:
    again = pickle.loads(pickle.dumps(fsspec.filesystem("s3w", writer={"part_size": 6 * MIB}, **OPTIONS)))
    with again.open(f"{bucket}/key", "wb") as stream:
        stream.write(b"12345")
    assert (fs.cat(f"{bucket}/key"), again.writer) == (b"12345", {"part_size": 6 * MIB})


def test_a_transaction_publishes_its_files_when_it_ends(fs: Any, client: Any, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "put.json").write_bytes(b"{}")
    (tmp_path / "folder").mkdir()
    with fs.transaction:
        with fs.open(f"{bucket}/binary", "wb") as stream:
            stream.write(bytes(6 * MIB))
        with fs.open(f"{bucket}/text.gz", "w", compression="infer") as text:
            text.write("12345")
        fs.pipe({f"{bucket}/piped": b"p" * (MIB + 1), f"{bucket}/empty": b""}, chunksize=5 * MIB)
        fs.put(str(tmp_path) + "/", f"{bucket}/folder/", recursive=True)
        assert isinstance(stream, DeferredFile)
        assert stream.prepare() is stream.pending
        assert keys(client, bucket) == []
    assert keys(client, bucket) == ["binary", "empty", "folder/put.json", "piped", "text.gz"]
    assert gzip.decompress(fs.cat(f"{bucket}/text.gz")) == b"12345"
    assert fs.cat(f"{bucket}/piped") == b"p" * (MIB + 1)
    assert client.head_object(Bucket=bucket, Key="folder/put.json")["ContentType"] == "application/json"
    with fs.open(f"{bucket}/after", "wb") as stream:
        stream.write(b"5")
    assert isinstance(stream, PublishedFile)
    assert fs.ls(f"{bucket}/after") == [f"{bucket}/after"]


def test_an_exclusive_pipe_within_a_transaction_is_refused_if_the_key_exists(fs: Any, bucket: str) -> None:
    fs.pipe_file(f"{bucket}/key", b"12345")
    with pytest.raises(FileExistsError), fs.transaction:
        fs.pipe_file(f"{bucket}/key", b"other", mode="create")
    assert fs.cat(f"{bucket}/key") == b"12345"


def test_a_transaction_that_raises_leaves_nothing(fs: Any, client: Any, bucket: str) -> None:
    with pytest.raises(Boom), fs.transaction:
        with fs.open(f"{bucket}/closed", "wb") as stream:
            stream.write(bytes(6 * MIB))
        opened = fs.open(f"{bucket}/open", "w")
        opened.write("12345")
        raise Boom
    assert keys(client, bucket) == []
    assert opened.closed


def test_a_transaction_without_files_does_nothing(fs: Any) -> None:
    with fs.transaction:
        pass
    assert not fs._intrans


def test_a_transaction_publishes_nothing_if_one_of_its_files_is_not_whole(fs: Any, client: Any, bucket: str) -> None:
    def failed() -> None:
        with pytest.raises(Boom), fs.open(f"{bucket}/failed", "wb") as stream:
            stream.write(b"12345")
            raise Boom

    def left_open() -> None:
        kept.append(fs.open(f"{bucket}/open", "wb"))

    kept: list[Any] = []
    for end, said in ((failed, "failed was not written to its end"), (left_open, "open was still open at the end")):
        with (
            pytest.raises(s3writer.IncompleteError, match=f"no file of the transaction is published: .*{said}"),
            fs.transaction,
        ):
            fs.pipe_file(f"{bucket}/key", b"12345")
            end()
        assert keys(client, bucket) == []
        assert not fs._intrans
    assert kept[0].closed


def test_a_file_that_was_discarded_does_not_count_for_its_transaction(fs: Any, client: Any, bucket: str) -> None:
    with fs.transaction:
        fs.pipe_file(f"{bucket}/key", b"12345")
        with fs.open(f"{bucket}/discarded", "wb") as stream:
            stream.write(b"12345")
        stream.discard()
        fs.open(f"{bucket}/other", "wb").discard()
    assert keys(client, bucket) == ["key"]


def test_a_transaction_whose_first_file_is_refused_publishes_and_leaves_nothing(
    fs: Any, client: Any, bucket: str
) -> None:
    with pytest.raises(s3writer.PartlyCommittedError, match="0 of 2 objects") as caught, fs.transaction:
        with fs.open(f"{bucket}/first", "xb") as stream:
            stream.write(b"12345")
        fs.pipe_file(f"{bucket}/second", b"12345")
        client.put_object(Bucket=bucket, Key="first", Body=b"theirs")
    assert keys(client, bucket) == ["first"]
    assert caught.value.__notes__ == ["None of the transaction's files was published."]


def test_a_transaction_that_is_refused_in_the_middle_says_what_can_be_committed_again(
    fs: Any, client: Any, bucket: str
) -> None:
    with pytest.raises(s3writer.PartlyCommittedError, match="1 of 3 objects") as caught, fs.transaction:
        fs.pipe_file(f"{bucket}/first", b"1")
        with fs.open(f"{bucket}/second", "xb") as stream:
            stream.write(b"2")
        fs.pipe_file(f"{bucket}/third", b"3")
        client.put_object(Bucket=bucket, Key="second", Body=b"theirs")
    assert keys(client, bucket) == ["first", "second"]
    assert caught.value.failed is not None
    caught.value.failed.abort(client=client)
    for pending in caught.value.left:
        pending.commit(client=client)
    assert keys(client, bucket) == ["first", "second", "third"]


def test_what_a_transaction_could_not_abort_is_told(fs: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: DeferredFile) -> None:
        discard(file)
        raise s3writer.NotCommittedError(f"{file.name} may be left", bucket, file.key)

    discard = DeferredFile.discard
    monkeypatch.setattr(DeferredFile, "discard", refuse)
    with pytest.raises(Boom) as caught, fs.transaction:
        fs.pipe_file(f"{bucket}/key", b"12345")
        raise Boom
    assert caught.value.__notes__ == [f"[Errno 5] s3://{bucket}/key may be left"]
    transaction = fs.start_transaction()
    fs.pipe_file(f"{bucket}/key", b"12345")
    with pytest.raises(s3writer.NotCommittedError, match="may be left"):
        transaction.complete(commit=False)


def test_a_file_without_autocommit_is_published_by_its_commit(fs: Any, client: Any, bucket: str) -> None:
    with fs.open(f"{bucket}/key", "wb", autocommit=False) as stream:
        stream.write(b"12345")
    assert keys(client, bucket) == []
    assert stream.commit().size == 5
    assert keys(client, bucket) == ["key"]
    still_open = fs.open(f"{bucket}/open", "wb", autocommit=False)
    still_open.write(b"1234567")
    assert still_open.commit().size == 7
    assert keys(client, bucket) == ["key", "open"]


def test_a_file_of_a_transaction_is_freed_as_soon_as_nobody_has_it() -> None:
    gc.disable()
    try:
        with MemoryS3("bucket"):
            fs = S3WriterFileSystem(skip_instance_cache=True)
            with fs.transaction, fs.open("bucket/key", "wb") as stream:
                stream.write(b"12345")
            seen = weakref.ref(stream)
            del stream
            assert seen() is None
    finally:
        gc.enable()


def test_a_transaction_that_is_given_up_leaves_nothing(fs: Any, client: Any, bucket: str) -> None:
    transaction = fs.start_transaction()
    fs.pipe_file(f"{bucket}/key", b"12345")
    transaction.complete(commit=False)
    assert keys(client, bucket) == []
    fs.start_transaction()
    fs.pipe_file(f"{bucket}/key", b"12345")
    fs.end_transaction()
    assert keys(client, bucket) == ["key"]


def test_a_transaction_commits_with_the_customer_s_key() -> None:
    secret: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    with MemoryS3("bucket") as s3:
        fs = S3WriterFileSystem(skip_instance_cache=True)
        with fs.transaction:
            for name in ("one", "two"):
                with fs.open(f"bucket/{name}", "wb", **secret) as stream:
                    stream.write(b"12345")
        assert sorted(s3.objects) == ["s3://bucket/one", "s3://bucket/two"]
        encoded = {
            "SSECustomerKey": base64.b64encode(b"m" * 32).decode(),
            "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(b"m" * 32).digest()).decode(),
        }
        keys: list[dict[str, Any]] = [{"SSECustomerKey": "k" * 32}, {"SSECustomerKey": "l" * 32}, encoded]
        with fs.transaction:
            for number, key in enumerate(keys):
                with fs.open(f"bucket/{number}", "wb", **secret | key) as stream:
                    stream.write(b"12345")
        assert (len(s3.objects), len(s3.unfinished)) == (5, 0)


@pytest.mark.parametrize("how", ["pipe", "put"])
def test_what_is_piped_and_put_is_published_whole_or_not_at_all(
    fs: Any, client: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / "file").write_bytes(bytes(16 * MIB))
    call = fs._call_s3

    async def refuse(method: str, *arguments: Any, **named: Any) -> Any:
        if named.get("PartNumber") == 3:
            raise OSError("refused")
        return await call(method, *arguments, **named)

    monkeypatch.setattr(fs, "_call_s3", refuse)
    with pytest.raises(OSError, match="refused"):
        if how == "pipe":
            fs.pipe_file(f"{bucket}/key", bytes(16 * MIB), chunksize=5 * MIB, max_concurrency=1)
        else:
            fs.put_file(str(tmp_path / "file"), f"{bucket}/key", chunksize=5 * MIB, max_concurrency=1)
    assert keys(client, bucket) == []
